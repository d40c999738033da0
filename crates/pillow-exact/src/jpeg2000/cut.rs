//! How a picture is cut up: into tiles, these into resolutions, their precincts and code-blocks, and what OpenJPEG takes for that.

use crate::error::DecodeError;
use crate::reader::Reader;

use super::{broken, unsupported};

/// What a pixel takes besides: four components of 32 bits, and of up to 16 in a tile's buffer, then bands and RGB.
const PIXEL: u64 = 4 * 4 + 4 * 2 + 4 + 3;
/// What OpenJPEG keeps of a code-block.
const BLOCK: u64 = 448;
/// Of a precinct, with two trees of tags in each of three bands.
const PRECINCT: u64 = 900;
/// Of a place for a packet.
const PLACE: u64 = 2;

/// A packet takes at least a byte, but behind the end of a file OpenJPEG goes on reading empty ones. They are counted as if no component
/// were subsampled.
const PACKETS_A_BYTE: u64 = 4;
/// It has a place for as many as there would be if each resolution had the precincts of the one with the most, and looks at all of them.
const PLACES_A_BYTE: u64 = 32;
/// A file that is shorter may be as cut up as one of this length.
const SHORT: u64 = 1 << 16;
/// Where precincts are looked for in the order of their positions, at each place where one of any resolution could begin. Precincts of
/// 32 x 32 pixels, the smallest that are met, come to a tenth of it in the largest picture that Pillow opens.
const MOST_STEPS: u64 = 1 << 25;

fn product(factors: impl IntoIterator<Item = u64>) -> u64 {
    factors.into_iter().fold(1, u64::saturating_mul)
}

/// A SIZ segment: both axes' ends and starts, of the picture and of its tiles.
pub(super) struct Size {
    end: [u32; 2],
    start: [u32; 2],
    tile: [u32; 2],
    tile_start: [u32; 2],
    pub(super) components: u64,
}

impl Size {
    pub(super) fn read(segment: &mut Reader) -> Result<Self, DecodeError> {
        segment.take(2)?;
        let mut pair = || Ok::<_, DecodeError>([segment.u32_be()?, segment.u32_be()?]);
        let (end, start, tile, tile_start) = (pair()?, pair()?, pair()?, pair()?);
        Ok(Self { end, start, tile, tile_start, components: segment.u16_be()?.into() })
    }

    pub(super) fn tiles(&self) -> u64 {
        product([0, 1].map(|axis| self.tiles_along(axis)))
    }

    fn tiles_along(&self, axis: usize) -> u64 {
        self.end[axis].saturating_sub(self.tile_start[axis]).div_ceil(self.tile[axis].max(1)).into()
    }

    /// Pixels of the picture along an axis.
    fn edge(&self, axis: usize) -> u64 {
        self.end[axis].saturating_sub(self.start[axis]).into()
    }

    /// Of the largest tile.
    fn tile_edge(&self, axis: usize) -> u64 {
        self.edge(axis).min(self.tile[axis].into())
    }

    /// How many precincts there are along an axis, each of 2^`exponent` pixels: in the largest tile, and in all of them. A tile that does
    /// not begin with one has a part of one more.
    fn precincts(&self, axis: usize, exponent: u8) -> [u64; 2] {
        let edge = 1u64 << exponent;
        let starts = [self.start, self.tile_start].map(|start| u64::from(start[axis]));
        let is_aligned =
            starts.iter().chain([&u64::from(self.tile[axis])]).all(|start| start.is_multiple_of(edge));
        let cut = if is_aligned { 0 } else { self.tiles_along(axis).saturating_sub(1) };
        let of_all = u64::from(self.end[axis]).div_ceil(edge).saturating_sub(starts[0] / edge);
        [self.tile_edge(axis).div_ceil(edge) + u64::from(!is_aligned), of_all + cut]
    }
}

/// What a COD or a COC segment says.
pub(super) struct Coding {
    /// Of all components; none of a segment that does not say it.
    layers: u64,
    /// Edges of a code-block as powers of two.
    block: [u8; 2],
    /// Edges of precincts, in pixels of their resolution, the lowest of which comes first.
    precincts: Vec<[u8; 2]>,
}

impl Coding {
    /// COD.
    pub(super) fn of_all(segment: &mut Reader) -> Result<Self, DecodeError> {
        let style = segment.byte()?;
        segment.take(1)?;
        let layers = segment.u16_be()?;
        segment.take(1)?;
        Self::read(segment, style, layers.into())
    }

    /// COC, whose component is in one byte where there are so few.
    pub(super) fn of_one(segment: &mut Reader) -> Result<Self, DecodeError> {
        segment.take(1)?;
        let style = segment.byte()?;
        Self::read(segment, style, 0)
    }

    fn read(segment: &mut Reader, style: u8, layers: u64) -> Result<Self, DecodeError> {
        /// More are refused.
        const MOST_LEVELS: u8 = 32;
        let levels = segment.byte()?.min(MOST_LEVELS);
        let block = [segment.byte()?, segment.byte()?].map(|exponent| (exponent & 15) + 2);
        segment.take(2)?;
        // Where nothing is said they are 2^15.
        let sizes = if style & 1 == 1 { segment.up_to(usize::from(levels) + 1) } else { &[] };
        let precincts = (0..=usize::from(levels)).map(|level| {
            let size = sizes.get(level).copied().unwrap_or(0xff);
            [size & 15, size >> 4]
        });
        Ok(Self { layers, block, precincts: precincts.collect() })
    }
}

/// A picture's cut, as far as its codings go: of each measure what the one with the most has.
pub(super) struct Cut {
    size: Size,
    layers: u64,
    resolutions: u64,
    /// How often packets' places are gone through.
    progressions: u64,
    /// The narrowest and the lowest precinct, in pixels of the picture, as powers of two.
    least: [u8; 2],
    /// Of a component: its precincts in all tiles, and in the largest those of all resolutions, and of the one with the most.
    in_all: u64,
    in_tile: u64,
    most: u64,
    /// Code-blocks of a component in the largest tile.
    blocks: u64,
}

impl Cut {
    pub(super) fn new(size: Size) -> Self {
        Self {
            size,
            layers: 1,
            resolutions: 1,
            progressions: 1,
            least: [u8::MAX; 2],
            in_all: 0,
            in_tile: 0,
            most: 0,
            blocks: 0,
        }
    }

    /// Adds a coding.
    pub(super) fn take(&mut self, coding: &Coding) {
        let (mut in_all, mut in_tile, mut blocks) = (0u64, 0u64, 0u64);
        for (level, precinct) in coding.precincts.iter().enumerate() {
            // Each resolution has half of the next one's edges.
            let below = (coding.precincts.len() - 1 - level) as u8;
            let counts = [0, 1].map(|axis| self.size.precincts(axis, precinct[axis] + below));
            let here = product(counts.map(|[tile, _]| tile));
            in_all = in_all.saturating_add(product(counts.map(|[_, all]| all)));
            in_tile = in_tile.saturating_add(here);
            self.most = self.most.max(here);
            // But for the lowest, bands have half of the edges.
            let along = |axis: usize| {
                let block = coding.block[axis].min(precinct[axis].saturating_sub(u8::from(level > 0)));
                (self.size.tile_edge(axis) >> below >> block) + 1 + counts[axis][0]
            };
            blocks = blocks.saturating_add(product([0, 1].map(along)));
            self.least = [0, 1].map(|axis| self.least[axis].min(precinct[axis] + below));
        }
        self.layers = self.layers.max(coding.layers);
        self.resolutions = self.resolutions.max(coding.precincts.len() as u64);
        self.in_all = self.in_all.max(in_all);
        self.in_tile = self.in_tile.max(in_tile);
        self.blocks = self.blocks.max(blocks);
    }

    /// Adds the progressions of a POC segment of so many bytes.
    pub(super) fn take_progressions(&mut self, length: usize) {
        /// Where components have one byte.
        const ENTRY: usize = 7;
        /// More are refused.
        const MOST: u64 = 32;
        self.progressions = (self.progressions + (length / ENTRY) as u64).min(MOST);
    }

    /// The bytes that a pixel takes at the most.
    ///
    /// # Errors
    /// A file of so many bytes holds no such picture.
    pub(super) fn bytes_per_pixel(&self, length: u64) -> Result<u64, DecodeError> {
        let Self { size, layers, resolutions, progressions, least, in_all, in_tile, most, blocks } = self;
        let (components, tiles, length) = (size.components, size.tiles(), length.max(SHORT));
        if product([components, *layers, *in_all]) > PACKETS_A_BYTE * length {
            return Err(broken("more packets than the file can hold"));
        }
        let places = product([components, layers + 1, *resolutions, *most]);
        if product([places, tiles, *progressions]) > PLACES_A_BYTE * length {
            return Err(broken("places for more packets than the file can hold"));
        }
        let positions = product([0, 1].map(|axis| size.precincts(axis, least[axis].min(47))[0]));
        if product([positions, tiles, components, *resolutions, *progressions]) > MOST_STEPS {
            return Err(unsupported("so many precincts"));
        }
        let of_one = product([BLOCK, *blocks]).saturating_add(PRECINCT * in_tile);
        let cut = product([components, of_one]).saturating_add(PLACE * places);
        Ok(PIXEL + cut.div_ceil(product([0, 1].map(|axis| size.edge(axis))).max(1)))
    }
}
