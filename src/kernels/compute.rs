//! What products are computed with on this CPU.

use super::{Form, Isa, MatmulPrecision, unit::Proofs};

/// An instruction set for vectors, whether products are those of pairs of bfloat16, and a matrix unit if they run on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compute {
    isa: Isa,
    pub(super) pairs: bool,
    pub(super) unit: Option<Unit>,
}

/// Of this CPU's matrix unit.
static PROOFS: Proofs = Proofs::new();

/// A tile machine, and how many bfloat16 stand for a float32 on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) machine: Machine,
    pub(super) parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    Plain,
}

impl Compute {
    /// The fastest way of this CPU to products that are so exact, or more exact: where lower precision gains nothing, it is not
    /// used.
    pub fn best(precision: MatmulPrecision) -> Self {
        Self::with(precision, Machine::best(precision))
    }

    /// The matrix unit that this CPU has and that is not used, since it has multiplied otherwise than it should: none before
    /// [`Compute::best`] was asked for.
    pub fn distrusted() -> Option<&'static str> {
        PROOFS.failed().then_some("amx")
    }

    fn with(precision: MatmulPrecision, machine: Option<Machine>) -> Self {
        let unit = machine.map(|machine| Unit { machine, parts: precision.parts() });
        // The sum of more parts than one takes three products, which is slower than one in float32.
        let pairs = unit.is_none() && precision.parts() == 1 && Isa::best().gains_from_pairs();
        Self { isa: Isa::best(), pairs, unit }
    }

    /// The bytes that a matrix unit gives for this precision, computed without one: far slower than anything else, to see on any
    /// machine what another one computes.
    pub fn emulated(precision: MatmulPrecision) -> Self {
        let unit = Unit { machine: Machine::Plain, parts: precision.parts() };
        Self { isa: Isa::best(), pairs: false, unit: Some(unit) }
    }

    /// The bytes that AVX512_BF16 gives at medium precision, on any machine.
    pub fn emulated_pairs() -> Self {
        // Of the instruction sets here, so that it is no other's hardware.
        let isa = *Isa::available().last().expect("the portable one");
        Self { isa, pairs: true, unit: None }
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// What it is called: the instruction set for float32 products (`avx512`), or the unit and the bfloat16 parts of each
    /// operand (`amx-bf16x3`), or the instructions for pairs of bfloat16 (`avx512-bf16`).
    pub fn name(self) -> String {
        match self.unit {
            None if self.pairs => format!("{}-bf16", self.isa.name()),
            None => self.isa.name().to_owned(),
            Some(Unit { machine, parts: 1 }) => format!("{}-bf16", machine.name()),
            Some(Unit { machine, parts }) => format!("{}-bf16x{parts}", machine.name()),
        }
    }

    /// Columns of a panel of weights.
    pub(super) fn columns(self) -> usize {
        if self.unit.is_some() { super::unit::COLUMNS } else { self.isa.tile_columns() }
    }

    /// How a product takes its input.
    pub fn form(self) -> Form {
        match self.unit {
            None if self.pairs => Form::Pairs,
            None => Form::Float32,
            Some(Unit { parts, .. }) => Form::Bfloat16 { parts },
        }
    }
}

/// The best for products as exact as float32's.
impl Default for Compute {
    fn default() -> Self {
        Self::best(MatmulPrecision::Highest)
    }
}

/// Products in float32.
impl From<Isa> for Compute {
    fn from(isa: Isa) -> Self {
        Self { isa, pairs: false, unit: None }
    }
}

impl Machine {
    /// What this CPU has.
    fn available() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if super::unit::Amx::is_available() {
            return Some(Self::Amx);
        }
        None
    }

    /// What it has, if that multiplies as it should.
    fn best(precision: MatmulPrecision) -> Option<Self> {
        let (machine, isa, parts) = (Self::available()?, Isa::best(), precision.parts());
        let _ = (isa, parts);
        let holds = match machine {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            // SAFETY: it is available.
            Self::Amx => unsafe { PROOFS.hold::<super::unit::Amx>(isa, parts) },
            // It is what others are held against.
            Self::Plain => true,
        };
        holds.then_some(machine)
    }

    fn name(self) -> &'static str {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx => "amx",
            Self::Plain => "emulated",
        }
    }
}

#[cfg(test)]
impl Compute {
    /// All that can be tried here: float32 on each instruction set, and every precision on each machine.
    pub(super) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = Isa::available().iter().map(|&isa| isa.into()).collect();
        let machines = [Some(Machine::Plain), Machine::available()];
        for (machine, parts) in
            machines.into_iter().flatten().flat_map(|machine| [1, 2, 3].map(|parts| (machine, parts)))
        {
            all.push(Self { isa: Isa::best(), pairs: false, unit: Some(Unit { machine, parts }) });
        }
        // Vectors of another width, as they are elsewhere.
        let portable = *Isa::available().last().expect("the portable one");
        all.push(Self {
            isa: portable,
            pairs: false,
            unit: Some(Unit { machine: Machine::Plain, parts: 3 }),
        });
        let isas = Isa::available().iter().filter(|isa| isa.has_pairs());
        all.extend(isas.map(|&isa| Self { isa, pairs: true, unit: None }));
        all
    }

    /// How much larger errors may be than float32's.
    pub(super) fn tolerance(self) -> f64 {
        match self.unit {
            None if self.pairs => 2f64.powi(14),
            Some(Unit { parts: 1, .. }) => 2f64.powi(14),
            Some(Unit { parts: 2, .. }) => 2f64.powi(6),
            _ => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::unit::{Lie, believed};

    #[test]
    fn a_unit_that_lies_is_not_used_and_the_name_says_what_is() {
        for precision in MatmulPrecision::ALL {
            let (isa, parts) = (Isa::best(), precision.parts());
            let with = |holds: bool| Compute::with(precision, holds.then_some(Machine::Plain));
            assert_eq!(with(believed(None, isa, parts)), Compute::emulated(precision));
            let instead = with(believed(Some(Lie::NotAdded), isa, parts));
            assert_eq!((instead.unit, instead.isa()), (None, Isa::best()));
            assert!(instead.name().starts_with(Isa::best().name()), "{}", instead.name());
        }
    }
}
