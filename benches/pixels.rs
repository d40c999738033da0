//! From a picture's bytes to pixel values, step by step, by format and size: milliseconds of this thread's time on a processor.
//!
//! `cargo bench --bench pixels -- [--backend torchvision] [PICTURE…]`; without pictures, the photographs among the fixtures and
//! a small picture of some rarer formats. Time on a
//! processor, not on the clock, so that neighbours count little; `benches/preprocess.py` sets it beside Pillow and transformers in
//! turns, for which this answers commands with `--serve`.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clip_features::pillow_exact::{DecodeOptions, Window, decode, decode_part, resize};
use clip_features::processor::{Backend, Geometry, Processor, ProcessorConfig};

/// Steps of the way, in the order of the columns.
const STEPS: [&str; 5] = ["decode", "part", "resize", "process", "all"];
/// Runs of a step, of which the median counts.
const RUNS: usize = 15;

fn main() {
    // `cargo bench` says so to every harness.
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let mut flag = |name: &str, values: usize| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.drain(at..=at + values).next_back()
    };
    let serve = flag("--serve", 0).is_some();
    let backend = match flag("--backend", 1).as_deref() {
        None | Some("pil") => Backend::Pil,
        Some("torchvision") => Backend::Torchvision,
        Some(other) => panic!("--backend is pil or torchvision, not {other}"),
    };
    let processor = Processor::new(ProcessorConfig::clip(224).on(backend).expect("CLIP runs on both"));
    if serve {
        answer(&processor);
        return;
    }
    let mut pictures: Vec<PathBuf> = arguments.into_iter().map(PathBuf::from).collect();
    if pictures.is_empty() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images");
        pictures = [
            "rocket.jpg",
            "chelsea.png",
            "coffee.png",
            "more/avif-420.avif",
            "more/tiff-tiles-5.tiff",
            "more/tga-rgb-runs.tga",
        ]
        .map(|name| images.join(name))
        .to_vec();
    }
    println!("{:40}{}", "ms", STEPS.map(|step| format!("{step:>10}")).concat());
    for picture in pictures {
        let bytes = std::fs::read(&picture).expect("a picture");
        let name = picture.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let times = STEPS.map(|step| format!("{:10.3}", seconds(&processor, &bytes, step) * 1e3));
        println!("{name:40}{}", times.concat());
    }
}

/// Reads lines `STEP PATH` and answers each with seconds.
fn answer(processor: &Processor) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (step, path) = line.split_once(' ').expect("STEP PATH");
        let bytes = std::fs::read(path).expect("a picture");
        println!("{:.9}", seconds(processor, &bytes, step));
        std::io::stdout().flush().expect("an answer");
    }
}

/// The median of a step's runs.
fn seconds(processor: &Processor, bytes: &[u8], step: &str) -> f64 {
    let options = DecodeOptions::default();
    let rgb = decode(bytes, &options).expect("a picture").rgb;
    let Geometry { resized, origin, output, .. } =
        processor.geometry(rgb.width(), rgb.height()).expect("a size");
    let span = |origin: i64, output: u32| origin.max(0) as u32..(origin.max(0) as u32 + output);
    let window = Window {
        rows: span(origin.1, output.1.min(resized.1)),
        columns: span(origin.0, output.0.min(resized.0)),
    };
    let filter = processor.config().resample;
    let run: &dyn Fn() = match step {
        "decode" => &|| drop(black_box(decode(bytes, &options))),
        "part" => &|| {
            drop(black_box(decode_part(bytes, &options, |width, height| {
                Some(processor.reads(width, height))
            })));
        },
        "resize" => &|| drop(black_box(resize(&rgb, resized.0, resized.1, filter, &window))),
        "process" => &|| drop(black_box(processor.process(&rgb))),
        "all" => &|| {
            let part = decode_part(bytes, &options, |width, height| Some(processor.reads(width, height)));
            drop(black_box(processor.process_part(&part.expect("a picture"))));
        },
        other => panic!("no step {other}"),
    };
    run();
    let mut times: Vec<f64> = (0..RUNS).map(|_| on_processor(run)).collect();
    times.sort_by(f64::total_cmp);
    times[RUNS / 2]
}

/// Seconds that this thread spends on a processor; on the clock where the system does not tell.
fn on_processor(work: &dyn Fn()) -> f64 {
    let spent = || {
        // Linux brings the count up to date when it looks for another thread to run.
        std::thread::yield_now();
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    let (clock, before) = (Instant::now(), spent());
    work();
    match (before, spent()) {
        (Some(before), Some(after)) => (after - before) / 1e9,
        _ => clock.elapsed().as_secs_f64(),
    }
}
