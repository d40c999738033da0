//! `--tensor` and its companions: what is asked of the model.

use anyhow::{Result, bail};

use super::args::Args;
use crate::extractor::{Request, TensorKind, Tokens};

/// Settles what is asked of the model for each image.
pub(super) fn request(args: &Args) -> Result<Request> {
    let mut tensors: Vec<TensorKind> = Vec::new();
    for &kind in &args.tensor {
        if !tensors.contains(&kind) {
            tensors.push(kind);
        }
    }
    if tensors.is_empty() {
        // A layer alone means its hidden state. The last one's is last_hidden_state for CLIP, but not where a norm follows.
        let is_layer = args.layer.is_some();
        tensors.push(if is_layer { TensorKind::HiddenStates } else { TensorKind::LastHiddenState });
    }
    let names = tensors.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    if args.layer.is_some() && !tensors.iter().any(|kind| kind.has_layers()) {
        bail!(
            "--layer chooses among hidden_states and attentions, not {names}\nhint: leave --tensor out for the hidden state of that layer"
        );
    }
    let has_tokens = tensors.iter().any(|kind| kind.has_tokens());
    if args.tokens.is_some() && !has_tokens {
        bail!("--tokens selects tokens, and {names} has none to select\nhint: leave --tokens out");
    }
    if args.grid && !has_tokens {
        bail!("--grid lays out tokens, and {names} has none\nhint: leave --grid out");
    }
    if args.pad && !tensors.iter().any(|kind| kind.is_of_patches()) {
        bail!("--pad pads tokens, and {names} has none\nhint: leave --pad out");
    }
    if let (true, Some(tokens @ (Tokens::All | Tokens::Cls))) = (args.grid, args.tokens) {
        bail!(
            "--grid lays out patches, and --tokens {} asks for others\nhint: leave --tokens out",
            tokens.name()
        );
    }
    let tokens = if args.grid { Tokens::Patch } else { args.tokens.unwrap_or_default() };
    if args.draw.is_some() && (!has_tokens || tokens == Tokens::Cls) {
        let hint =
            if has_tokens { "--tokens all, or patch" } else { "--tensor last_hidden_state, or --layer N" };
        bail!("--draw draws patches, and none are asked for\nhint: {hint}");
    }
    Ok(Request {
        tensors,
        layers: args.layer.clone(),
        tokens,
        grid: args.grid,
        pad: args.pad,
        draw: args.draw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settle(line: &str) -> Result<Request> {
        let words = ["x", "--random-weights", "a.png"].into_iter().chain(line.split_whitespace());
        request(&Args::try_parse_from(words)?)
    }

    #[test]
    fn a_layer_alone_is_its_hidden_state() {
        assert_eq!(settle("").unwrap(), Request::default());
        let request = settle("--layer -2 --tokens patch").unwrap();
        assert_eq!(request.tensors, [TensorKind::HiddenStates]);
        assert_eq!(request.layers.unwrap().to_string(), "-2");
        assert_eq!(request.tokens, Tokens::Patch);
        let request = settle("--tensor attentions --layer 0..=3,-1").unwrap();
        assert_eq!(request.tensors, [TensorKind::Attentions]);
    }

    #[test]
    fn tensors_keep_their_order_and_come_once() {
        let request = settle("--tensor pooler_output --tensor hidden_states --tensor pooler_output").unwrap();
        assert_eq!(request.tensors, [TensorKind::PoolerOutput, TensorKind::HiddenStates]);
    }

    #[test]
    fn a_grid_is_of_patches() {
        for line in ["--grid", "--grid --tokens patch"] {
            let request = settle(line).unwrap();
            assert!(request.grid && request.tokens == Tokens::Patch, "{line}");
        }
    }

    #[test]
    fn contradictions_are_refused_with_a_hint() {
        for (line, part) in [
            ("--tensor last_hidden_state --layer -2", "not last_hidden_state"),
            ("--tensor pixel_values --tokens cls", "pixel_values has none"),
            ("--tensor attentions --tokens patch", "attentions has none"),
            ("--tensor image_embeds --grid", "image_embeds has none"),
            ("--grid --tokens cls", "--tokens cls asks for others"),
            ("--tokens cls --draw norm -o x.png", "--draw draws patches"),
            ("--tensor pooler_output --draw pca -o x.png", "--draw draws patches"),
        ] {
            let message = settle(line).unwrap_err().to_string();
            assert!(message.contains(part), "{line}: {message}");
            assert!(message.contains("\nhint: "), "{line}: {message}");
        }
        assert!(settle("--layer x").unwrap_err().to_string().contains("is no layer"));
    }
}
