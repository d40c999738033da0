//! `--heatmap` and `--pca`: what is drawn, and whether into a file, a directory, or to standard output.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use anyhow::{Error, Result, bail};

use super::{args::Args, hints::told};
use crate::{
    job::{Drawing, DrawingKind, DrawingPlace},
    output::{Directory, OutputError, is_terminal},
};

/// The drawings that are asked for, of one image or of several.
pub(super) fn drawings(args: &Args, is_one: bool) -> Result<Vec<Drawing>> {
    let asked = [
        ("--heatmap", &args.heatmap, DrawingKind::Heatmap { query: args.query }),
        ("--pca", &args.pca, DrawingKind::Pca),
    ];
    let mut drawings = Vec::new();
    for (option, path, kind) in asked {
        let Some(path) = path else { continue };
        let place = place(option, path, args, is_one)?;
        drawings.push(Drawing { kind, place });
    }
    Ok(drawings)
}

fn place(option: &str, path: &Path, args: &Args, is_one: bool) -> Result<DrawingPlace> {
    if path.as_os_str() == "-" {
        if !is_one {
            bail!("{option} -: standard output takes the picture of one image\nhint: name a directory");
        }
        if io::stdout().is_terminal() {
            bail!(
                "{option} -: standard output is a terminal, and pictures are binary\nhint: redirect it, or name a file"
            );
        }
        return Ok(DrawingPlace::Stdout);
    }
    if is_terminal(path) {
        bail!("{option} {}: is a terminal, and pictures are binary\nhint: name a file", path.display());
    }
    let last = path.as_os_str().as_encoded_bytes().last();
    let is_directory = path.is_dir() || last.is_some_and(|&byte| std::path::is_separator(byte.into()));
    let extension = path.extension();
    let is_png = extension.is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if is_png && !is_one && !is_directory {
        bail!("{option} {}: one file for several images\nhint: name a directory", path.display());
    }
    if is_one && !is_directory {
        if extension.is_some() && !is_png {
            let named = path.with_extension("png");
            bail!("{option} {}: pictures are PNG files\nhint: {option} {}", path.display(), named.display());
        }
        return Ok(DrawingPlace::File(path.to_owned()));
    }
    if args.overwrite && args.shard.is_some() {
        return Err(Error::msg(told(&OutputError::OverwriteInParts { path: path.to_owned() })));
    }
    Ok(DrawingPlace::Directory(Directory {
        root: path.to_owned(),
        endings: vec!["png".into()],
        keep_extension: args.keep_extension,
        part: args.shard,
    }))
}

/// Whether some are named for their images.
pub(super) fn names_drawings(drawings: &[Drawing]) -> bool {
    drawings.iter().any(|drawing| matches!(drawing.place, DrawingPlace::Directory(_)))
}
