//! Writes seeds for every target, from the fixtures and from what the library itself leaves behind: `seeds FIXTURES INTO`.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use clip_features_fuzz::{checkpoint, files, hub, resume};
use flate2::{Compression, read::GzEncoder};

/// Larger seeds are slow to mutate, and show no more.
const LARGEST: u64 = 12_000;

fn main() {
    let [fixtures, into] =
        [1, 2].map(|index| PathBuf::from(std::env::args().nth(index).expect("seeds FIXTURES INTO")));
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let directory = into.join(target);
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(directory.join(name), bytes))
            .expect("writable");
    };
    pictures(&fixtures, &put);
    processors(&put);
    configs(&fixtures, &put);
    checkpoints(&put);
    runs(&put);
    tars(&fixtures, &put);
    answers(&put);
}

type Put<'a> = &'a dyn Fn(&str, &str, &[u8]);

/// Files of a directory, sorted, small enough.
fn small(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).expect("fixtures").flatten();
    let is_small =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.len() <= LARGEST);
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_small).collect();
    paths.sort();
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), fs::read(path).expect("a fixture"))).collect()
}

fn pictures(fixtures: &Path, put: Put) {
    for directory in ["images", "images/bad", "images/more"] {
        for (name, bytes) in small(&fixtures.join(directory)) {
            let target = match bytes.as_slice() {
                [b'B', b'M', ..] => "bmp",
                [b'G', b'I', b'F', ..] => "gif",
                [0xff, 0xd8, ..] => "jpeg",
                [0x89, b'P', ..] => "png",
                [b'P', ..] => "pnm",
                [b'I', b'I', ..] | [b'M', b'M', ..] => "tiff",
                [b'R', b'I', b'F', b'F', ..] => "webp",
                [_, _, _, _, b'f', b't', b'y', b'p', ..] => "avif",
                _ if directory == "images/more" => "rare",
                _ => continue,
            };
            put(target, &name, &bytes);
        }
    }
}

fn processors(put: Put) {
    for resize in 0..9u8 {
        for (index, kind) in
            [2u8, 0x12, 0x42, 0x52, 0x82, 0x80, 0x11, 0x1a, 0x5a, 0x22, 0xc2].into_iter().enumerate()
        {
            let filter = resize + index as u8;
            let settings = [40, 0, 25, 0, 24, 0, 32, 0, kind, filter, resize, index as u8, 24, 20];
            put("processor", &format!("{resize}-{index}"), &[&settings[..], &[1, 250, 3, 77, 5]].concat());
        }
    }
}

fn configs(fixtures: &Path, put: Put) {
    for entry in fs::read_dir(fixtures.join("checkpoints")).expect("fixtures").flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let name = entry.file_name().to_string_lossy().into_owned();
        let (config, processor) = (read("config.json"), read("preprocessor_config.json"));
        put("config", &name, &[&config, &b"\0"[..], &processor].concat());
        let nested = [&b"{\"image_processor\": "[..], &processor, b"}"].concat();
        put("config", &format!("{name}-nested"), &[&config, &b"\0{}\0"[..], &nested].concat());
    }
}

/// A checkpoint of [`checkpoint::CONFIG`], whole and in shards.
fn checkpoints(put: Put) {
    let layer = |name: &str| format!("encoder.layers.0.{name}");
    let square = |name: &str| {
        [(format!("{}.weight", layer(name)), vec![4, 4]), (format!("{}.bias", layer(name)), vec![4])]
    };
    let norm = |name: &str| [(format!("{name}.weight"), vec![4]), (format!("{name}.bias"), vec![4])];
    let mut tensors = vec![
        ("embeddings.class_embedding".to_owned(), vec![4]),
        ("embeddings.patch_embedding.weight".to_owned(), vec![4, 3, 2, 2]),
        ("embeddings.position_embedding.weight".to_owned(), vec![5, 4]),
    ];
    for name in [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
        "mlp.fc1",
        "mlp.fc2",
    ] {
        tensors.extend(square(name));
    }
    for name in ["pre_layrnorm", "post_layernorm", &layer("layer_norm1"), &layer("layer_norm2")] {
        tensors.extend(norm(name));
    }
    let whole = safetensors(&tensors, "F32", 4);
    put("checkpoint", "whole", &files::pack([(0, &whole[..])]));
    put("checkpoint", "half", &files::pack([(0, &safetensors(&tensors, "F16", 2)[..])]));
    put("checkpoint", "cut", &files::pack([(0, &whole[..whole.len() - 30])]));
    let (first, second) = tensors.split_at(9);
    let map = |tensors: &[(String, Vec<usize>)], shard: &str| {
        tensors.iter().map(|(name, _)| format!("\"{name}\":\"{shard}\"")).collect::<Vec<_>>().join(",")
    };
    let map = format!("{},{}", map(first, checkpoint::NAMES[2]), map(second, checkpoint::NAMES[3]));
    let index = format!("{{\"weight_map\":{{{map}}}}}");
    let shards = [first, second].map(|tensors| safetensors(tensors, "BF16", 2));
    put(
        "checkpoint",
        "shards",
        &files::pack([(1, index.as_bytes()), (2, &shards[0][..]), (3, &shards[1][..])]),
    );
}

fn safetensors(tensors: &[(String, Vec<usize>)], dtype: &str, size: usize) -> Vec<u8> {
    let mut end = 0;
    let lines = tensors.iter().map(|(name, shape)| {
        let start = end;
        end += shape.iter().product::<usize>() * size;
        format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}")
    });
    let header = format!("{{{}}}", lines.collect::<Vec<_>>().join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![1; end]].concat()
}

/// What runs leave, killed after an image and finished, into each kind of output.
fn runs(put: Put) {
    for (target, (path, shard_size)) in resume::TARGETS.into_iter().enumerate() {
        for (state, ends) in [("begun", false), ("finished", true)] {
            let directory = files::directory();
            let full = directory.path().join(path);
            if ends {
                resume::complete(&full, shard_size, &["a.png", "c.png"]).expect("an empty directory");
            } else {
                let (mut sink, _) =
                    resume::open(&full, shard_size, &["a.png", "c.png"]).expect("an empty directory");
                resume::add(&mut *sink, "a.png").expect("room");
                // Dropped as by a kill.
            }
            let left = |(index, name): (usize, &&str)| {
                let bytes = fs::read(directory.path().join(name)).ok()?;
                Some((index, if name.ends_with(".jsonl") { resume::unchecked(&bytes) } else { bytes }))
            };
            let left: Vec<(usize, Vec<u8>)> = resume::NAMES.iter().enumerate().filter_map(left).collect();
            let packed = files::pack(left.iter().map(|(index, bytes)| (*index, bytes.as_slice())));
            put("resume", &format!("{target}-{state}"), &[&[target as u8], packed.as_slice()].concat());
        }
    }
}

fn tars(fixtures: &Path, put: Put) {
    let images = small(&fixtures.join("images"));
    let image = |name: &str| images.iter().find(|(found, _)| found == name).expect("a fixture").1.clone();
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).expect("memory");
    };
    add("a.jpg", &image("jpeg-odd-1x1.jpg"));
    add("a.txt", b"a cat");
    add("d/b.gif", &image("gif-1x1.gif"));
    add(&format!("{}/c.png", "long".repeat(40)), &image("png-interlaced-1x1.png"));
    add("c.json", b"{}");
    let plain = builder.into_inner().expect("memory");
    put("tar", "plain", &plain);
    put("tar", "cut", &plain[..plain.len() - 1400]);
    let mut packed = Vec::new();
    GzEncoder::new(&plain[..], Compression::best()).read_to_end(&mut packed).expect("memory");
    put("tar", "packed", &packed);
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", &b"e.png"[..]), ("size", &b"81"[..])]).expect("memory");
    let mut header = tar::Header::new_ustar();
    header.set_size(81);
    header.set_cksum();
    pax.append(&header, &image("png-interlaced-1x1.png")[..]).expect("memory");
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    pax.append_link(&mut link, "l.jpg", "/etc/passwd").expect("memory");
    put("tar", "extensions", &pax.into_inner().expect("memory"));
}

fn answers(put: Put) {
    let commit = "0".repeat(40);
    let file = |etag: &str, body: &str| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-Repo-Commit: {commit}\r\nETag: \"{etag}\"\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.clone(), format!("{head}{body}")]
    };
    let absent =
        "HTTP/1.1 404 Not Found\r\nX-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n\r\n".to_owned();
    let join =
        |answers: &[String]| answers.iter().map(String::as_bytes).collect::<Vec<_>>().join(hub::BETWEEN);
    let (config, processor) = (file("1", "{}"), file("2", "{}"));
    let index = file("3", r#"{"weight_map":{"a":"x.safetensors"}}"#);
    let shard = file("4", "weights");
    let mut all = [&config[..], &[absent.clone()], &processor, &[absent.clone()], &index, &shard].concat();
    put("hub", "shards", &join(&all));
    all.truncate(6);
    all.splice(5.., file("4", "weights"));
    put("hub", "whole", &join(&all));
    let moved = format!(
        "HTTP/1.1 302 Found\r\nX-Repo-Commit: {commit}\r\nX-Linked-Etag: \"{}\"\r\nX-Linked-Size: 2\r\nLocation: /x\r\n\r\n",
        "ab".repeat(32)
    );
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/2\r\nContent-Length: 2\r\n\r\n{}"
        .to_owned();
    put("hub", "moved", &join(&[moved.clone(), moved, part]));
    for (name, answer) in [
        ("gated", "HTTP/1.1 401 Unauthorized\r\nX-Error-Code: GatedRepo\r\nContent-Length: 0\r\n\r\n"),
        ("busy", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    ] {
        put("hub", name, &join(&[answer.to_owned(), config[0].clone()]));
    }
}
