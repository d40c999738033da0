//! Which tensors are wanted of a tower, and those that it gave.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Device, Result as CandleResult, Tensor};

use super::{
    config::VisionConfig,
    error::ModelError,
    image_features::Of,
    traits::Pooling,
    weights::{PROJECTION, Scope, Weights},
};

/// What is wanted of a tower. It decides how much of the tower is loaded and run: nothing above the highest block
/// that a wanted tensor needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The tower's output, as transformers names it: normalized in families other than CLIP.
    pub last_hidden_state: bool,
    /// Indices into transformers' `hidden_states`: 0 is what enters the first block, N what leaves the last.
    pub hidden_states: BTreeSet<usize>,
    /// Indices into transformers' `attentions`, from 0 to N - 1.
    pub attentions: BTreeSet<usize>,
    /// The pooled output.
    pub pooler_output: bool,
    /// The pooled output after the visual projection.
    pub image_embeds: bool,
    /// What the language model reads.
    pub image_features: bool,
    /// Beside each, what a patch of padding has there: one that attends to all tokens and that none attends to. Query, key and value
    /// are read and taken a second time for it.
    pub padding: bool,
}

impl Wanted {
    /// `last_hidden_state` alone.
    pub fn last_hidden_state() -> Self {
        Self { last_hidden_state: true, ..Self::default() }
    }

    /// How many blocks must run.
    pub fn depth(&self, config: &VisionConfig) -> usize {
        let needed = self.with_sources(config);
        if needed.last_hidden_state || needed.pools() {
            return config.num_hidden_layers;
        }
        let states = needed.hidden_states.last().copied().unwrap_or(0);
        let attentions = needed.attentions.last().map_or(0, |index| index + 1);
        states.max(attentions)
    }

    /// The tensors of a checkpoint that it takes.
    pub fn scope(&self) -> Scope {
        if self.image_features { Scope::Projector } else { Scope::Tower }
    }

    /// The same, and what `image_features` are made of.
    pub(super) fn with_sources(&self, config: &VisionConfig) -> Self {
        let mut needed = self.clone();
        if let (true, Ok(features)) = (self.image_features, &config.image_features) {
            match &features.of {
                Of::LastHiddenState => needed.last_hidden_state = true,
                Of::HiddenStates(layers) => needed.hidden_states.extend(layers),
            }
        }
        needed
    }

    /// Whether the tower can give all of it.
    ///
    /// # Errors
    /// It cannot, and why.
    pub fn check(&self, config: &VisionConfig, weights: &Weights) -> Result<(), ModelError> {
        let refuse = |tensor, reason: String, hint: &str| {
            Err(ModelError::NoSuchTensor { tensor, reason, hint: hint.to_owned() })
        };
        let last = config.num_hidden_layers;
        if self.depth(config) > last {
            let (layer, last) = (self.depth(config) as i64, last as i64);
            return Err(ModelError::NoSuchLayer { tensor: "hidden_states", layer, first: -last - 1, last });
        }
        if let (true, Pooling::Absent(reason)) = (self.pools(), config.traits().pooling) {
            return refuse("pooler_output", reason.into(), "ask for last_hidden_state");
        }
        if self.image_embeds {
            if config.projection_dim.is_none() {
                let reason = format!("{} has no visual_projection", config.family.name());
                return refuse("image_embeds", reason, "pooler_output is what stands for its images");
            }
            if !weights.contains(PROJECTION) {
                let reason = format!("the checkpoint has no {}", weights.spell(PROJECTION));
                let hint = "CLIPModel and CLIPVisionModelWithProjection save it; pooler_output needs none";
                return refuse("image_embeds", reason, hint);
            }
        }
        if self.image_features
            && let Err(reason) = config.image_features_shape(config.grid(), config.grid())
        {
            let hint = format!("it has {}", Self::names_of(config, weights).join(", "));
            return refuse("image_features", reason, &hint);
        }
        Ok(())
    }

    /// The tensors that a tower gives, whatever stands after it.
    fn names_of(config: &VisionConfig, weights: &Weights) -> Vec<&'static str> {
        let mut names = vec!["last_hidden_state", "hidden_states", "attentions"];
        if !matches!(config.traits().pooling, Pooling::Absent(_)) {
            names.push("pooler_output");
        }
        if config.projection_dim.is_some() && weights.contains(PROJECTION) {
            names.push("image_embeds");
        }
        names
    }

    /// Whether anything after the last block is wanted.
    pub(super) fn pools(&self) -> bool {
        self.pooler_output || self.image_embeds
    }
}

/// What a forward pass gave; what was not wanted is absent.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// (B, T, width).
    pub last_hidden_state: Option<Tensor>,
    /// By index, (B, T, width) each.
    pub hidden_states: BTreeMap<usize, Tensor>,
    /// By index, (B, heads, T, T) each, after the softmax.
    pub attentions: BTreeMap<usize, Tensor>,
    /// (B, width).
    pub pooler_output: Option<Tensor>,
    /// (B, projection_dim).
    pub image_embeds: Option<Tensor>,
    /// (B, T', width of the language model).
    pub image_features: Option<Tensor>,
    /// What a patch of padding has, (B, 1, width), or (B, heads, 1, T) of attentions.
    pub padding: Option<Box<Outputs>>,
}

impl Outputs {
    pub(super) fn keep_hidden_state(
        &mut self,
        index: usize,
        state: &Tensor,
        padding: Option<&Tensor>,
        wanted: &Wanted,
    ) {
        if !wanted.hidden_states.contains(&index) {
            return;
        }
        self.hidden_states.insert(index, state.clone());
        if let Some(padding) = padding {
            self.padding_mut().hidden_states.insert(index, padding.clone());
        }
    }

    /// The same tensors in a type, on the host, each brought there once.
    pub(super) fn into_host(self, dtype: DType) -> CandleResult<Self> {
        let one = |tensor: Tensor| tensor.to_dtype(dtype)?.contiguous()?.to_device(&Device::Cpu);
        let layers = |tensors: BTreeMap<usize, Tensor>| -> CandleResult<BTreeMap<usize, Tensor>> {
            tensors.into_iter().map(|(index, tensor)| Ok((index, one(tensor)?))).collect()
        };
        Ok(Self {
            last_hidden_state: self.last_hidden_state.map(one).transpose()?,
            hidden_states: layers(self.hidden_states)?,
            attentions: layers(self.attentions)?,
            pooler_output: self.pooler_output.map(one).transpose()?,
            image_embeds: self.image_embeds.map(one).transpose()?,
            image_features: self.image_features.map(one).transpose()?,
            padding: self.padding.map(|padding| padding.into_host(dtype).map(Box::new)).transpose()?,
        })
    }

    /// Leaves out what others were made of and is not wanted itself.
    pub(super) fn keep(&mut self, wanted: &Wanted) {
        self.hidden_states.retain(|index, _| wanted.hidden_states.contains(index));
        self.last_hidden_state.take_if(|_| !wanted.last_hidden_state);
        if let Some(padding) = &mut self.padding {
            padding.keep(wanted);
        }
    }

    pub(super) fn padding_mut(&mut self) -> &mut Self {
        self.padding.get_or_insert_default()
    }
}
