//! Colours as libavif makes them by itself, in single precision: matrices that libyuv does not know, and grey (`avifImageYUVAnyToRGBAnySlow`).

use super::planes::{Layout, Picture, Plane};
use super::properties::Colours;

/// How three samples become red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Model {
    /// They are green, blue and red.
    Identity,
    YCgCo,
    /// `YCgCo`, made in whole numbers so that nothing is lost.
    Reversible,
    /// By the parts of red and blue in luma.
    Parts(f32, f32),
}

/// Where luma begins, what it spans, and what chroma spans.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversion {
    model: Model,
    luma: (f32, f32),
    chroma: (f32, f32),
    most: u16,
}

impl Conversion {
    /// None for matrices that libavif refuses (`avifGetYUVColorSpaceInfo`), and for those that it derives from primaries.
    pub(super) fn new(colours: Colours, depth: u8, layout: Layout) -> Option<Self> {
        let model = match colours.matrix {
            0 if matches!(layout, Layout::Full | Layout::Grey) => Model::Identity,
            8 if colours.is_full_range => Model::YCgCo,
            16 if colours.is_full_range && depth == 10 => Model::Reversible,
            1 => Model::Parts(0.2126, 0.0722),
            4 => Model::Parts(0.30, 0.11),
            7 => Model::Parts(0.212, 0.087),
            9 => Model::Parts(0.2627, 0.0593),
            2 | 5 | 6 | 15 => Model::Parts(0.299, 0.114),
            _ => return None,
        };
        let shift = depth - 8;
        let most = ((1u32 << depth) - 1) as u16;
        let middle = (1u32 << (depth - 1)) as f32;
        let (luma, chroma) = if colours.is_full_range {
            ((0.0, most.into()), (middle, most.into()))
        } else {
            (((16u32 << shift) as f32, (219u32 << shift) as f32), (middle, (224u32 << shift) as f32))
        };
        let chroma = if model == Model::Identity { luma } else { chroma };
        Some(Self { model, luma, chroma, most })
    }

    fn luma(&self, sample: u16) -> f32 {
        (f32::from(sample.min(self.most)) - self.luma.0) / self.luma.1
    }

    fn chroma(&self, sample: u16) -> f32 {
        (f32::from(sample.min(self.most)) - self.chroma.0) / self.chroma.1
    }

    /// Luma alone, as one value a pixel.
    pub(super) fn grey(&self, luma: &Plane) -> Vec<u8> {
        luma.samples.iter().map(|&sample| stored(self.luma(sample).clamp(0.0, 1.0))).collect()
    }

    /// Red, green and blue; divided by `alpha`, from 0 to 1, where there is one.
    pub(super) fn colours(&self, picture: &Picture, alpha: Option<&[f32]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(picture.width * picture.height * 3);
        for y in 0..picture.height {
            for x in 0..picture.width {
                let sample = picture.planes[0].row(y)[x];
                let chroma = |plane: &Plane| self.upsampled(picture, plane, x, y);
                let rgb = match picture.planes.as_slice() {
                    [_, blue, red] => self.rgb(sample, chroma(blue), chroma(red)),
                    _ => [self.luma(sample); 3],
                };
                let rgb = rgb.map(|value| value.clamp(0.0, 1.0));
                out.extend(match alpha.map(|alpha| alpha[y * picture.width + x]) {
                    Some(0.0) => [0; 3],
                    Some(alpha) if alpha < 1.0 => rgb.map(|value| stored((value / alpha).min(1.0))),
                    _ => rgb.map(stored),
                });
            }
        }
        out
    }

    /// Chroma at a pixel: the sample there, and of fewer samples the four around with their weights.
    fn upsampled(&self, picture: &Picture, plane: &Plane, x: usize, y: usize) -> f32 {
        if picture.layout == Layout::Full {
            return self.chroma(plane.row(y)[x]);
        }
        let beside = |at: usize, length: usize| match at {
            0 => 0,
            at if at == length - 1 && at % 2 == 1 => at / 2,
            at if at % 2 == 1 => at / 2 + 1,
            at => at / 2 - 1,
        };
        let (near_x, far_x) = (x / 2, beside(x, picture.width));
        let (near_y, far_y) =
            if picture.layout == Layout::Both { (y / 2, beside(y, picture.height)) } else { (y, y) };
        let value = |x: usize, y: usize| self.chroma(plane.row(y)[x]);
        value(near_x, near_y) * (9.0 / 16.0)
            + value(far_x, near_y) * (3.0 / 16.0)
            + value(near_x, far_y) * (3.0 / 16.0)
            + value(far_x, far_y) * (1.0 / 16.0)
    }

    fn rgb(&self, sample: u16, blue: f32, red: f32) -> [f32; 3] {
        let luma = self.luma(sample);
        match self.model {
            Model::Identity => [red, luma, blue],
            Model::YCgCo => {
                let rest = luma - blue;
                [rest + red, luma + blue, rest - red]
            }
            Model::Reversible => {
                let whole = |value: f32| (value * f32::from(self.most) + 0.5).floor() as i32;
                let (green, orange) = (whole(blue), whole(red));
                let rest = i32::from(sample.min(self.most)) - (green >> 1);
                let blue = (rest - (orange >> 1)).clamp(0, 255);
                let values = [(blue + orange).clamp(0, 255), (rest + green).clamp(0, 255), blue];
                values.map(|value| value as f32 / 255.0)
            }
            Model::Parts(kr, kb) => {
                let kg = 1.0 - kr - kb;
                let r = luma + (2.0 * (1.0 - kr)) * red;
                let b = luma + (2.0 * (1.0 - kb)) * blue;
                let g = luma - ((2.0 * ((kr * (1.0 - kr) * red) + (kb * (1.0 - kb) * blue))) / kg);
                [r, g, b]
            }
        }
    }

    /// Whether libavif divides by alpha afterwards, in whole numbers, rather than on the way.
    pub(super) fn divides_later(&self, picture: &Picture, colours: Colours) -> bool {
        match self.model {
            Model::Identity => picture.depth == 8 && picture.layout == Layout::Full && colours.is_full_range,
            Model::Parts(..) => matches!(picture.layout, Layout::Full | Layout::Grey),
            _ => false,
        }
    }
}

fn stored(value: f32) -> u8 {
    (0.5 + value * 255.0) as u8
}

/// Alpha in 8 bits (`avifReformatAlpha`).
pub(super) fn alpha(plane: &Plane, depth: u8) -> Vec<u8> {
    parts(plane, depth).into_iter().map(stored).collect()
}

/// Alpha from 0 to 1.
pub(super) fn parts(plane: &Plane, depth: u8) -> Vec<f32> {
    let most = ((1u32 << depth) - 1) as f32;
    plane.samples.iter().map(|&sample| f32::from(sample) / most).collect()
}
