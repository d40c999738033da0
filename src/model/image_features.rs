//! What a language model reads of a picture: some of the tower's tokens, through a projector.

use serde::Serialize;

use crate::kernels::Activation;

/// How a vision-language model makes the tensor that its `get_image_features` returns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageFeatures {
    /// The tower's output that they are made of.
    pub of: Of,
    /// Whether the first token is left out, whatever it is: a `vision_feature_select_strategy` of `default`.
    pub drops_first_token: bool,
    /// The projector.
    pub projector: Vec<Step>,
}

/// Which output of the tower a language model reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Its last.
    LastHiddenState,
    /// Indices into `hidden_states`; several stand side by side in each token.
    HiddenStates(Vec<usize>),
}

/// A step of a projector, on tokens (B, T, width). A name is that of the tensors, as the checkpoint spells it below `model.`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The mean of each square of `edge` × `edge` patches.
    AveragePool {
        /// Patches along an edge of the square.
        edge: usize,
    },
    /// The patches of each square of `edge` × `edge` side by side, by rows, as one token.
    PixelShuffle {
        /// Patches along an edge of the square.
        edge: usize,
    },
    /// A layer norm.
    LayerNorm {
        /// Where `weight` and `bias` are.
        name: &'static str,
        /// Added to the variance.
        eps: f64,
    },
    /// Gemma's norm: `x / √(mean(x²) + eps) · (1 + weight)`.
    RmsNorm {
        /// Where `weight` is.
        name: &'static str,
        /// Added to the mean square.
        eps: f64,
    },
    /// `x Wᵀ + b`.
    Linear {
        /// Where `weight` (outputs, inputs) and `bias` are.
        name: String,
        /// Width of what it gives.
        outputs: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// `x M`.
    Product {
        /// The matrix (inputs, outputs).
        name: &'static str,
        /// Width of what it gives.
        outputs: usize,
    },
    /// A function of each element.
    Function(Function),
    /// `x · silu(gate)`, of tokens in which the one stands before the other.
    Gate,
}

/// Why a checkpoint gives no `image_features`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoImageFeatures {
    /// There is no language model.
    NoLanguageModel,
    /// Its settings are not supported; the reason.
    Unsupported(String),
}

/// A function between two layers of a projector, by transformers' name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `x · sigmoid(x)`.
    Silu,
    /// One that towers know too.
    #[serde(untagged)]
    Activation(Activation),
}

impl ImageFeatures {
    /// These settings as one line of JSON, for the metadata of an output.
    pub fn describe(&self) -> String {
        serde_json::to_string(self).expect("settings have only string keys")
    }

    /// Tokens and their width, of so many that the tower gives, whose own grid of patches has `grid` on an edge.
    ///
    /// # Errors
    /// The projector does not take so many; the reason.
    pub fn shape(&self, [tokens, width]: [usize; 2], grid: usize) -> Result<[usize; 2], String> {
        let mut width = width;
        if let Of::HiddenStates(layers) = &self.of {
            width *= layers.len();
        }
        let mut tokens = tokens - usize::from(self.drops_first_token);
        for step in &self.projector {
            match *step {
                Step::AveragePool { edge } => {
                    if tokens != grid * grid {
                        return Err(format!(
                            "its projector pools {grid}x{grid} patches, and here are {tokens} tokens"
                        ));
                    }
                    tokens = (grid / edge).pow(2);
                }
                Step::PixelShuffle { edge } => {
                    let side = tokens.isqrt();
                    if side * side != tokens || !side.is_multiple_of(edge) {
                        return Err(format!(
                            "its projector takes squares of {edge}x{edge} tokens out of a square, and {tokens} are none"
                        ));
                    }
                    (tokens, width) = (tokens / edge.pow(2), width * edge.pow(2));
                }
                Step::Linear { outputs, .. } | Step::Product { outputs, .. } => width = outputs,
                Step::Gate => width /= 2,
                Step::LayerNorm { .. } | Step::RmsNorm { .. } | Step::Function(_) => {}
            }
        }
        Ok([tokens, width])
    }
}

impl Function {
    /// The function that transformers' `ACT2FN` gives for a name.
    pub(crate) fn from_name(field: &str, name: &str) -> Result<Self, String> {
        match name {
            "relu" => Ok(Self::Relu),
            "silu" | "swish" => Ok(Self::Silu),
            _ => Activation::from_name(name).map(Self::Activation).map_err(|_| {
                format!(
                    "{field} {name:?} is not supported, expected gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, relu or silu"
                )
            }),
        }
    }
}
