//! A tower's parts from its input to its outputs, on one way of computing.

use candle_core::Tensor;

use super::{
    config::Family,
    config::VisionConfig,
    error::ModelError,
    layers::embeddings::Embeddings,
    layers::encoder::Encoder,
    layers::head::Head,
    layers::projector::Projector,
    layers::rotary::Rotary,
    ops::Ops,
    outputs::{Outputs, Wanted},
    weights::NormWeights,
    weights::Source,
    weights::Weights,
};

/// As much of a tower as was asked for.
#[derive(Debug)]
pub(super) struct Parts<O: Ops> {
    ops: O,
    embeddings: Embeddings<O>,
    /// Where positions come in as rotations of queries and keys.
    rotary: Option<Rotary<O::Rotation>>,
    pre_norm: Option<O::Norm>,
    encoder: Encoder<O>,
    head: Head<O>,
    /// What takes tokens to a language model, if that was asked for.
    projector: Option<Projector<O>>,
}

impl<O: Ops> Parts<O> {
    /// Reads what the wanted tensors need.
    pub(super) fn build(
        ops: O,
        wanted: &Wanted,
        config: &VisionConfig,
        weights: &Weights,
    ) -> Result<Self, ModelError> {
        wanted.check(config, weights)?;
        let wanted = &wanted.with_sources(config);
        let depth = wanted.depth(config);
        let root = &Source::new(weights);
        let source = root.pp("vision_model");
        let pre_norm = config.traits().pre_norm.then(|| {
            // The checkpoints really spell it so.
            let source = source.pp("pre_layrnorm");
            ops.norm(NormWeights::load(config.hidden_size, config.layer_norm_eps, &source)?)
        });
        let projector = match &config.image_features {
            Ok(features) if wanted.image_features => Some(Projector::load(&ops, config, features, root)?),
            _ => None,
        };
        Ok(Self {
            embeddings: Embeddings::new(&ops, config, Family::embeddings(config, &source)?)?,
            rotary: Rotary::new(config),
            pre_norm: pre_norm.transpose()?,
            encoder: Encoder::load(&ops, config, &Family::block_names(config, &source), depth, &source)?,
            head: Head::load(&ops, config, wanted, root, &source)?,
            projector,
            ops,
        })
    }

    /// `pixel_values` (B, 3, H, W), of a size that fits → the wanted tensors.
    pub(super) fn outputs(
        &self,
        config: &VisionConfig,
        pixel_values: &Tensor,
        wanted: &Wanted,
    ) -> Result<Outputs, ModelError> {
        let needed = &wanted.with_sources(config);
        let depth = needed.depth(config);
        let is_projected = !wanted.image_features || self.projector.is_some();
        if depth > self.encoder.depth() || !self.head.gives(needed) || !is_projected {
            return Err(ModelError::NotLoaded);
        }
        let ops = &self.ops;
        let mut outputs = Outputs::default();
        let pixel_values = &ops.place(pixel_values)?;
        let (batch, _, height, width) = pixel_values.dims4()?;
        let patch = config.patch_size;
        let rotary = self.rotary.as_ref();
        let rotation = rotary.map(|rotary| rotary.at(ops, height / patch, width / patch)).transpose()?;
        let normed = |embeddings: Tensor| match &self.pre_norm {
            Some(norm) => ops.normalize(norm, &embeddings),
            None => Ok(embeddings),
        };
        let x = normed(self.embeddings.forward(ops, pixel_values)?)?; // (B, T, width)
        let padding = match wanted.padding {
            true => {
                let one = self.embeddings.padding(ops, pixel_values)?; // (1, 1, width)
                let padding = one.expand((batch, 1, config.hidden_size))?.contiguous()?; // (B, 1, width)
                Some(normed(padding)?)
            }
            false => None,
        };
        let (x, padding) =
            self.encoder.forward(ops, (x, padding), rotation.as_deref(), depth, needed, &mut outputs)?; // (B, T, width)
        if depth == config.num_hidden_layers {
            self.head.forward(ops, &x, padding.as_ref(), needed, &mut outputs)?;
        }
        if let (true, Some(projector)) = (wanted.image_features, &self.projector) {
            outputs.image_features = projector.forward(ops, &outputs)?; // (B, T', width of the language model)
        }
        outputs.keep(wanted);
        Ok(outputs)
    }

    /// The tokens before anything is done to them, (B, tokens, hidden_size).
    pub(super) fn embeddings(&self, pixel_values: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.embeddings.forward(&self.ops, &self.ops.place(pixel_values)?)?)
    }
}
