//! A job of which everything that can be refused has been looked at.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use same_file::is_same_file;

use super::{
    Job,
    error::JobError,
    facts::PictureFacts,
    listing::Listing,
    overlap::{Overlap, check_failures},
};
use crate::{
    extractor::Opened,
    input::{Distinct, Images, Item, Seen, Source, distinct, expand, gather},
    output::{
        Contents, Format, Found, Plan, Planned, TensorSpec, Typical, Upcoming, free_space, readable_size,
        whole_path,
    },
};

/// A job that is ready to run. Nothing has been written, and no weights have been read.
#[derive(Debug)]
pub struct Prepared {
    /// Its inputs are in `listing` now.
    pub(super) job: Job,
    pub(super) opened: Arc<Opened>,
    pub(super) listing: Listing,
    /// How many other files were passed over in directories, and the directories that hold no images.
    passed_over: (usize, Vec<PathBuf>),
    pub(super) contents: Contents,
    /// What is there of the output.
    pub(super) found: Option<Arc<Found>>,
    /// For images that are not known in advance.
    pub(super) overlap: Overlap,
}

impl Job {
    /// Looks at everything that can be refused, so that a mistake costs no time: the model, what is asked of it, the inputs,
    /// the output and what is already there.
    ///
    /// # Errors
    /// See [`JobError`].
    pub fn prepare(mut self) -> Result<Prepared, JobError> {
        let opened = Arc::new(Opened::open(&self.model, self.options.clone())?);
        let contents = self.contents(&opened)?;
        self.output.check(&contents)?;
        let folders = self.folders()?;
        let read: Vec<PathBuf> =
            self.inputs.iter().filter_map(|input| input.file()).map(Path::to_owned).collect();
        let mut images = gather(std::mem::take(&mut self.inputs))?;
        self.leave_out_own(&folders, &mut images);
        let overlap = Overlap::of(&self, &contents, &opened, &read)?;
        overlap.check_all(images.known())?;
        self.failures.as_deref().map_or(Ok(()), check_failures)?;
        if let Images::Known { items, .. } = &images
            && items.is_empty()
        {
            return Err(JobError::NoImages);
        }
        if let Some(part) = self.part {
            images = images.of_places(move |place| part.takes(place));
        }
        let repeats_tars = self.output.repeats_tars();
        let mut passed_over = (0, Vec::new());
        let images = match images {
            Images::Known { items, .. } if !repeats_tars && items.iter().any(Item::is_shard) => {
                let items = Box::new(expand(items.into_iter(), self.selection.clone(), |_| false));
                Images::Listed(self.without_clashes(items, &contents))
            }
            Images::Known { mut items, others, empty } => {
                passed_over = (others, empty);
                self.check_names(&mut items, &contents)?;
                Images::Known { items, others: 0, empty: Vec::new() }
            }
            Images::Listed(items) if repeats_tars => Images::Listed(items),
            Images::Listed(items) => {
                let items = Box::new(expand(items, self.selection.clone(), |_| false));
                Images::Listed(self.without_clashes(items, &contents))
            }
        };
        let found = self.output.examine(&contents)?;
        let listing = Listing::of(images, &self.output, &contents, found.as_ref())?;
        if let (Some(found), true) = (&found, listing.remaining() != Some(0)) {
            found.refuse_strangers(contents.overwrite)?;
        }
        let planned = planned(&self.output, &listing);
        self.output.check_room(&contents, found.as_deref(), &planned)?;
        Ok(Prepared { job: self, opened, listing, passed_over, contents, found, overlap })
    }

    /// What is stored of each image.
    fn contents(&self, opened: &Opened) -> Result<Contents, JobError> {
        let mut settings = opened.metadata().clone();
        let mut tensors = opened.tensors();
        match self.draw {
            Some(drawing) => {
                drawing.check(opened).map_err(JobError::Query)?;
                drawing.describe(&mut settings);
                // How large a picture is depends on what is in it.
                tensors = vec![TensorSpec { name: "picture".into(), shape: None }];
            }
            None => settings.insert("dtype", self.dtype.name()),
        }
        let (dtype, overwrite, update) = (self.dtype, self.overwrite, self.update);
        Ok(Contents { tensors, dtype, settings, overwrite, update })
    }

    /// The directories among the inputs, of which none may be one of pictures.
    fn folders(&self) -> Result<Vec<PathBuf>, JobError> {
        let folders = self.inputs.iter().filter_map(|input| input.directory());
        let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        if let (Some(Format::Png), Some(root)) = (self.output.format(), self.output.directory())
            && let Some(input) = folders.iter().find(|folder| is_same_file(folder, root).unwrap_or(false))
        {
            return Err(JobError::AmongInputs { path: root.to_owned(), input: input.clone() });
        }
        Ok(folders)
    }

    /// The tars that an earlier run has written below a directory of images are none of these, so that the same command goes on where it
    /// was.
    fn leave_out_own(&self, folders: &[PathBuf], images: &mut Images) {
        let Some(path) = self.output.path().map(whole_path) else { return };
        let is_below = folders.iter().map(|folder| whole_path(folder)).any(|folder| path.starts_with(folder));
        let Images::Known { items, others, .. } = images else { return };
        if !is_below || !items.iter().any(Item::is_shard) {
            return;
        }
        let own: HashSet<PathBuf> = self.output.shared_files().iter().map(|path| whole_path(path)).collect();
        let before = items.len();
        items.retain(|item| !matches!(&item.source, Source::Shard(path) if own.contains(&whole_path(path))));
        *others += before - items.len();
    }

    /// Refuses two images that would be written to one place; images given twice are taken once.
    fn check_names(&self, items: &mut Vec<Item>, contents: &Contents) -> Result<(), JobError> {
        let place = place(self.output.clone(), contents.clone());
        let mut seen = Distinct::default();
        let mut clash = None;
        items.retain(|item| {
            let Some(place) = place(item) else { return true };
            match seen.note(&item.source, &place) {
                Seen::New => true,
                Seen::Again => false,
                Seen::Taken => {
                    clash.get_or_insert_with(|| (item.clone(), place));
                    true
                }
            }
        });
        let Some((second, taken)) = clash else { return Ok(()) };
        let first = items.iter().find(|item| place(item).as_ref() == Some(&taken)).unwrap_or(&second);
        Err(JobError::Clash {
            first: first.source.to_string(),
            second: second.source.to_string(),
            by_extension: self.output.accepts_extensions() && first.name != second.name,
            place: taken,
        })
    }

    /// The same for images as they are listed: the second of two with one place fails.
    fn without_clashes(
        &self,
        items: Box<dyn Iterator<Item = Item> + Send>,
        contents: &Contents,
    ) -> Box<dyn Iterator<Item = Item> + Send> {
        Box::new(distinct(items, place(self.output.clone(), contents.clone())))
    }
}

/// What tells the place of an image's output, which no other may have.
fn place(output: Plan, contents: Contents) -> impl Fn(&Item) -> Option<PathBuf> + Send {
    move |item| {
        let sample = item.sample.as_deref().map(|sample| sample.key.as_str());
        output.place(&contents, &item.key(), &item.name, sample)
    }
}

/// The images that are to be written, where no tar among them stands for more.
pub(super) fn planned(output: &Plan, listing: &Listing) -> Planned {
    let mut planned = Planned::default();
    if listing.left().iter().any(Item::is_shard) {
        return planned;
    }
    for (place, item) in listing.new_ones() {
        planned.pass_to(place);
        output.add_planned(&mut planned, &item.key(), &item.name);
    }
    planned
}

impl Prepared {
    /// What was asked for; its inputs have been taken.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Whether a run that was cut short goes on where it was.
    pub fn resumes(&self) -> bool {
        self.job.output.resumes()
    }

    /// How many other files were passed over in directories.
    pub fn others(&self) -> usize {
        self.passed_over.0
    }

    /// The directories that hold no images.
    pub fn empty(&self) -> &[PathBuf] {
        &self.passed_over.1
    }

    /// What is stored of each image.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// How many images there are, or tars where the output repeats them, if that is known.
    pub fn count(&self) -> Option<u64> {
        self.listing.count()
    }

    /// How many are to be done, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.listing.remaining()
    }

    /// Whether nothing is left to be done, as far as that can be told without reading what is in tars.
    pub fn is_complete(&self) -> bool {
        let is_settled = self.found.as_ref().is_none_or(|found| found.is_finished());
        match self.remaining() {
            Some(remaining) => remaining == 0 && is_settled,
            None => self.found.is_some() && is_settled,
        }
    }

    /// What is stored, in shapes that are known, and what these say; none where nothing is known, or no file is written.
    fn shaped(&self) -> Option<(Bound, Contents)> {
        let with = |tensors| Contents { tensors, ..self.contents.clone() };
        if self.contents.image_bytes().is_some() {
            return Some((Bound::Exactly, self.contents.clone()));
        }
        if self.job.draw.is_some() {
            return None;
        }
        let most = self.opened.largest_tensors().map(|tensors| (Bound::AtMost, with(tensors)));
        let least = || (Bound::AtLeast, with(self.opened.least_tensors()));
        let shaped = most.unwrap_or_else(least);
        shaped.1.image_bytes().is_some().then_some(shaped)
    }

    /// The bytes that an image's tensors take, or what is known of them where they depend on the picture; none where nothing is known.
    pub fn image_bytes(&self) -> Option<(Bound, u64)> {
        let (bound, contents) = self.shaped()?;
        Some((bound, contents.image_bytes()?))
    }

    /// The bytes that a run will write, as [`Prepared::image_bytes`] says, with heads, manifest, and the copy in which a finished file
    /// takes more; and those that are free there, if either can be told; none where no file is written. A `closer` look reads some of the
    /// images.
    pub fn space(&self, closer: bool) -> Option<(Option<u64>, Option<u64>)> {
        let path = self.job.output.path()?;
        // How many images a tar has is not known before it is read.
        let is_known = !self.listing.left().iter().any(Item::is_shard) && self.count().is_some();
        let needed = self.shaped().filter(|_| is_known).and_then(|(_, contents)| {
            let typical = if closer { self.typical() } else { Typical::default() };
            let new = || self.listing.new_ones().map(|(_, item)| item);
            let named: Vec<_> = new().map(|item| (item.key(), item.source.to_string())).collect();
            let images = new().zip(&named);
            let images = images.map(|(item, (key, input))| Upcoming { key, name: &item.name, input });
            self.job.output.bytes(&contents, self.found.as_deref(), images, typical)
        });
        Some((needed, free_space(path)))
    }

    /// What is said of the images, by a few of them.
    fn typical(&self) -> Typical {
        /// So few take no time, and photographs of one camera are alike.
        const FEW: usize = 16;
        let left = self.listing.left();
        let mut seen: Vec<[u64; 2]> = Vec::new();
        let mut input = 0;
        for place in 0..FEW.min(left.len()) {
            let item = &left[place * left.len() / FEW.min(left.len())];
            let Source::File(_) = item.source else { continue };
            let Ok((bytes, _)) = item.source.read() else { continue };
            let Ok(ready) = self.opened.preprocess(&bytes, false) else { continue };
            let facts = PictureFacts::of(&self.opened, &ready.picture);
            let metadata: usize =
                facts.metadata().iter().map(|(key, value)| key.len() + value.len() + 6).sum();
            seen.push([facts.json().len() as u64, metadata as u64]);
            input += bytes.len() as u64;
        }
        let count = seen.len() as u64;
        if count == 0 {
            return Typical::default();
        }
        let mean = |which: usize| seen.iter().map(|sizes| sizes[which]).sum::<u64>() / count;
        let facts = mean(0);
        Typical { facts, report: facts + 500, metadata: mean(1), input: input / count }
    }

    /// Refuses a run whose outputs do not fit on the disk.
    pub(super) fn check_space(&self) -> Result<(), JobError> {
        if let Some((Bound::AtMost, _)) = self.image_bytes() {
            return Ok(());
        }
        match (self.job.output.path(), self.space(false)) {
            (Some(path), Some((Some(needed), Some(free)))) if free < needed => Err(JobError::NoSpace {
                path: path.to_owned(),
                needed: readable_size(needed),
                free: readable_size(free),
            }),
            _ => Ok(()),
        }
    }
}

/// What a number of bytes says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is this many.
    Exactly,
    /// It is no less.
    AtLeast,
    /// It is no more.
    AtMost,
}
