//! The way from a tower's tokens to a language model's.

use candle_core::{D, Result, Tensor};

use crate::model::{
    config::VisionConfig,
    image_features::{Function, ImageFeatures, Of, Step},
    ops::Ops,
    outputs::Outputs,
    weights::{LinearWeights, NormWeights, Source},
};

/// A projector with what it is fed.
#[derive(Debug)]
pub(crate) struct Projector<O: Ops> {
    of: Of,
    drops_first_token: bool,
    steps: Vec<Layer<O>>,
}

/// A [`Step`] that has its weights.
#[derive(Debug)]
enum Layer<O: Ops> {
    AveragePool {
        grid: usize,
        edge: usize,
    },
    PixelShuffle {
        edge: usize,
    },
    Norm(O::Norm),
    /// `weight` is (width), its one added.
    RmsNorm {
        weight: Tensor,
        eps: f64,
    },
    Linear(O::Linear),
    Function(Function),
    Gate,
}

impl<O: Ops> Projector<O> {
    /// Reads the steps' weights at `root`, below which the projector stands beside the tower.
    pub(crate) fn load(
        ops: &O,
        config: &VisionConfig,
        features: &ImageFeatures,
        root: &Source,
    ) -> Result<Self> {
        let mut width = config.hidden_size;
        if let Of::HiddenStates(layers) = &features.of {
            width *= layers.len();
        }
        let mut steps = Vec::with_capacity(features.projector.len());
        for step in &features.projector {
            steps.push(match step {
                Step::AveragePool { edge } => Layer::AveragePool { grid: config.grid(), edge: *edge },
                Step::PixelShuffle { edge } => {
                    width *= edge * edge;
                    Layer::PixelShuffle { edge: *edge }
                }
                Step::LayerNorm { name, eps } => {
                    Layer::Norm(ops.norm(NormWeights::load(width, *eps, &root.pp(name))?)?)
                }
                Step::RmsNorm { name, eps } => {
                    let weight = (root.pp(name).get(width, "weight")? + 1.0)?;
                    Layer::RmsNorm { weight: ops.place(&weight)?, eps: *eps }
                }
                Step::Linear { name, outputs, bias } => {
                    let source = root.pp(name);
                    let rows = source.rows(&[*outputs, width], "weight")?;
                    let bias = bias.then(|| source.get(*outputs, "bias")).transpose()?;
                    width = *outputs;
                    Layer::Linear(ops.linear(LinearWeights { rows, bias })?)
                }
                Step::Product { name, outputs } => {
                    let matrix = root.get((width, *outputs), name)?;
                    width = *outputs;
                    Layer::Linear(ops.linear_at_hand(&matrix.t()?)?)
                }
                Step::Function(function) => Layer::Function(*function),
                Step::Gate => {
                    width /= 2;
                    Layer::Gate
                }
            });
        }
        Ok(Self { of: features.of.clone(), drops_first_token: features.drops_first_token, steps })
    }

    /// The tower's outputs → what the language model reads, (B, T, width); none if they lack what it is made of.
    pub(crate) fn forward(&self, ops: &O, outputs: &Outputs) -> Result<Option<Tensor>> {
        let Some(mut x) = self.tokens(outputs).transpose()? else { return Ok(None) };
        if self.drops_first_token {
            x = x.narrow(1, 1, x.dim(1)? - 1)?;
        }
        for step in &self.steps {
            x = step.forward(ops, &x)?;
        }
        x.contiguous().map(Some)
    }

    /// (B, T, width), or (B, T, layers · width).
    fn tokens(&self, outputs: &Outputs) -> Option<Result<Tensor>> {
        match &self.of {
            Of::LastHiddenState => outputs.last_hidden_state.clone().map(Ok),
            Of::HiddenStates(layers) => {
                let states = layers.iter().map(|layer| outputs.hidden_states.get(layer));
                Some(Tensor::cat(&states.collect::<Option<Vec<_>>>()?, D::Minus1))
            }
        }
    }
}

impl<O: Ops> Layer<O> {
    /// (B, T, inputs) → (B, T', outputs).
    fn forward(&self, ops: &O, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::AveragePool { grid, edge } => {
                let side = grid / edge;
                let kept = x.reshape((x.dim(0)?, *grid, *grid, x.dim(2)?))?;
                // What does not fill a square at the right and the bottom belongs to none.
                let kept = kept.narrow(1, 0, side * edge)?.narrow(2, 0, side * edge)?;
                squares(&kept, *edge)?.mean(2) // (B, side², width)
            }
            Self::PixelShuffle { edge } => {
                let side = x.dim(1)?.isqrt();
                squares(&x.reshape((x.dim(0)?, side, side, x.dim(2)?))?, *edge)?.flatten_from(2)
            }
            Self::Norm(norm) => ops.normalize(norm, x),
            Self::RmsNorm { weight, eps } => {
                // A sum of squares in float32 loses digits that the division cannot bring back.
                let wide = ops.widened(x)?;
                let scale = (wide.sqr()?.mean_keepdim(D::Minus1)? + *eps)?.sqrt()?;
                wide.broadcast_div(&scale)?.to_dtype(x.dtype())?.broadcast_mul(weight)
            }
            Self::Linear(layer) => ops.multiply(layer, &x.contiguous()?),
            Self::Function(Function::Activation(activation)) => activation.forward(x),
            Self::Function(Function::Relu) => x.relu(),
            Self::Function(Function::Silu) => candle_nn::ops::silu(x),
            Self::Gate => {
                let halves = x.chunk(2, D::Minus1)?;
                &halves[0] * candle_nn::ops::silu(&halves[1].contiguous()?)?
            }
        }
    }
}

/// (B, rows, columns, width) → the patches of each square, (B, squares, edge², width), both by rows.
fn squares(x: &Tensor, edge: usize) -> Result<Tensor> {
    let (batch, rows, columns, width) = x.dims4()?;
    let (down, across) = (rows / edge, columns / edge);
    x.contiguous()?
        .reshape((batch, down, edge, across, edge, width))?
        .permute((0, 1, 3, 2, 4, 5))?
        .contiguous()?
        .reshape((batch, down * across, edge * edge, width))
}
