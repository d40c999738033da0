//! Which vector instructions this CPU has.

/// An instruction set that this CPU has: a value exists only for those that were found at run time, so that having one is the
/// permission to run its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isa(Name);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Isa {
    /// The fastest that there is.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self(Name::Avx2);
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
        let mut all = vec![Self::plain()];
        all.extend(Some(Self::best()).filter(|&best| best != Self::plain()));
        all
    }

    /// Whether this is AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_avx2(self) -> bool {
        self.0 == Name::Avx2
    }
}
