//! Planes of samples, and pictures of them put together from tiles.

/// How chroma lies to luma.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// There is none.
    Grey,
    /// Half as many across and down.
    Both,
    /// Half as many across.
    Across,
    Full,
}

impl Layout {
    pub(super) fn planes(self) -> usize {
        if self == Self::Grey { 1 } else { 3 }
    }

    /// Columns and rows of a plane of a picture of this size.
    pub(super) fn size(self, plane: usize, width: usize, height: usize) -> (usize, usize) {
        match (plane, self) {
            (0, _) | (_, Self::Full | Self::Grey) => (width, height),
            (_, Self::Across) => (width.div_ceil(2), height),
            (_, Self::Both) => (width.div_ceil(2), height.div_ceil(2)),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u16>,
}

impl Plane {
    /// With rows that `fill` writes.
    pub(super) fn new(width: usize, height: usize, mut fill: impl FnMut(usize, &mut [u16])) -> Self {
        let mut samples = vec![0; width * height];
        samples.chunks_exact_mut(width).enumerate().for_each(|(row, samples)| fill(row, samples));
        Self { width, height, samples }
    }

    pub(super) fn row(&self, row: usize) -> &[u16] {
        &self.samples[row * self.width..][..self.width]
    }

    /// The high bits of each sample, as many as there are left.
    pub(super) fn shifted(&self, bits: u8) -> Self {
        Self { samples: self.samples.iter().map(|sample| sample >> bits).collect(), ..*self }
    }

    fn put(&mut self, left: usize, top: usize, other: &Self) {
        let columns = other.width.min(self.width.saturating_sub(left));
        for row in 0..other.height.min(self.height.saturating_sub(top)) {
            let place = (top + row) * self.width + left;
            self.samples[place..place + columns].copy_from_slice(&other.row(row)[..columns]);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: u8,
    pub(super) layout: Layout,
    pub(super) planes: Vec<Plane>,
}

impl Picture {
    /// A picture of this size, for tiles that are like `self`.
    pub(super) fn canvas(&self, width: usize, height: usize) -> Self {
        let plane = |index| {
            let (width, height) = self.layout.size(index, width, height);
            Plane::new(width, height, |_, _| {})
        };
        Self { width, height, planes: (0..self.layout.planes()).map(plane).collect(), ..*self }
    }

    /// Puts a tile in its place; what lies beside the picture is cut off.
    pub(super) fn put(&mut self, left: usize, top: usize, tile: &Self) {
        for (index, (plane, tile)) in self.planes.iter_mut().zip(&tile.planes).enumerate() {
            let (left, top) = self.layout.size(index, left, top);
            plane.put(left, top, tile);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_cut_at_the_edges() {
        let tile = |value: u16| {
            let plane = |index: usize| {
                let (width, height) = Layout::Both.size(index, 4, 4);
                Plane::new(width, height, |_, samples| samples.fill(value + index as u16))
            };
            Picture {
                width: 4,
                height: 4,
                depth: 8,
                layout: Layout::Both,
                planes: (0..3).map(plane).collect(),
            }
        };
        let mut canvas = tile(0).canvas(6, 4);
        canvas.put(0, 0, &tile(10));
        canvas.put(4, 0, &tile(20));
        assert_eq!(canvas.planes[0].row(3), [10, 10, 10, 10, 20, 20]);
        assert_eq!(canvas.planes[2].row(1), [12, 12, 22]);
    }
}
