//! What a run is of.

use std::{path::PathBuf, sync::Arc};

use super::Job;
use crate::{
    extractor::Opened,
    input::{Item, Source, Stat},
    output::{Contents, Found, Plan, Standing},
};

/// A job, its model, what is stored of each image and where that goes: all steps look at it, and none changes it.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) job: Job,
    pub(super) plan: Plan,
    pub(super) opened: Arc<Opened>,
    pub(super) contents: Contents,
}

impl Task {
    /// The place of an image's output, which no other may have; none where images do not get in each other's way.
    pub(super) fn place(&self, item: &Item) -> Option<PathBuf> {
        let sample = item.sample.as_deref().map(|sample| sample.key.as_str());
        self.plan.place(&self.contents, &item.key(), &item.name, sample)
    }

    /// How far an image, or a tar that is repeated, is.
    pub(super) fn standing(&self, item: &Item, found: &Found) -> Standing {
        let stat = || {
            let Stat { bytes, modified_ns } = item.source.stat();
            (bytes, modified_ns)
        };
        match &item.source {
            Source::Shard(_) if self.plan.repeats_tars() => {
                if found.is_tar_done(&self.contents, &item.key(), &item.name, stat()) {
                    return Standing::Complete;
                }
                match found.foreign_tar(&item.name).filter(|_| !self.contents.overwrite) {
                    Some(path) => Standing::Foreign(path),
                    None => Standing::New,
                }
            }
            Source::File(_) | Source::Stdin | Source::Member { .. } => {
                found.standing(&self.contents, &item.key(), &item.name, stat)
            }
            // What could not be read has none, and what is in a tar is not known.
            Source::Shard(_) | Source::Unusable(..) | Source::ShardEnd { .. } | Source::NoList { .. } => {
                Standing::New
            }
        }
    }
}
