//! What can be told before a model is looked for, which may mean a download.

use super::{exit::Exit, hints::told, reporter::Reporter, settled::Settled};
use crate::{
    job::{Ended, absent, fail},
    output::OutputFile,
    shard::NotRead,
};

/// Says which inputs are not there. Where none is, that is all there is to do, and how it ends; else those images fail in their
/// place. The error is what to say of an input or an output that ends the run.
pub(super) fn look(settled: &mut Settled) -> Result<Option<Exit>, String> {
    let absent = absent(&settled.job.inputs, settled.job.output.part).map_err(|error| told(&error))?;
    for item in &absent.items {
        let Some(error) = item.source.read().err() else { continue };
        let path = item.source.to_string();
        settled.show.voice.say_of("error", &path, &error.to_string());
        settled.show.told.insert(path);
    }
    if absent.is_all {
        settled.show.warns_of_random_weights = false;
        let failures = settled.job.failures.as_deref().filter(|_| !settled.show.dry_run);
        let mut reporter = Reporter::new(&settled.show, NotRead::default());
        let failed = fail(&absent.items, failures, &mut |event| reporter.take(event));
        let failed = failed.map(|()| Ended::Complete).map_err(|error| told(&error));
        return Ok(Some(reporter.end(failed, false)));
    }
    if !settled.show.dry_run {
        let probed = settled
            .job
            .output
            .probe()
            .and_then(|()| settled.job.failures.as_deref().map_or(Ok(()), OutputFile::probe));
        probed.map_err(|error| told(&error))?;
    }
    Ok(None)
}
