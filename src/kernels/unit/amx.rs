//! Intel's AMX, which stable Rust has no intrinsics for.

use std::{
    arch::{
        asm,
        x86_64::{__cpuid, __cpuid_count, _xgetbv},
    },
    sync::OnceLock,
};

use super::TileMachine;

/// The calling thread's tiles, configured.
pub(in crate::kernels) struct Amx(());

impl Amx {
    /// Whether the CPU and the system have it. The first call asks the system for it, for the whole process: a thread's
    /// 8 KB of tiles are only saved for those who ask.
    pub(in crate::kernels) fn is_available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| has_instructions() && has_permission())
    }
}

/// Intel's manual, volume 1, 18.3: the tiles and their products on bfloat16, and a system that keeps both parts of their state.
fn has_instructions() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const OSXSAVE: u32 = 1 << 27;
    const STATE: u64 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    // SAFETY: the system has switched the instruction on.
    features & AMX_BF16 != 0 && features & AMX_TILE != 0 && unsafe { saved_state() } & STATE == STATE
}

#[target_feature(enable = "xsave")]
unsafe fn saved_state() -> u64 {
    // SAFETY: register 0 is there where the instruction is.
    unsafe { _xgetbv(0) }
}

/// Linux, Documentation/arch/x86/xstate.rst.
fn has_permission() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: it takes two numbers, and changes nothing but what the process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row of each tile.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

// The tiles are no registers that the compiler uses, so only these blocks name them.
impl TileMachine for Amx {
    #[inline(always)]
    unsafe fn new(rows: usize) -> Self {
        let rows = rows as u8;
        let mut config =
            Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..8].copy_from_slice(&[rows, rows, rows, rows, rows, rows, 16, 16]);
        // SAFETY: a valid configuration of palette 1.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, preserves_flags, readonly)) };
        Self(())
    }

    #[inline(always)]
    unsafe fn zero<const TILE: usize>(&mut self) {
        // SAFETY: the tile is configured.
        unsafe { asm!("tilezero tmm{}", const TILE, options(nostack, preserves_flags, nomem)) };
    }

    #[inline(always)]
    unsafe fn load<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
        // SAFETY: the caller's memory.
        unsafe {
            asm!("tileloadd tmm{}, [{} + {}]", const TILE, in(reg) from, in(reg) stride,
                options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn load_once<const TILE: usize>(&mut self, from: *const f32, stride: usize) {
        // SAFETY: the caller's memory.
        unsafe {
            asm!("tileloaddt1 tmm{}, [{} + {}]", const TILE, in(reg) from, in(reg) stride,
                options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: usize>(&mut self, to: *mut f32, stride: usize) {
        // SAFETY: the caller's memory.
        unsafe {
            asm!("tilestored [{} + {}], tmm{}", in(reg) to, in(reg) stride, const TILE,
                options(nostack, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn dot<const C: usize, const A: usize, const B: usize>(&mut self) {
        // SAFETY: the tiles are configured, and their sizes fit each other.
        unsafe {
            asm!("tdpbf16ps tmm{}, tmm{}, tmm{}", const C, const A, const B,
                options(nostack, preserves_flags, nomem));
        }
    }
}

impl Drop for Amx {
    fn drop(&mut self) {
        // SAFETY: gives up what `new` configured; the system saves nothing then.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{testing::noise, unit::Plain};

    /// Loads all tiles from `memory`, multiplies, and gives the results' bits.
    unsafe fn run<M: TileMachine>(rows: usize, memory: &[f32]) -> Vec<u32> {
        let mut results = vec![0f32; 4 * 256];
        // SAFETY: a tile is 256 values.
        unsafe {
            let at = |tile: usize| memory[tile * 256..][..256].as_ptr();
            let mut machine = M::new(rows);
            machine.zero::<0>();
            machine.zero::<1>();
            machine.load::<2>(at(0), 64);
            machine.load::<3>(at(1), 64);
            machine.load::<4>(at(2), 64);
            machine.load::<5>(at(3), 64);
            machine.load::<6>(at(4), 64);
            machine.load::<7>(at(5), 64);
            machine.dot::<0, 4, 6>();
            machine.dot::<1, 4, 7>();
            machine.dot::<2, 5, 6>();
            machine.dot::<3, 5, 7>();
            machine.dot::<3, 4, 6>();
            machine.store::<0>(results.as_mut_ptr(), 64);
            machine.store::<1>(results.as_mut_ptr().add(256), 64);
            machine.store::<2>(results.as_mut_ptr().add(512), 64);
            machine.store::<3>(results.as_mut_ptr().add(768), 64);
        }
        results.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn the_plain_machine_gives_the_same_bits() {
        if !Amx::is_available() {
            return;
        }
        for seed in 0..200 {
            // Exponents from the whole range, denormals among them, or near each other.
            let spread = [1, 4, 60, 250][seed as usize % 4];
            let pairs: Vec<f32> = noise(seed, 2 * 6 * 256)
                .chunks_exact(2)
                .map(|pair| {
                    let half = |value: f32| {
                        let exponent =
                            (127 - spread / 2 + (value.abs() * spread as f32) as i32).clamp(0, 254) as u32;
                        (value.to_bits() & 0x807f_0000) >> 16 | exponent << 7
                    };
                    f32::from_bits(half(pair[0]) | half(pair[1]) << 16)
                })
                .collect();
            for rows in [1, 7, 15, 16] {
                // SAFETY: it is available.
                let (hardware, plain) = unsafe { (run::<Amx>(rows, &pairs), run::<Plain>(rows, &pairs)) };
                for (index, (&hardware, &plain)) in hardware.iter().zip(&plain).enumerate() {
                    let nan = |bits| f32::from_bits(bits).is_nan();
                    assert!(
                        hardware == plain || nan(hardware) && nan(plain),
                        "seed {seed}, {rows} rows, {index}: {:e} and {:e}",
                        f32::from_bits(hardware),
                        f32::from_bits(plain)
                    );
                }
            }
        }
    }
}
