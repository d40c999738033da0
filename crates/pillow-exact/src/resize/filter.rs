//! Pillow's resampling filters, with their names and numbers there.

use std::f64::consts::PI;

/// A resampling filter, numbered as in `PIL.Image.Resampling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// 0: the pixel whose area holds the centre.
    Nearest,
    /// 1: sinc windowed by sinc, 3 lobes.
    Lanczos,
    /// 2: triangle.
    Bilinear,
    /// 3: cubic convolution with a = -0.5.
    Bicubic,
    /// 4: average over the area.
    Box,
    /// 5: sinc windowed by Hamming's cosine, one lobe.
    Hamming,
}

impl Filter {
    /// The filter with Pillow's number `number`.
    pub fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Nearest,
            1 => Self::Lanczos,
            2 => Self::Bilinear,
            3 => Self::Bicubic,
            4 => Self::Box,
            5 => Self::Hamming,
            _ => return None,
        })
    }

    /// Its name, Pillow's in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Lanczos => "lanczos",
            Self::Bilinear => "bilinear",
            Self::Bicubic => "bicubic",
            Self::Box => "box",
            Self::Hamming => "hamming",
        }
    }

    /// Half the filter's width, in input pixels at scale 1.
    pub fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The filter's value at distance `x`. The order of operations is Pillow's, so that the last bit is too.
    pub fn weight(self, x: f64) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => hamming(x.abs()),
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn hamming(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else if x >= 1.0 {
        0.0
    } else {
        let x = x * PI;
        // Pillow's two constants are single precision.
        x.sin() / x * (f64::from(0.54f32) + f64::from(0.46f32) * x.cos())
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        1.0
    } else {
        let x = x * PI;
        x.sin() / x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_pillow() {
        let all = [
            Filter::Nearest,
            Filter::Lanczos,
            Filter::Bilinear,
            Filter::Bicubic,
            Filter::Box,
            Filter::Hamming,
        ];
        for (number, filter) in all.into_iter().enumerate() {
            assert_eq!(Filter::from_number(number as u64), Some(filter));
        }
        assert_eq!(Filter::from_number(6), None);
    }

    #[test]
    fn interpolating_filters_are_one_at_the_centre_and_zero_at_other_pixels() {
        for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Hamming] {
            assert!((filter.weight(0.0) - 1.0).abs() < 1e-15, "{filter:?}");
            for x in [1.0, -1.0, 2.0, -2.0, 3.0] {
                assert!(filter.weight(x).abs() < 1e-15, "{filter:?} at {x}");
            }
        }
    }

    #[test]
    fn filters_vanish_outside_their_support() {
        for filter in [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming] {
            assert_eq!(filter.weight(filter.support() + 1e-9), 0.0, "{filter:?}");
            assert_eq!(filter.weight(-filter.support() - 1e-9), 0.0, "{filter:?}");
        }
    }
}
