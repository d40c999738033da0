//! The picture that is made of an image's patches, in place of its tensors.

use super::{opened::Opened, picture::Picture};
use crate::{
    figure::{Patches, Subject},
    model::ModelError,
    output::Array,
};

/// A PNG file, and what may surprise of it.
pub type PictureFile = (Vec<u8>, Option<String>);

impl Opened {
    /// Refuses a patch that no picture has, where all have the same.
    pub(super) fn check_drawing(&self) -> Result<(), ModelError> {
        let Some((drawing, (height, width))) = self.options.request.draw.zip(self.input_size()) else {
            return Ok(());
        };
        let Some(config) = self.config() else { return Ok(()) };
        let checked = drawing.check(height / config.patch_size, width / config.patch_size);
        checked.map_err(ModelError::NoSuchPatch)
    }

    /// The picture of an image's patches as a PNG file, and what may surprise of it; none where its tensors are wanted.
    ///
    /// # Errors
    /// It cannot be made of this image, in words.
    #[doc(hidden)]
    pub fn picture(&self, arrays: &[Array], picture: &Picture) -> Result<Option<PictureFile>, String> {
        let Some(drawing) = self.options.request.draw else { return Ok(None) };
        let found = arrays.iter().zip(self.parts()).find(|(_, part)| part.kind.has_tokens());
        let (Some((array, part)), Some(config), Some(rgb)) = (found, self.config(), &picture.rgb) else {
            return Err("there are no patches to draw".into());
        };
        let subject = Subject {
            picture: rgb,
            size: (picture.width, picture.height),
            geometry: &picture.geometry,
            patch_size: config.patch_size,
        };
        let [rows, columns] = picture.geometry.grid(config.patch_size);
        // Of tiles the first is the picture. Whatever stands before the patches, or pads them, is left out.
        let padding = self.padding(rows * columns) * config.hidden_size;
        let end = (array.values.len() / array.shape[0]).saturating_sub(padding);
        let first = end.checked_sub(rows * columns * config.hidden_size);
        let values = first.map(|first| &array.values[first..end]).filter(|values| !values.is_empty());
        let values = values.ok_or_else(|| format!("{rows} x {columns} patches cannot be drawn of it"))?;
        drawing.draw(subject, &Patches { values, rows, columns }, &part.name()).map(Some)
    }
}
