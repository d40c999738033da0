// What examples in the documentation start from, where it is not their point. Each takes it in by `include!`.

use std::{error::Error, fs, ops::ControlFlow, path::PathBuf};

use clip_features::{
    Inputs, ModelSpec,
    job::{Event, Job, Record, Stop},
};
use tempfile::TempDir;

type Given<T> = Result<T, Box<dyn Error>>;

/// A small tower of made-up weights: a class token and 2 × 2 patches of 32 × 32 pixels, each of 48 numbers.
pub fn model() -> Given<(TempDir, ModelSpec)> {
    let directory = tempfile::tempdir()?;
    let config = r#"{"model_type": "clip_vision_model", "hidden_size": 48, "num_hidden_layers": 2, "image_size": 64}"#;
    fs::write(directory.path().join("config.json"), config)?;
    let model = ModelSpec::Random { seed: 0, directory: Some(directory.path().into()) };
    Ok((directory, model))
}

/// Beside that tower two pictures in `photos`, and a job that puts their features into `features.npy`.
pub fn job() -> Given<(TempDir, Job, ModelSpec)> {
    let (directory, model) = model()?;
    let photos = directory.path().join("photos");
    fs::create_dir(&photos)?;
    fs::write(photos.join("cat.ppm"), b"P6 1 1 255\n\xff\x80\x00")?;
    fs::write(photos.join("dog.ppm"), b"P6 2 1 255\n\x00\x80\xff\xff\xff\xff")?;
    let mut job = Job::default();
    job.inputs = Inputs::Paths(vec![photos]);
    job.output.path = Some(directory.path().join("features.npy"));
    Ok((directory, job, model))
}

/// What that job has written.
pub fn written() -> Given<(TempDir, PathBuf)> {
    let (directory, job, model) = job()?;
    records(job, &model)?;
    let path = directory.path().join("features.npy");
    Ok((directory, path))
}

/// Carries a job out, and gives what it tells of its images.
pub fn records(job: Job, model: &ModelSpec) -> Given<Vec<Record>> {
    let mut all = Vec::new();
    job.choose()?.look(model)?.prepare()?.run(&Stop::new(), &mut |event| {
        if let Event::Image { records, .. } = event {
            all.extend_from_slice(records);
        }
        ControlFlow::Continue(())
    })?;
    Ok(all)
}
