//! What can be told before a model is looked for, which may mean a download.

use super::{
    exit::Exit,
    hints::{told, told_of_absent},
    reporter::Reporter,
    settled::Settled,
};
use crate::{job::Ended, shard::NotRead};

/// Says which inputs are not there. Where none is, that is all there is to do, and how it ends; else those images fail in their
/// place. The error is what to say of an input or an output that ends the run.
pub(super) fn look(settled: &mut Settled) -> Result<Option<Exit>, String> {
    let Settled { job, show, .. } = settled;
    let absent = job.absent().map_err(|error| told(&error))?;
    for item in &absent.items {
        let Some(error) = item.source.read().err() else { continue };
        let path = item.source.to_string();
        show.voice.say_of("error", &path, &told_of_absent(&path, &error));
        show.told.insert(path);
    }
    if absent.is_all {
        show.warns_of_random_weights = false;
        let mut reporter = Reporter::new(show, NotRead::default());
        let failed = job.fail(&absent.items, !show.dry_run, &mut |event| reporter.take(event));
        let failed = failed.map(|()| Ended::Complete).map_err(|error| told(&error));
        return Ok(Some(reporter.end(failed, false)));
    }
    if !show.dry_run {
        job.probe().map_err(|error| told(&error))?;
    }
    Ok(None)
}
