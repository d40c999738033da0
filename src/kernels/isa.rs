//! The instruction sets, and which of them this CPU has.

use std::sync::OnceLock;

use super::simd::{Kernel, Lanes, Portable, Simd};

/// An instruction set that this CPU has: a value exists only for those that were found at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Isa {
    /// What this CPU has, the fastest first.
    pub fn available() -> &'static [Self] {
        static FOUND: OnceLock<Vec<Isa>> = OnceLock::new();
        FOUND.get_or_init(|| {
            let mut found = Vec::new();
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx512f") {
                    found.push(Self(Name::Avx512));
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    found.push(Self(Name::Avx2));
                }
            }
            #[cfg(target_arch = "aarch64")]
            if std::arch::is_aarch64_feature_detected!("neon") {
                found.push(Self(Name::Neon));
            }
            found.push(Self(Name::Portable));
            found
        })
    }

    /// The fastest that this CPU has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// What it is called: `avx512`, `avx2`, `neon` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Name::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Name::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Name::Neon => "neon",
            Name::Portable => "portable",
        }
    }

    /// Columns of a register tile: two vectors.
    pub(super) fn tile_columns(self) -> usize {
        2 * match self.0 {
            #[cfg(target_arch = "x86_64")]
            Name::Avx512 => super::simd::Avx512::<false>::LANES,
            #[cfg(target_arch = "x86_64")]
            Name::Avx2 => super::simd::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Name::Neon => super::simd::Neon::LANES,
            Name::Portable => Portable::LANES,
        }
    }

    /// Whether products of pairs of bfloat16 are faster than those of float32 with this instruction set: twice as fast on AMD's
    /// cores that have AVX512_BF16, no faster on Intel's.
    pub(super) fn gains_from_pairs(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Name::Avx512 {
            let vendor = std::arch::x86_64::__cpuid(0);
            let amd =
                [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD";
            return amd && self.has_pairs();
        }
        false
    }

    /// Whether kernels of pairs of bfloat16 are made for this instruction set: where it has the instructions, and the portable one,
    /// which emulates them.
    pub(super) fn has_pairs(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Name::Avx512 {
            return is_x86_feature_detected!("avx512bf16");
        }
        self.0 == Name::Portable
    }

    /// Runs a kernel whose products are of pairs of bfloat16, with an instruction set that has them.
    ///
    /// # Safety
    /// What the kernel's fields ask for.
    pub(super) unsafe fn run_pairs<K: Kernel>(self, kernel: K) -> K::Output {
        assert!(self.has_pairs(), "{} has no products of pairs of bfloat16", self.name());
        #[cfg(target_arch = "x86_64")]
        if self.0 == Name::Avx512 {
            // SAFETY: the CPU has the instructions.
            return unsafe { super::simd::Avx512::<true>::enter(kernel) };
        }
        // SAFETY: by contract.
        unsafe { Portable::enter(kernel) }
    }

    /// Runs a kernel with this instruction set.
    ///
    /// # Safety
    /// What the kernel's fields ask for.
    pub(super) unsafe fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: a value of this type exists only where the CPU has the instruction set.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Name::Avx512 => super::simd::Avx512::<false>::enter(kernel),
                #[cfg(target_arch = "x86_64")]
                Name::Avx2 => super::simd::Avx2::enter(kernel),
                #[cfg(target_arch = "aarch64")]
                Name::Neon => super::simd::Neon::enter(kernel),
                Name::Portable => Portable::enter(kernel),
            }
        }
    }
}
