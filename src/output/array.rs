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
