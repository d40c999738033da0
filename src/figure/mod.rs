//! Pictures of an image's patch tokens: a heat map of one number each, and their principal components as colours.
//!
//! A figure is drawn of the tokens, the picture and the way that the picture took through the processor; it is at most about a
//! thousand pixels wide, whatever the picture's size.

mod canvas;
mod drawing;
mod heatmap;
mod patches;
mod principal;
mod view;

use image::RgbImage;

use crate::processor::Geometry;

pub use drawing::{Drawing, Drawn};
pub use patches::{Cell, Patches};
pub use view::reduced;

/// An image whose patches are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The picture, or a smaller copy of it.
    pub picture: &'a RgbImage,
    /// The picture's own width and height.
    pub size: (u32, u32),
    /// Its way through the processor.
    pub geometry: &'a Geometry,
    /// Edge of a patch in the tower's input.
    pub patch_size: usize,
}
