//! What can be told before a model is looked for, which may mean a download.

use anyhow::Result;

use super::{exit::Exit, hints::told_of_absent, reporter::Reporter, settled::Settled};
use crate::{job::Ended, shard::NotRead};

/// Says which inputs are not there. Where none is, that is all there is to do, and how it ends; else those images fail in their
/// place. The error is of an input or an output that ends the run.
pub(super) fn look(settled: &mut Settled) -> Result<Option<Exit>> {
    let Settled { job, show, .. } = settled;
    let absent = job.absent()?;
    for item in &absent.items {
        let Some(error) = item.source.read().err() else { continue };
        let path = item.source.to_string();
        show.say("error", Some(&path), &told_of_absent(&path, &error));
        show.told.insert(path);
    }
    if absent.is_all {
        show.warns_of_random_weights = false;
        let mut reporter = Reporter::new(show, NotRead::default());
        let failed = job.fail(&absent.items, !show.args.dry_run, &mut |event| reporter.take(event));
        return Ok(Some(reporter.end(failed.map(|()| Ended::Complete), false)));
    }
    if !show.args.dry_run {
        job.probe()?;
    }
    Ok(None)
}
