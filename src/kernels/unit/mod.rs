//! Matrix units: products of bfloat16 tiles, in hardware or by the same rules in plain Rust.
//!
//! A float32 is the sum of up to three bfloat16 (8 bits of mantissa each), so products of tiles of such parts give as many
//! digits as are asked for: one product of the first parts, three of two, or the six largest of three times three.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod attention;
mod plain;
mod product;
mod proof;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use amx::Amx;
pub(super) use attention::{Mix, PackHead, Sizes};
pub(super) use plain::Plain;
pub(super) use product::{Product, SUMS};
pub(super) use proof::Proofs;
#[cfg(test)]
pub(super) use proof::tests::{Lie, believed};

/// Rows of a tile of inputs or of results, at most; a tile of weights has as many.
pub(super) const ROWS: usize = 16;

/// Rows of two tiles, which are multiplied together.
pub(super) const BAND: usize = 2 * ROWS;

/// Inputs that one step multiplies: bfloat16 in a row of a tile.
pub(super) const STEP: usize = 32;

/// Results in a row of a tile.
const TILE_COLUMNS: usize = 16;

/// Outputs in a panel of weights: two tiles side by side.
pub(super) const COLUMNS: usize = 2 * TILE_COLUMNS;

/// A machine of eight tiles, each of up to 16 rows of 64 bytes, as Intel's AMX has it.
///
/// Tiles 0 to 3 hold float32 results and 4 and 5 bfloat16 inputs, as many rows as the machine was made for; 6 and 7 hold 16
/// rows of weights, in each row the weights of two inputs for 16 outputs.
///
/// # Safety
/// Of all functions: the CPU has the machine, and memory is valid for the rows of a tile, `stride` bytes apart.
pub(super) trait TileMachine {
    /// A machine for inputs and results of so many rows, 1 to [`ROWS`], on this thread until it is dropped. There is only
    /// one at a time.
    unsafe fn new(rows: usize) -> Self;
    unsafe fn zero<const TILE: usize>(&mut self);
    unsafe fn load<const TILE: usize>(&mut self, from: *const f32, stride: usize);
    /// The same for memory that is needed once, which should not take the place of other in the first-level cache.
    unsafe fn load_once<const TILE: usize>(&mut self, from: *const f32, stride: usize);
    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize);
    /// Adds to each result of tile `C` the sum over a row of tile `A` and a column of tile `B`. The products of even inputs
    /// are added up from the first to the last, and so are those of odd ones, each product and sum rounded once; then both
    /// sums are added, and that to the result. Denormals count as zero.
    unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self);
}
