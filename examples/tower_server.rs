//! The tower as a contestant of `benches/peers.py`: commands on standard input, answers on standard output, by the
//! protocol of `benches/README.md`.
//!
//! `tower_server --model DIR --pixels FILE.npy --batch B --threads T`

use std::{
    fs::File,
    io::{self, BufRead},
    time::Instant,
};

use anyhow::Context;
use candle_core::Tensor;
use clap::Parser;
use clip_features::{
    kernels::{Compute, Isa, MatmulPrecision, fma_peak},
    model::{Model, ModelSpec, VisionTower, Wanted},
    output::{Array, Content, Dtype, Format, Metadata},
};

#[derive(Parser)]
struct Args {
    #[arg(long)]
    model: std::path::PathBuf,
    #[arg(long)]
    pixels: std::path::PathBuf,
    #[arg(long)]
    batch: usize,
    #[arg(long)]
    threads: usize,
    /// highest, high or medium
    #[arg(long, default_value = "highest")]
    precision: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // As in the extractor, the forward pass runs inside the pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads).build()?;
    pool.install(|| serve(&args))
}

fn serve(args: &Args) -> anyhow::Result<()> {
    let model = Model::open(&ModelSpec::Local(args.model.clone()))?;
    let edge = model.config()?.image_size;
    let precision = MatmulPrecision::ALL.into_iter().find(|precision| precision.name() == args.precision);
    let precision = precision.context("--precision is highest, high or medium")?;
    let tower = model.tower(&Wanted::last_hidden_state(), &Compute::best(precision).into())?;
    let one = Tensor::read_npy(&args.pixels)?.reshape((1, 3, edge, edge))?;
    let pixel_values = one.repeat((args.batch, 1, 1, 1))?.contiguous()?; // (B, 3, H, W)
    tower.forward(&pixel_values)?;
    println!("ready clip-features {} ({})", env!("CARGO_PKG_VERSION"), Compute::best(precision).name());
    for line in io::stdin().lock().lines() {
        match answer(&line?, &tower, &pixel_values) {
            Ok(text) => println!("{text}"),
            Err(error) => println!("error {error}"),
        }
    }
    Ok(())
}

fn answer(command: &str, tower: &VisionTower, pixel_values: &Tensor) -> anyhow::Result<String> {
    match command.split_once(' ').unwrap_or((command, "")) {
        ("run", _) => {
            let started = Instant::now();
            let features = tower.forward(pixel_values)?;
            let elapsed = started.elapsed();
            drop(features);
            Ok(format!("{:.6}", elapsed.as_secs_f64()))
        }
        ("save", path) => {
            let features = tower.forward(pixel_values)?; // (B, T, width)
            let name = "last_hidden_state".to_owned();
            let array =
                Array { name, shape: features.dims().to_vec(), values: features.flatten_all()?.to_vec1()? };
            Format::Npy.write(
                &mut File::create(path)?,
                Content::Tensors(&[array]),
                Dtype::F32,
                &Metadata::new(),
            )?;
            Ok("saved".into())
        }
        ("peak", _) => {
            let peaks = (0..10).map(|_| fma_peak(Isa::best())); // of 50 ms each
            Ok(format!("{:.1}", peaks.fold(0.0, f64::max)))
        }
        _ => anyhow::bail!("unknown command {command:?}"),
    }
}
