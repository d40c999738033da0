//! The MLP's activation.

use candle_core::{Result, Tensor};

use crate::kernels::Activation;

impl Activation {
    /// The function that transformers' `ACT2FN` gives for a name.
    pub(crate) fn from_name(name: &str) -> std::result::Result<Self, String> {
        match name {
            "quick_gelu" => Ok(Self::QuickGelu),
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "silu" | "swish" => Ok(Self::Silu),
            _ => Err(format!(
                "hidden_act {name:?} is not supported, expected quick_gelu, gelu, gelu_new, gelu_pytorch_tanh or silu"
            )),
        }
    }

    /// Applies the function to each element.
    pub(crate) fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Silu => candle_nn::ops::silu(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Values at -3, -0.5, 0, 1 and 4 from the formulas in the variants' documentation, in float64.
    #[test]
    fn each_function_matches_its_formula() {
        let x = [-3.0f32, -0.5, 0.0, 1.0, 4.0];
        for (activation, want) in [
            (Activation::QuickGelu, [-0.018_071_310, -0.149_611_563, 0.0, 0.845_795_766, 3.995_585_276]),
            (Activation::Gelu, [-0.004_049_694, -0.154_268_769, 0.0, 0.841_344_746, 3.999_873_315]),
            (Activation::Silu, [-0.142_277_620, -0.188_770_334, 0.0, 0.731_058_579, 3.928_055_160]),
            (Activation::GeluTanh, [-0.003_637_392, -0.154_285_990, 0.0, 0.841_191_991, 3.999_929_754]),
        ] {
            let got = activation.forward(&Tensor::new(&x, &Device::Cpu).unwrap()).unwrap();
            for (got, want) in got.to_vec1::<f32>().unwrap().into_iter().zip(want) {
                assert!((got - want as f32).abs() < 1e-6, "{activation:?}: {got} for {want}");
            }
        }
    }
}
