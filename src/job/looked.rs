//! The first look at a job: at the model, at what is asked of it, and at the inputs.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use same_file::is_same_file;

use super::{
    chosen::Chosen,
    error::JobError,
    listing::Listing,
    overlap::{Overlap, check_failures},
    prepared::{Prepared, planned},
    task::Task,
};
use crate::{
    extractor::Opened,
    input::{Distinct, Images, Item, PassedOver, Seen, Source, distinct, expand, gather},
    model::ModelSpec,
    output::{Contents, Destination, Format, Found, Plan, Standing, whole_path},
};

/// A job of which the model and the inputs were looked at, all parts of it.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, mut job, model) = given::job()?;
/// # job.output.path = Some(directory.path().join("features"));
/// job.part = Some("0/2".parse()?); // this process does half of the work
/// let looked = job.choose()?.look(&model)?;
/// assert_eq!(looked.complete_parts()?, [false, false]);
/// let prepared = looked.prepare()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Looked {
    task: Arc<Task>,
    images: Images,
    overlap: Overlap,
}

impl Chosen {
    /// Looks at the model, at what is asked of it, and at the inputs, so that a mistake costs no time.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn look(self, model: &ModelSpec) -> Result<Looked, JobError> {
        let opened = Arc::new(Opened::open(model, self.job.options.clone())?);
        let contents = self.contents(&opened);
        self.plan.check(&contents)?;
        let folders = self.folders()?;
        let Self { job, inputs, plan } = self;
        let read: Vec<PathBuf> = inputs.iter().filter_map(|input| input.file()).map(Path::to_owned).collect();
        let mut images = gather(inputs)?;
        leave_out_own(&plan, &folders, &mut images);
        let task = Arc::new(Task { job, plan, opened, contents });
        let overlap = Overlap::of(&task, &read)?;
        overlap.check_all(images.known())?;
        task.job.failures.as_deref().map_or(Ok(()), check_failures)?;
        task.plan.check_replaced(&task.contents)?;
        if let Images::Known { items, passed } = &images
            && items.is_empty()
        {
            return Err(JobError::NoImages(passed.not_read.clone()));
        }
        Ok(Looked { task, images, overlap })
    }

    /// What is stored of each image.
    fn contents(&self, opened: &Opened) -> Contents {
        let Destination { dtype, overwrite, update, .. } = self.job.output;
        let mut settings = opened.metadata().clone();
        if self.plan.format() != Some(Format::Png) {
            settings.insert("dtype", dtype.name());
        }
        let accept_failures = self.job.accept_failures && !self.job.retry_failures;
        Contents { tensors: opened.tensors(), dtype, settings, overwrite, update, accept_failures }
    }

    /// The directories among the inputs, of which none may be one of pictures.
    fn folders(&self) -> Result<Vec<PathBuf>, JobError> {
        let folders = self.inputs.iter().filter_map(|input| input.directory());
        let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        if let (Some(Format::Png), Some(root)) = (self.plan.format(), self.plan.directory())
            && let Some(input) = folders.iter().find(|folder| is_same_file(folder, root).unwrap_or(false))
        {
            return Err(JobError::AmongInputs { path: root.to_owned(), input: input.clone() });
        }
        Ok(folders)
    }
}

impl Looked {
    /// Which parts of the job have nothing left to do, as far as that can be told without reading what is in tars; one that is not split
    /// is its only part.
    ///
    /// # Errors
    /// Outputs of other settings, or of unknown origin, are there, or something that is damaged.
    pub fn complete_parts(&self) -> Result<Vec<bool>, JobError> {
        let output = &self.task.plan;
        let count = output.part.map_or(1, |part| part.count.get());
        let mut items = match &self.images {
            Images::Known { items, .. } if output.repeats_tars() || !items.iter().any(Item::is_shard) => {
                Some(vec![Vec::new(); count])
            }
            _ => None,
        };
        for (place, item) in self.images.known().iter().enumerate() {
            if let Some(items) = &mut items {
                items[place % count].push(item);
            }
        }
        let is_complete = |index: usize, found: &Found| {
            let is_done = |item: &&Item| {
                matches!(self.task.standing(item, found), Standing::Complete | Standing::Accepted)
            };
            found.is_settled() && items.as_ref().is_none_or(|items| items[index].iter().all(is_done))
        };
        Ok(output.examine_parts(&self.task.contents, is_complete)?)
    }

    /// Looks at the output and at what is already there.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn prepare(self) -> Result<Prepared, JobError> {
        let Self { task, mut images, overlap } = self;
        let Task { job, plan, contents, .. } = &*task;
        if let Some(part) = plan.part {
            // An image of another part may be written to the same place.
            if let Images::Known { items, .. } = &images {
                check_names(&mut items.clone(), &task, &AtomicU64::new(0))?;
            }
            images = images.of_places(move |place| part.takes(place));
            // What was met beside the images of all parts is the first one's to tell, so that it counts once.
            if let (Images::Known { passed, .. }, 1..) = (&mut images, part.index) {
                *passed = PassedOver::default();
            }
        }
        let again = Arc::new(AtomicU64::new(0));
        // The second of two listed images with one place fails.
        let listed = |items: Box<dyn Iterator<Item = Item> + Send>| {
            let items = expand(items, job.selection.clone(), |_| false);
            let task = task.clone();
            let place = move |item: &Item| task.place(item);
            Images::Listed(Box::new(distinct(Box::new(items), place, again.clone())))
        };
        let mut passed_over = PassedOver::default();
        let images = match images {
            Images::Listed(items) if plan.repeats_tars() => Images::Listed(items),
            Images::Listed(items) => listed(items),
            Images::Known { items, passed } if !plan.repeats_tars() && items.iter().any(Item::is_shard) => {
                passed_over = passed;
                listed(Box::new(items.into_iter()))
            }
            Images::Known { mut items, passed } => {
                passed_over = passed;
                check_names(&mut items, &task, &again)?;
                Images::Known { items, passed: PassedOver::default() }
            }
        };
        let found = plan.examine(contents)?;
        let listing = Listing::of(images, &task, found.as_ref())?;
        if let (Some(found), true) = (&found, listing.remaining() != Some(0)) {
            found.refuse_strangers(contents.overwrite)?;
        }
        plan.check_room(contents, found.as_deref(), &planned(plan, &listing))?;
        Ok(Prepared { task, listing, passed_over, again, found, overlap })
    }
}

/// The tars that an earlier run has written below a directory of images are none of these, so that the same command goes on where it
/// was.
fn leave_out_own(plan: &Plan, folders: &[PathBuf], images: &mut Images) {
    let Some(path) = plan.path().map(whole_path) else { return };
    let is_below = folders.iter().map(|folder| whole_path(folder)).any(|folder| path.starts_with(folder));
    let Images::Known { items, passed } = images else { return };
    if !is_below || !items.iter().any(Item::is_shard) {
        return;
    }
    let own: HashSet<PathBuf> = plan.shared_files().iter().map(|path| whole_path(path)).collect();
    let before = items.len();
    items.retain(|item| !matches!(&item.source, Source::Shard(path) if own.contains(&whole_path(path))));
    passed.others += before - items.len();
}

/// Refuses two images that would be written to one place; images given twice are taken once.
fn check_names(items: &mut Vec<Item>, task: &Task, again: &AtomicU64) -> Result<(), JobError> {
    let mut seen = Distinct::default();
    let mut clash = None;
    items.retain(|item| {
        let Some(place) = task.place(item) else { return true };
        match seen.note(&item.source, &place) {
            Seen::New => true,
            Seen::Again => {
                again.fetch_add(1, Ordering::Relaxed);
                false
            }
            Seen::Taken => {
                clash.get_or_insert_with(|| (item.clone(), place));
                true
            }
        }
    });
    let Some((second, taken)) = clash else { return Ok(()) };
    let first = items.iter().find(|item| task.place(item).as_ref() == Some(&taken)).unwrap_or(&second);
    let plan = &task.plan;
    let by_extension = plan.with_extensions().is_some_and(|plan| {
        let task = Task { plan, ..task.clone() };
        task.place(first) != task.place(&second)
    });
    let stems = [first, &second].map(|item| item.name.with_extension(""));
    let is_in_tar = plan.format() == Some(Format::Tar) && !plan.repeats_tars();
    let by_dots = is_in_tar && stems[0] != stems[1];
    let [first, second] = [first, &second].map(|item| item.source.to_string());
    Err(JobError::Clash { first, second, place: taken, by_extension, by_dots })
}
