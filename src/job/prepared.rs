//! A job of which everything that can be refused has been looked at.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use same_file::is_same_file;

use super::{
    Job,
    drawing::Drawing,
    error::JobError,
    overlap::{Overlap, check_failures},
};
use crate::{
    extractor::Opened,
    input::{Distinct, Images, Item, Seen, Source, distinct, expand, gather},
    output::{Complete, Contents, Setting, free_space, place_of, readable_size, whole_path},
};

/// A job that is ready to run. Nothing has been written, and no weights have been read.
#[derive(Debug)]
pub struct Prepared {
    /// Its inputs are in `images` now.
    pub(super) job: Job,
    pub(super) opened: Arc<Opened>,
    pub(super) images: Images,
    pub(super) contents: Contents,
    pub(super) complete: Complete,
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
        let mut settings = opened.metadata().clone();
        settings.insert("dtype", self.dtype.name());
        let (dtype, overwrite) = (self.dtype, self.overwrite);
        let contents = Contents { tensors: opened.tensors(), dtype, settings, overwrite };
        self.destination.check(&contents)?;
        self.check_drawings()?;
        let folders = self.folders()?;
        let read: Vec<PathBuf> =
            self.inputs.iter().filter_map(|input| input.file()).map(Path::to_owned).collect();
        let mut images = gather(std::mem::take(&mut self.inputs))?;
        self.leave_out_own(&folders, &mut images);
        let overlap = Overlap::of(&self, &contents, &opened, &read)?;
        overlap.check_all(images.known())?;
        self.failures.as_deref().map_or(Ok(()), check_failures)?;
        if let Images::Known { items, drawn, .. } = &images
            && items.is_empty()
        {
            return Err(JobError::NoImages { drawn: *drawn });
        }
        if let Some(part) = self.part {
            images = images.of_places(move |place| part.takes(place));
        }
        let repeats_shards = self.destination.repeats_shards();
        let images = match images {
            Images::Known { items, .. } if !repeats_shards && items.iter().any(Item::is_shard) => {
                let items = Box::new(expand(items.into_iter(), self.selection.clone(), |_| false));
                Images::Listed(self.without_clashes(items, &contents))
            }
            Images::Known { mut items, others, drawn, empty } => {
                self.check_names(&mut items, &contents)?;
                Images::Known { items, others, drawn, empty }
            }
            Images::Listed(items) if repeats_shards => Images::Listed(items),
            Images::Listed(items) => {
                let items = Box::new(expand(items, self.selection.clone(), |_| false));
                Images::Listed(self.without_clashes(items, &contents))
            }
        };
        let written = Arc::new(self.destination.complete(&contents)?);
        let drawn = self.drawings.iter().map(|drawing| drawing.complete(&opened, overwrite).map(Arc::new));
        let complete = self.all_complete(written, drawn.collect::<Result<_, _>>()?);
        Ok(Prepared { job: self, opened, images, contents, complete, overlap })
    }
}

/// Where something of an image goes, if nothing of another image may go there.
type Place = dyn Fn(&Item) -> Option<PathBuf> + Send;

impl Job {
    /// Refuses pictures that would get in the way of something else.
    fn check_drawings(&self) -> Result<(), JobError> {
        let mut places: Vec<PathBuf> = self.destination.path().map(place_of).into_iter().collect();
        for path in self.drawings.iter().filter_map(Drawing::path) {
            if self.destination.repeats_shards() {
                return Err(JobError::DrawnShards { path: path.to_owned() });
            }
            if places.contains(&place_of(path)) {
                return Err(JobError::SamePlace { path: path.to_owned() });
            }
            places.push(place_of(path));
        }
        Ok(())
    }

    /// The directories among the inputs, of which none may be one of pictures.
    fn folders(&self) -> Result<Vec<PathBuf>, JobError> {
        let folders = self.inputs.iter().filter_map(|input| input.directory());
        let folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        for drawing in &self.drawings {
            let Some(root) = drawing.root() else { continue };
            if let Some(input) = folders.iter().find(|folder| is_same_file(folder, root).unwrap_or(false)) {
                let (kind, path) = (drawing.kind, root.to_owned());
                return Err(JobError::AmongInputs { kind, path, input: input.clone() });
            }
        }
        Ok(folders)
    }

    /// What was drawn or written below a directory of images is none of its images, so that the same command goes on where it was.
    fn leave_out_own(&self, folders: &[PathBuf], images: &mut Images) {
        let folders: Vec<PathBuf> = folders.iter().map(|folder| whole_path(folder)).collect();
        let is_below =
            |root: &PathBuf| folders.iter().any(|folder| root != folder && root.starts_with(folder));
        let drawn = self.drawings.iter().filter_map(|drawing| drawing.root().map(whole_path));
        let drawn: Vec<PathBuf> = drawn.filter(is_below).collect();
        let writes = self.destination.path().map(whole_path).is_some_and(|path| is_below(&path));
        if let (Images::Known { items, others, .. }, true) = (images, writes || !drawn.is_empty()) {
            let before = items.len();
            items.retain(|item| match &item.source {
                Source::File(path) => !drawn.iter().any(|root| whole_path(path).starts_with(root)),
                Source::Shard(path) => !(writes && self.destination.is_own(path)),
                _ => true,
            });
            *others += before - items.len();
        }
    }

    /// The images of which nothing is left to be done: they are written, unless nothing is, and drawn.
    pub(super) fn all_complete(&self, written: Arc<Complete>, drawn: Vec<Arc<Complete>>) -> Complete {
        let writes = self.destination.format().is_some();
        let all: Vec<Arc<Complete>> = writes.then_some(written).into_iter().chain(drawn).collect();
        match all.is_empty() {
            true => Complete::none(),
            false => Complete::when(move |name, sample| all.iter().all(|one| one.contains(name, sample))),
        }
    }

    /// The places of an image that no other may have.
    fn places(&self, contents: &Contents) -> Vec<Box<Place>> {
        let (destination, contents) = (self.destination.clone(), contents.clone());
        let mut places: Vec<Box<Place>> =
            vec![Box::new(move |item| destination.place(&contents, &item.name))];
        for drawing in &self.drawings {
            let drawing = drawing.clone();
            places.push(Box::new(move |item| drawing.file(&item.name)));
        }
        places
    }

    /// Refuses two images that would be written to one place; images given twice are taken once.
    fn check_names(&self, items: &mut Vec<Item>, contents: &Contents) -> Result<(), JobError> {
        for (index, place) in self.places(contents).iter().enumerate() {
            let heeds_extension = index > 0 || self.destination.heeds(Setting::KeepExtension);
            check_places(items, place, heeds_extension)?;
        }
        Ok(())
    }

    /// The same for images as they are listed: the second of two with one place fails.
    fn without_clashes(
        &self,
        items: Box<dyn Iterator<Item = Item> + Send>,
        contents: &Contents,
    ) -> Box<dyn Iterator<Item = Item> + Send> {
        let places = self.places(contents).into_iter();
        places.fold(items, |items, place| Box::new(distinct(items, place)))
    }
}

impl Prepared {
    /// What was asked for; its inputs have been taken.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Whether a run that was cut short goes on where it was.
    pub fn resumes(&self) -> bool {
        match self.job.destination.format() {
            Some(_) => self.job.destination.resumes(),
            None => self.job.drawings.iter().any(|drawing| drawing.root().is_some()),
        }
    }

    /// The images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// What is stored of each.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// How many images, or shards where the output repeats them, are to be done, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.images.count()?;
        Some(self.left().count() as u64)
    }

    /// The images that are to be done, as far as they are known in advance.
    fn left(&self) -> impl Iterator<Item = &Item> {
        self.images.known().iter().filter(|item| !is_complete(&self.complete, item))
    }

    /// Whether nothing is left to be done, as far as that can be told without reading what is in shards.
    pub fn is_complete(&self) -> bool {
        match self.remaining() {
            Some(remaining) => remaining == 0,
            None => self.job.destination.is_finished(&self.contents),
        }
    }

    /// The bytes that an image takes of the output's disk, or what is known of them where they depend on the picture; none where
    /// nothing is known, or no file is written.
    pub fn image_bytes(&self) -> Option<(Bound, u64)> {
        let bytes =
            |tensors| self.job.destination.image_bytes(&Contents { tensors, ..self.contents.clone() });
        let exactly = bytes(self.contents.tensors.clone()).map(|bytes| (Bound::Exactly, bytes));
        let most = || Some((Bound::AtMost, bytes(self.opened.largest_tensors()?)?));
        let least = || Some((Bound::AtLeast, bytes(self.opened.least_tensors())?));
        exactly.or_else(most).or_else(least)
    }

    /// The bytes that the output will take, as [`Prepared::image_bytes`] says, with the least that journals, indices and headers take, and
    /// the copy of a finished one that takes more; and those that are free there, if either can be told; none where no file is written.
    pub fn space(&self) -> Option<(Option<u64>, Option<u64>)> {
        let path = self.job.destination.path()?;
        let image = self.image_bytes().map(|(_, bytes)| bytes);
        // How many images a shard has is not known before it is read.
        let is_known = self.images.count().is_some() && !self.job.destination.repeats_shards();
        let destination = &self.job.destination;
        let with = |image| {
            let bytes = |item: &Item| image + destination.beside_bytes(&self.contents, &item.name);
            match self.left().map(bytes).sum() {
                0 => 0,
                left => left + destination.copied_bytes(&self.contents),
            }
        };
        let needed = image.filter(|_| is_known).map(with);
        Some((needed, free_space(path)))
    }

    /// Refuses a run whose outputs do not fit on the disk.
    pub(super) fn check_space(&self) -> Result<(), JobError> {
        if let Some((Bound::AtMost, _)) = self.image_bytes() {
            return Ok(());
        }
        match (self.job.destination.path(), self.space()) {
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

/// Whether an image's output is there already. What could not be read has none.
pub(super) fn is_complete(complete: &Complete, item: &Item) -> bool {
    let is_none = matches!(
        item.source,
        Source::Unreadable(..) | Source::SeveralImages(..) | Source::ShardEnd { .. } | Source::NoList { .. }
    );
    !is_none && complete.contains(&item.name, item.sample.as_deref())
}

/// Refuses two images with one place; of one that is given twice, the second is left out.
fn check_places(
    items: &mut Vec<Item>,
    place: impl Fn(&Item) -> Option<PathBuf>,
    heeds_extension: bool,
) -> Result<(), JobError> {
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
        by_extension: heeds_extension && first.name != second.name,
        place: taken,
    })
}
