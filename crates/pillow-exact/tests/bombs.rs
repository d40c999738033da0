//! Many large pictures at once take no more memory than they are given. Alone in its process, whose memory is measured.
#![cfg(target_os = "linux")]

use std::{fs, io::Write, path::Path};

use flate2::{Compression, Crc, write::ZlibEncoder};
use pillow_exact::{Budget, DecodeOptions, Window, decode_part};

/// A black picture of 16 bits and transparency, of some kilobytes.
fn bomb(edge: u32) -> Vec<u8> {
    let chunk = |name: &[u8], data: &[u8]| {
        let body = [name, data].concat();
        let mut check = Crc::new();
        check.update(&body);
        [&(data.len() as u32).to_be_bytes()[..], &body, &check.sum().to_be_bytes()].concat()
    };
    let size = edge.to_be_bytes();
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::best());
    let row = vec![0; 1 + 8 * edge as usize];
    (0..edge).for_each(|_| pixels.write_all(&row).expect("memory"));
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[&size[..], &size, &[16, 6, 0, 0, 0]].concat()),
        chunk(b"IDAT", &pixels.finish().expect("memory")),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// The most memory that this process had, in bytes.
fn peak() -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().strip_suffix("kB").expect("kilobytes").trim().parse::<u64>().expect("a number") << 10
}

#[test]
fn eight_bombs_stay_within_the_budget_and_a_photograph_among_them_is_read() {
    const BUDGET: u64 = 32 << 20;
    // Side by side they would take a quarter of a gigabyte. What each thread's allocator keeps of what was freed, some 15 MiB, is beside the budget.
    let bomb = bomb(1600);
    assert!(bomb.len() < 100_000);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images");
    let photograph = fs::read(fixtures.join("rocket.jpg")).expect("a photograph");
    let options = DecodeOptions { budget: Some(Budget::new(BUDGET)), ..DecodeOptions::default() };
    let read = |bytes: &[u8]| {
        decode_part(bytes, &options, |width, height| Some(Window::full(width, height))).map(drop)
    };
    read(&photograph).expect("it is one");
    let before = peak();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                read(&bomb).expect("it is black");
                read(&photograph).expect("it is one");
            });
        }
    });
    let taken = peak() - before;
    assert!(taken < BUDGET + (130 << 20), "{} MiB", taken >> 20);
    assert!(taken > 16 << 20, "it was measured: {} MiB", taken >> 20);
}
