//! A tensor on its way out.

/// One tensor to write, in float32 as it was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Its name, the key in a safetensors file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
    pub values: Vec<f32>,
}

impl Array {
    /// Puts another's elements after these, along the first dimension; the others are the same.
    pub(crate) fn append(&mut self, below: Self) {
        debug_assert_eq!(self.shape[1..], below.shape[1..]);
        self.shape[0] += below.shape[0];
        self.values.extend(below.values);
    }
}
