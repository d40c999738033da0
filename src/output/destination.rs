//! Where an output is wanted, and how → where it goes.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    Dtype, Format, OutputError, Part, Plan, Setting,
    collection::{Collection, Way},
    disk::Disk,
    manifest::is_manifest,
    plan::Kind,
    terminal::is_terminal,
};

/// Where an output is wanted, and how.
///
/// ```
/// # mod given { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/given/photos.rs")); }
/// # let (directory, mut job, model) = given::job()?;
/// # let path = directory.path().join("features.safetensors");
/// use clip_features::{Dtype, features};
///
/// job.output.path = Some(path.clone()); // features.safetensors: one file for all images
/// job.output.dtype = Dtype::F16;
/// # given::records(job, &model)?;
/// assert_eq!(features::open(path)?.dtype(), Dtype::F16); // once the job is run
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Destination {
    /// The file or directory to write; `-` for standard output.
    pub path: Option<PathBuf>,
    /// The format, if not the one that the path's extension names.
    pub format: Option<Format>,
    /// The most bytes of a file of many images.
    pub shard_size: Option<u64>,
    /// Whether `cat.jpg` becomes `cat.jpg.npy` rather than `cat.npy`.
    pub keep_extension: bool,
    /// The type to store.
    pub dtype: Dtype,
    /// Whether what is there is started anew.
    pub overwrite: bool,
    /// Whether images that have changed since they were written are made again.
    pub update: bool,
}

/// What comes in, as far as it decides where an output goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming {
    /// Whether there may be more than one image.
    pub several: bool,
    /// Whether all inputs are tars; none if that is not known.
    pub sharded: Option<bool>,
    /// Whether members of samples are carried over.
    pub keep: bool,
    /// Which part of a job is done, if it is split.
    pub part: Option<Part>,
}

impl Destination {
    /// Where it goes; nothing is touched.
    ///
    /// # Errors
    /// It cannot be told where, or what was asked for cannot be there.
    pub fn plan(&self, incoming: Incoming) -> Result<Plan, OutputError> {
        if let Some(path) = self.path.as_deref().filter(|path| is_terminal(path)) {
            let reason = "is a terminal, and the tensor is binary\nhint: name a file";
            return Err(OutputError::refused(path, reason));
        }
        let kind = self.kind(incoming)?;
        let given = [
            (Setting::Format, self.format.is_some_and(|format| format != Format::Png)),
            (Setting::Part, incoming.part.is_some()),
            (Setting::Keep, incoming.keep),
            (Setting::ShardSize, self.shard_size.is_some()),
            (Setting::KeepExtension, self.keep_extension),
            (Setting::Overwrite, self.overwrite),
            (Setting::Update, self.update),
        ];
        let useless = |&(setting, given): &(Setting, bool)| given && !kind.accepts(setting);
        if let Some((setting, _)) = given.into_iter().find(useless) {
            return Err(OutputError::Unused { setting });
        }
        match &kind {
            Kind::Many(Collection { path, way: Way::Each | Way::Repeated, .. })
                if incoming.part.is_some() && self.overwrite =>
            {
                let reason = "one part of a job cannot start over a directory that others write\n\
                              hint: name an empty directory";
                return Err(OutputError::refused(path, reason));
            }
            _ => {}
        }
        if self.dtype == Dtype::Bf16 && matches!(kind.format(), Some(Format::Npy | Format::Tar)) {
            return Err(OutputError::NoBfloat16);
        }
        Ok(Plan { kind, part: incoming.part, disk: Disk::default() })
    }

    fn kind(&self, incoming: Incoming) -> Result<Kind, OutputError> {
        let Some(path) = self.path.clone() else { return Ok(Kind::Nothing) };
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(OutputError::Terminal);
            }
            let by_inputs = if incoming.sharded == Some(true) { Format::Tar } else { Format::Npy };
            let format = self.format.unwrap_or(by_inputs);
            if format == Format::Safetensors && incoming.several {
                return Err(OutputError::NoStream);
            }
            return Ok(Kind::Stdout { format, keep_extension: self.keep_extension });
        }
        let format = self.format_of(&path);
        if self.names_directory(&path, incoming) {
            return self.directory(path, incoming);
        }
        let named = Format::of_path(&path).is_some() || !incoming.several;
        let format = format?.filter(|_| named).ok_or_else(|| OutputError::NoFormat { path: path.clone() })?;
        let many = self.collection(path.clone(), Way::Together(self.shard_size), format, incoming);
        // To what is there already a single image is one of many.
        if format != Format::Png
            && (incoming.several || format == Format::Tar || is_manifest(&many.manifest()))
        {
            return Ok(Kind::Many(many));
        }
        match incoming.several {
            true => {
                let directory = path.with_extension("");
                let hint = format!("hint: name a directory, such as {}/", directory.display());
                Err(OutputError::refused(&path, format!("one file for several images\n{hint}")))
            }
            false => Ok(Kind::File { path, format }),
        }
    }

    fn directory(&self, path: PathBuf, incoming: Incoming) -> Result<Kind, OutputError> {
        let repeats = || Kind::Many(self.collection(path.clone(), Way::Repeated, Format::Tar, incoming));
        match (self.format, incoming.sharded) {
            (None, Some(true)) | (Some(Format::Tar), Some(true) | None) => Ok(repeats()),
            (Some(Format::Tar), Some(false)) => {
                let hint = format!("hint: name one file, such as {}", path.join("features.tar").display());
                Err(OutputError::refused(
                    &path,
                    format!("an output directory of tars needs tar inputs\n{hint}"),
                ))
            }
            (format, _) => {
                Ok(Kind::Many(self.collection(path, Way::Each, format.unwrap_or(Format::Npy), incoming)))
            }
        }
    }

    fn collection(&self, path: PathBuf, way: Way, format: Format, incoming: Incoming) -> Collection {
        Collection { path, way, format, part: incoming.part, keep_extension: self.keep_extension }
    }

    /// The format of a file: the one asked for, or the one that its extension names.
    fn format_of(&self, path: &Path) -> Result<Option<Format>, OutputError> {
        match (self.format, Format::of_path(path)) {
            (Some(asked), Some(named)) if asked != named => {
                Err(OutputError::OtherFormat { path: path.to_owned(), asked })
            }
            (None, Some(Format::Png)) => Ok(None),
            (asked, named) => Ok(asked.or(named)),
        }
    }

    /// Whether the path is a directory's: of one that exists, that a trailing slash announces, and for several images of any name
    /// without an extension, which might be a slip.
    fn names_directory(&self, path: &Path, incoming: Incoming) -> bool {
        let last = path.as_os_str().as_encoded_bytes().last();
        let ends_in_slash = last.is_some_and(|&byte| std::path::is_separator(byte.into()));
        ends_in_slash || path.is_dir() || incoming.several && path.extension().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(path: &str) -> Destination {
        Destination { path: Some(path.into()), ..Destination::default() }
    }

    const ONE: Incoming = Incoming { several: false, sharded: Some(false), keep: false, part: None };
    const SEVERAL: Incoming = Incoming { several: true, ..ONE };
    const TARS: Incoming = Incoming { sharded: Some(true), ..SEVERAL };

    #[test]
    fn the_kind_follows_from_the_name_and_the_inputs() {
        let kind = |asked: &Destination, incoming| match asked.plan(incoming).unwrap().kind {
            Kind::Many(Collection { path, way, format, .. }) => {
                format!("{} {way:?} {format:?}", path.display())
            }
            kind => format!("{kind:?}").replace('"', ""),
        };
        let safetensors = Some(Format::Safetensors);
        let png = Some(Format::Png);
        for (asked, incoming, want) in [
            (Destination::default(), ONE, "Nothing"),
            (to("x.npy"), ONE, "File { path: x.npy, format: Npy }"),
            (
                Destination { format: Some(Format::Npy), ..to("x.bin") },
                ONE,
                "File { path: x.bin, format: Npy }",
            ),
            (Destination { format: png, ..to("x.png") }, ONE, "File { path: x.png, format: Png }"),
            (to("src"), ONE, "src Each Npy"),
            (Destination { format: safetensors, ..to("new/") }, ONE, "new/ Each Safetensors"),
            (Destination { format: png, ..to("new/") }, SEVERAL, "new/ Each Png"),
            (to("new"), SEVERAL, "new Each Npy"),
            (to("x.npy"), SEVERAL, "x.npy Together(None) Npy"),
            (to("x.tar"), ONE, "x.tar Together(None) Tar"),
            (
                Destination { shard_size: Some(7), ..to("x.safetensors") },
                SEVERAL,
                "x.safetensors Together(Some(7)) Safetensors",
            ),
            (to("new"), TARS, "new Repeated Tar"),
            (Destination { format: safetensors, ..to("new") }, TARS, "new Each Safetensors"),
        ] {
            assert_eq!(kind(&asked, incoming), want, "{asked:?}");
        }
    }

    #[test]
    fn several_images_make_no_directory_with_the_name_of_a_file() {
        for name in ["a/x.tgz", "x.y.tar.gz", "x.npz", "x.h5", "x.safetensor", "x.parquet"] {
            for format in [None, Some(Format::Npy)] {
                let message = Destination { format, ..to(name) }.plan(SEVERAL).unwrap_err().to_string();
                assert!(message.contains("is not supported"), "{message}");
            }
            to(&format!("{name}/")).plan(SEVERAL).unwrap();
        }
    }

    #[test]
    fn what_a_kind_cannot_do_is_refused() {
        let bf16 = |asked| Destination { dtype: Dtype::Bf16, ..asked };
        for (asked, incoming, part) in [
            (to("x.bin"), ONE, "writing .bin is not supported"),
            (to("x"), ONE, "no extension"),
            (to("x.png"), ONE, "writing .png is not supported"),
            (Destination { format: Some(Format::Safetensors), ..to("x.npy") }, ONE, "contradicts"),
            (Destination { format: Some(Format::Safetensors), ..to("x.npy") }, SEVERAL, "contradicts"),
            (Destination { format: Some(Format::Npy), ..Destination::default() }, ONE, "nothing is written"),
            (
                Destination { format: Some(Format::Png), ..to("x.png") },
                SEVERAL,
                "one file for several images",
            ),
            (bf16(to("x.npy")), ONE, "no bfloat16"),
            (bf16(to("x/")), SEVERAL, "no bfloat16"),
            (Destination { shard_size: Some(1), ..to("x.npy") }, ONE, "splits an archive"),
            (Destination { keep_extension: true, ..to("x.npy") }, SEVERAL, "names the files of a directory"),
            (
                Destination { update: true, ..to("x.npy") },
                SEVERAL,
                "makes changed images of a directory again",
            ),
            (Destination { overwrite: true, ..Destination::default() }, ONE, "none are written"),
        ] {
            let message = asked.plan(incoming).unwrap_err().to_string();
            assert!(message.contains(part), "{asked:?}: {message}");
        }
    }
}
