//! Where a tensor lies in a checkpoint's files.

use std::{ops::Range, sync::OnceLock};

use safetensors::Dtype;

use super::spelling::Form;

/// A tensor of the tower: one of a file, part of one, or several.
#[derive(Debug)]
pub(in crate::model) struct Entry {
    /// As the tower has it.
    pub(in crate::model) shape: Vec<usize>,
    /// In the order of their elements.
    parts: Vec<Part>,
}

/// What a tensor of a file is to one of the tower.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stored: Stored,
    pub(super) form: Form,
    /// The bytes with rows as columns, once they were asked for.
    pub(super) transposed: OnceLock<Vec<u8>>,
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) file: usize,
    /// As the file spells it.
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Part {
    /// Where its bytes lie in the file's tensor.
    pub(super) fn bytes(&self) -> Range<u64> {
        self.form.bytes(self.stored.len)
    }
}

impl Entry {
    pub(super) fn new(stored: Stored, form: Form) -> Self {
        let shape = form.in_tower(&stored.shape);
        Self { shape, parts: vec![Part { stored, form, transposed: OnceLock::new() }] }
    }

    /// Adds what is in another tensor of a file.
    pub(super) fn join(&mut self, other: Self) {
        self.parts.extend(other.parts);
        self.parts.sort_by_key(|part| match part.form {
            Form::Stacked { first, .. } => first,
            _ => 0,
        });
    }

    /// The same where so many files stand before its own.
    pub(super) fn after(mut self, files: usize) -> Self {
        self.parts.iter_mut().for_each(|part| part.stored.file += files);
        self
    }

    /// The part that lies in a tensor in this form, if there is one.
    pub(super) fn part(&self, form: Form) -> Option<&Part> {
        self.parts.iter().find(|part| part.form == form)
    }

    /// The type of its elements.
    pub(in crate::model) fn dtype(&self) -> Dtype {
        self.parts[0].stored.dtype
    }

    /// The type that all of its elements are stored in, if that is one.
    pub(super) fn one_dtype(&self) -> Option<Dtype> {
        let dtype = self.dtype();
        self.parts.iter().all(|part| part.stored.dtype == dtype).then_some(dtype)
    }

    /// How many bytes it has.
    pub(in crate::model) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes().end - part.bytes().start).sum()
    }

    /// The parts that some of its units lie in, and the range in each, where `units` counts those of a part.
    pub(super) fn over(
        &self,
        wanted: Range<u64>,
        units: impl Fn(&Part) -> u64,
    ) -> impl Iterator<Item = (&Part, Range<u64>)> {
        let mut first = 0; // the part's first unit among all
        self.parts.iter().filter_map(move |part| {
            let start = first;
            first += units(part);
            let here = wanted.start.max(start)..wanted.end.min(first);
            (!here.is_empty()).then(|| (part, here.start - start..here.end - start))
        })
    }
}
