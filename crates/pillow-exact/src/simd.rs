//! Which vector instructions this CPU has.

/// An instruction set that this CPU has: a value exists only for those that were found at run time, so that having one is the
/// permission to run its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Name);

/// Each has what those above it have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Plain,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The fastest that there is.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            let is_avx512 = std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512vl")
                && std::arch::is_x86_feature_detected!("avx512vbmi");
            return Self(if is_avx512 { Name::Avx512 } else { Name::Avx2 });
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self(Name::Neon);
        }
        Self::plain()
    }

    /// What every CPU runs.
    pub(crate) const fn plain() -> Self {
        Self(Name::Plain)
    }

    /// All that there are, for tests.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let names = [
            Name::Plain,
            #[cfg(target_arch = "x86_64")]
            Name::Avx2,
            #[cfg(target_arch = "x86_64")]
            Name::Avx512,
            #[cfg(target_arch = "aarch64")]
            Name::Neon,
        ];
        names.into_iter().filter(|&name| name <= Self::best().0).map(Self).collect()
    }

    /// Whether there is AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx2(self) -> bool {
        self.0 >= Name::Avx2
    }

    /// Whether there is AVX-512 with its instructions for words (BW), for shorter registers (VL) and for bytes across a register (VBMI).
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx512(self) -> bool {
        self.0 >= Name::Avx512
    }

    /// Whether there is NEON.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn has_neon(self) -> bool {
        self.0 >= Name::Neon
    }
}
