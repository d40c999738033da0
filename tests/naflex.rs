//! SigLIP 2 NaFlex, from files to every output: pictures of their own shape, with and without the class's padding.
#![cfg(feature = "cli")]

mod support;

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use clip_features::{
    Extractor,
    device::Kernels,
    extractor::{Options, TensorKind},
    model::ModelSpec,
    output::Array,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use support::{
    difference, fixture, golden,
    run::{Outcome, command},
};

const BOUND: f64 = 1e-6;

/// Everything that a checkpoint gives of a picture, by name.
fn everything(
    kind: &str,
    picture: &str,
    max_num_patches: u32,
    pad: bool,
    kernels: Kernels,
) -> BTreeMap<String, Array> {
    let mut tensors = vec![
        TensorKind::PixelValues,
        TensorKind::LastHiddenState,
        TensorKind::HiddenStates,
        TensorKind::Attentions,
    ];
    if kind != "siglip2-headless" {
        tensors.push(TensorKind::PoolerOutput);
    }
    let mut options = Options::default();
    options.request.tensors = tensors;
    options.request.pad = pad;
    options.max_num_patches = Some(max_num_patches);
    options.kernels = Some(kernels);
    let spec = ModelSpec::Local(fixture("checkpoints").join(kind));
    let bytes = fs::read(fixture("images").join(picture)).unwrap();
    let arrays = Extractor::load(&spec, options).unwrap().extract(&bytes).unwrap();
    arrays.into_iter().map(|array| (array.name.clone(), array)).collect()
}

/// Blocks of `inner` elements of which only the first of `outer` are kept, in each of the blocks.
fn first(values: &[f32], block: usize, kept: usize) -> Vec<u32> {
    values.chunks_exact(block).flat_map(|values| &values[..kept]).map(|value| value.to_bits()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn padded_outputs_are_the_references_and_the_others_their_beginning() {
    let expected = golden("towers/naflex.safetensors");
    let mut cases: Vec<&str> = expected.keys().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
    cases.dedup();
    assert!(cases.len() >= 7, "{cases:?}");
    let mut with_padding = 0;
    let cases = cases.into_iter().flat_map(|case| Kernels::ALL.map(|kernels| (case, kernels)));
    for (case, kernels) in cases {
        let [kind, picture, most] = case.split('/').collect::<Vec<_>>().try_into().unwrap();
        let most: usize = most.parse().unwrap();
        let own = expected[&format!("{case}/spatial_shapes")].values.iter().product::<f64>() as usize;
        with_padding += usize::from(own < most);
        let padded = everything(kind, picture, most as u32, true, kernels);
        let alone = everything(kind, picture, most as u32, false, kernels);
        let stages: Vec<&str> =
            expected.keys().filter_map(|name| name.strip_prefix(case)?.strip_prefix('/')).collect();
        assert_eq!(stages.len(), padded.len() + 1, "{case}: the golden file has {stages:?}");
        for (name, padded) in &padded {
            let expected = &expected[&format!("{case}/{name}")];
            assert_eq!(padded.shape, expected.shape, "{case} {name}");
            if name == "pixel_values" {
                let expected: Vec<f32> = expected.values.iter().map(|&value| value as f32).collect();
                assert_eq!(bits(&padded.values), bits(&expected), "{case} {name}");
            } else {
                let difference = difference(&padded.values, &expected.values);
                println!("{case} {name}, {kernels:?}: {difference}");
                assert!(difference.relative < BOUND, "{case} {name}, {kernels:?}: {difference}");
            }
            let alone = &alone[name];
            let (shape, beginning) = match padded.shape.as_slice() {
                &[_, tokens, width] => {
                    (vec![1, own, width], first(&padded.values, tokens * width, own * width))
                }
                &[_, heads, tokens, _] => {
                    let rows = first(&padded.values, tokens * tokens, own * tokens);
                    let rows: Vec<f32> = rows.into_iter().map(f32::from_bits).collect();
                    (vec![1, heads, own, own], first(&rows, tokens, own))
                }
                other => (other.to_vec(), bits(&padded.values)),
            };
            assert_eq!(alone.shape, shape, "{case} {name}");
            assert_eq!(bits(&alone.values), beginning, "{case} {name}");
        }
    }
    assert!(with_padding >= 8, "{with_padding}");
}

/// Runs the binary on pictures of the fixtures; `OUT` in `more` is the directory.
fn extract(kind: &str, pictures: &[&str], more: &str, out: &Path) -> Outcome {
    let mut command = command();
    command.current_dir(fixture("images")).arg("--model").arg(fixture("checkpoints").join(kind));
    command.args(pictures);
    command.args(more.split_whitespace().map(|word| word.replace("OUT", out.to_str().unwrap())));
    command.stdin(Stdio::null()).output().unwrap().into()
}

/// Names, and rows and columns in at most 30 patches of 6 pixels.
const MIXED: [(&str, [usize; 2]); 6] = [
    ("chelsea.png", [4, 7]),
    ("size-3x500.png", [30, 1]),
    ("size-224x224.png", [5, 5]),
    ("size-227x151.jpg", [4, 7]),
    ("size-500x3.png", [1, 30]),
    ("coffee.png", [4, 6]),
];

#[test]
fn pictures_of_several_shapes_have_the_bytes_that_they_have_alone() {
    let out = tempfile::tempdir().unwrap();
    let pictures = MIXED.map(|(picture, _)| picture);
    for batch in [1, 2, 5] {
        let line = format!("--batch-size {batch} -o OUT/{batch}.safetensors -q");
        extract("siglip2-vision", &pictures, &line, out.path()).done();
        let bytes = fs::read(out.path().join(format!("{batch}.safetensors"))).unwrap();
        let archive = SafeTensors::deserialize(&bytes).unwrap();
        for (picture, [rows, columns]) in MIXED {
            // A single image's weights are streamed.
            extract("siglip2-vision", &[picture], "-o OUT/one.safetensors --overwrite", out.path()).done();
            let one = fs::read(out.path().join("one.safetensors")).unwrap();
            let one = SafeTensors::deserialize(&one).unwrap().tensor("last_hidden_state").unwrap();
            assert_eq!(one.shape(), [1, rows * columns, 36], "{picture}");
            assert_eq!(
                archive.tensor(picture).unwrap().data(),
                one.data(),
                "{picture} in batches of {batch}"
            );
        }
    }
}

#[test]
fn outputs_say_what_became_of_the_picture() {
    let out = tempfile::tempdir().unwrap();
    let report = |more: &str| -> Value {
        let outcome = extract("siglip2-vision", &["coffee.png"], &format!("{more} --json"), out.path());
        serde_json::from_str(outcome.done().text()).unwrap()
    };
    let plain = report("-o OUT/x.safetensors");
    assert_eq!(plain["shape"], json!([1, 24, 36]));
    assert_eq!(plain["grid"], json!([4, 6]));
    assert_eq!(plain["spatial_shapes"], json!([4, 6]));
    assert_eq!(plain["layout"], json!({"cls": 0, "registers": 0, "patches": 24}));
    let bytes = fs::read(out.path().join("x.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let said = ["max_num_patches", "pad", "spatial_shapes", "family"].map(|key| metadata[key].as_str());
    assert_eq!(said, ["30", "false", "[4, 6]", "SigLIP 2 NaFlex"]);

    let padded = report("--pad --max-num-patches 23 --layer -2 -o OUT/y.safetensors");
    assert_eq!(padded["shape"], json!([1, 23, 36]));
    assert_eq!(padded["layout"], json!({"cls": 0, "registers": 0, "patches": 20, "padding": 3}));
    assert_eq!(report("--grid")["shape"], json!([1, 4, 6, 36]));
    let pixels = report("--tensor pixel_values");
    assert_eq!((&pixels["shape"], &pixels["spatial_shapes"]), (&json!([1, 24, 108]), &json!([4, 6])));
    assert_eq!(report("--tensor pixel_values --pad")["shape"], json!([1, 30, 108]));
    assert_eq!(report("--tensor attentions --layer 0 --pad")["shape"], json!([1, 3, 30, 30]));
    assert_eq!(report("--tensor pooler_output")["shape"], json!([1, 36]));

    // The picture of norms is the same with and without padding.
    report("--draw 3,5 -o OUT/a.png");
    report("--draw 3,5 -o OUT/b.png --pad");
    assert_eq!(fs::read(out.path().join("a.png")).unwrap(), fs::read(out.path().join("b.png")).unwrap());
}

#[test]
fn a_stack_of_several_shapes_is_padded() {
    let out = tempfile::tempdir().unwrap();
    let pictures = ["coffee.png", "size-224x224.png"];
    let outcome = extract("siglip2-vision", &pictures, "-o OUT/x.npy -q", out.path());
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("the rows before have [24, 36]"), "{}", outcome.stderr);
    extract("siglip2-vision", &pictures, "-o OUT/y.npy --pad -q", out.path()).done();
    let stack = fs::read(out.path().join("y.npy")).unwrap();
    assert!(String::from_utf8_lossy(&stack[..128]).contains("(2, 30, 36)"));
    for (more, part) in
        [("--max-num-patches 29 --pad", "max_num_patches 30, not 29"), ("", "pad true, not false")]
    {
        let line = format!("-o OUT/y.npy -q {more}");
        extract("siglip2-vision", &pictures, &line, out.path()).failed(2, part);
    }
}

#[test]
fn a_dry_run_tells_the_most_space() {
    let out = tempfile::tempdir().unwrap();
    let preview = |more: &str| {
        let line = format!("--dry-run -o OUT/x/ {more}");
        extract("siglip2-vision", &["coffee.png", "chelsea.png"], &line, out.path()).done()
    };
    let bytes = 30 * 36 * 4;
    let plain = preview("");
    assert!(plain.text().contains("at most "), "{}", plain.text());
    assert!(plain.text().contains(" bytes an image") && plain.text().contains("of the picture's size"));
    let padded = preview("--pad");
    assert!(
        !padded.text().contains("at most ") && padded.text().contains("[1, 30, 36]"),
        "{}",
        padded.text()
    );
    let of = |outcome: &Outcome| -> u64 {
        let text = outcome.text();
        let words: Vec<&str> = text.split_whitespace().collect();
        let place = words.windows(2).position(|pair| pair == ["bytes", "an"]).unwrap();
        words[place - 1].parse().unwrap()
    };
    assert_eq!((of(&plain), of(&padded)), (bytes, bytes));
}

#[test]
fn what_does_not_fit_naflex_is_refused_and_so_is_naflex_elsewhere() {
    let out = tempfile::tempdir().unwrap();
    let refused = |kind: &str, more: &str, part: &str| {
        extract(kind, &["coffee.png"], more, out.path()).failed(2, part);
    };
    refused("siglip2-vision", "--image-size 60", "max_num_patches says how large");
    refused("siglip2-vision", "--fit squash", "in use for fit squash");
    refused("siglip2-vision", "--tokens cls", "no class token");
    refused("siglip2-vision", "--tensor image_embeds", "no visual_projection");
    refused("siglip2-headless", "--tensor pooler_output", "vision_use_head false");
    refused("siglip2-vision", "--tensor pooler_output --pad", "--pad pads tokens");
    // The grid is the picture's own, and so is the failure.
    extract("siglip2-vision", &["coffee.png"], "--draw 4,0 -o OUT/x.png", out.path())
        .failed(1, "4 rows and 6 columns");
    refused("vision", "--pad", "no number of patches to pad to");
    refused("vision", "--max-num-patches 64", "max_num_patches is not in use");
    for name in ["config.json", "model.safetensors", "preprocessor_config.json"] {
        let text = fs::read(fixture("checkpoints/siglip2-vision").join(name)).unwrap();
        fs::write(out.path().join(name), text).unwrap();
    }
    let settings = fs::read_to_string(out.path().join("preprocessor_config.json")).unwrap();
    let other = settings.replace("\"patch_size\": 6", "\"patch_size\": 7");
    fs::write(out.path().join("preprocessor_config.json"), other).unwrap();
    refused(out.path().to_str().unwrap(), "", "patches are 7x7, and the tower's 6x6");
}
