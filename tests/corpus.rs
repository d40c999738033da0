//! The committed corpus of the fuzzers, through what they run: each input once, without coverage or sanitizers, in seconds.
#![cfg(feature = "hub")]

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, clippy::doc_markdown)]
mod fuzz;

use std::{fs, path::Path};

fn replay(name: &str) {
    let (_, target) = fuzz::TARGETS.into_iter().find(|(found, _)| *found == name).expect("a target");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs: Vec<_> =
        fs::read_dir(&directory).expect("a corpus").map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{}: is empty", directory.display());
    for input in inputs {
        // A panic names the input.
        println!("{}", input.display());
        target(&fs::read(&input).unwrap());
    }
}

macro_rules! replays {
    ($($target:ident)*) => {$(
        #[test]
        fn $target() {
            replay(stringify!($target));
        }
    )*};
}

replays!(avif bmp gif jpeg png pnm rare tiff webp processor config checkpoint resume tar hub);
