//! What was asked for of an output → where it goes.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use super::{
    Dtype, Format, OutputError, Part, Plan, Setting,
    collection::{Collection, Way},
    disk::Disk,
    manifest::is_manifest,
    plan::Kind,
    terminal::is_terminal,
};
/// What was asked for of an output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The file or directory to write; `-` for standard output.
    pub path: Option<PathBuf>,
    /// The format, if not the one that the path's extension names.
    pub format: Option<Format>,
    /// Whether there may be more than one image.
    pub several: bool,
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
    /// Whether all inputs are tars; none if that is not known.
    pub sharded: Option<bool>,
    /// Whether members of samples are carried over.
    pub keep: bool,
    /// Which part of a job is done, if it is split.
    pub part: Option<Part>,
}

impl Asked {
    /// Where it goes; nothing is touched.
    ///
    /// # Errors
    /// It cannot be told where, or what was asked for cannot be there.
    pub fn plan(&self) -> Result<Plan, OutputError> {
        if let Some(path) = self.path.clone().filter(|path| is_terminal(path)) {
            return Err(OutputError::TerminalPath { path });
        }
        let kind = self.kind()?;
        let given = [
            (Setting::Format, self.format.is_some_and(|format| format != Format::Png)),
            (Setting::Part, self.part.is_some()),
            (Setting::Keep, self.keep),
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
                if self.part.is_some() && self.overwrite =>
            {
                return Err(OutputError::OverwriteInParts { path: path.clone() });
            }
            _ => {}
        }
        if self.dtype == Dtype::Bf16 && matches!(kind.format(), Some(Format::Npy | Format::Tar)) {
            return Err(OutputError::NoBfloat16);
        }
        let Self { dtype, overwrite, update, part, .. } = *self;
        Ok(Plan { kind, dtype, overwrite, update, part, disk: Disk::default() })
    }

    fn kind(&self) -> Result<Kind, OutputError> {
        let Some(path) = self.path.clone() else { return Ok(Kind::Nothing) };
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(OutputError::Terminal);
            }
            let by_inputs = if self.sharded == Some(true) { Format::Tar } else { Format::Npy };
            let format = self.format.unwrap_or(by_inputs);
            if format == Format::Safetensors && self.several {
                return Err(OutputError::NoStream);
            }
            return Ok(Kind::Stdout { format, keep_extension: self.keep_extension });
        }
        let format = self.format_of(&path);
        if self.names_directory(&path) {
            return self.directory(path);
        }
        let named = Format::of_path(&path).is_some() || !self.several;
        let format = format?.filter(|_| named).ok_or_else(|| OutputError::NoFormat { path: path.clone() })?;
        let many = self.collection(path.clone(), Way::Together(self.shard_size), format);
        // To what is there already a single image is one of many.
        if format != Format::Png && (self.several || format == Format::Tar || is_manifest(&many.manifest())) {
            return Ok(Kind::Many(many));
        }
        match self.several {
            true => Err(OutputError::OnePicture { path }),
            false => Ok(Kind::File { path, format }),
        }
    }

    fn directory(&self, path: PathBuf) -> Result<Kind, OutputError> {
        let repeats = || Kind::Many(self.collection(path.clone(), Way::Repeated, Format::Tar));
        match (self.format, self.sharded) {
            (None, Some(true)) | (Some(Format::Tar), Some(true) | None) => Ok(repeats()),
            (Some(Format::Tar), Some(false)) => Err(OutputError::NoTars { path }),
            (format, _) => Ok(Kind::Many(self.collection(path, Way::Each, format.unwrap_or(Format::Npy)))),
        }
    }

    fn collection(&self, path: PathBuf, way: Way, format: Format) -> Collection {
        Collection { path, way, format, part: self.part, keep_extension: self.keep_extension }
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
    fn names_directory(&self, path: &Path) -> bool {
        let last = path.as_os_str().as_encoded_bytes().last();
        let ends_in_slash = last.is_some_and(|&byte| std::path::is_separator(byte.into()));
        ends_in_slash || path.is_dir() || self.several && path.extension().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, several: bool) -> Asked {
        Asked { path: Some(path.into()), several, ..Asked::default() }
    }

    #[test]
    fn the_kind_follows_from_the_name_and_the_inputs() {
        let kind = |asked: &Asked| match asked.plan().unwrap().kind {
            Kind::Many(Collection { path, way, format, .. }) => {
                format!("{} {way:?} {format:?}", path.display())
            }
            kind => format!("{kind:?}").replace('"', ""),
        };
        let safetensors = Some(Format::Safetensors);
        let png = Some(Format::Png);
        for (asked, want) in [
            (Asked::default(), "Nothing"),
            (asked("x.npy", false), "File { path: x.npy, format: Npy }"),
            (
                Asked { format: Some(Format::Npy), ..asked("x.bin", false) },
                "File { path: x.bin, format: Npy }",
            ),
            (Asked { format: png, ..asked("x.png", false) }, "File { path: x.png, format: Png }"),
            (asked("src", false), "src Each Npy"),
            (Asked { format: safetensors, ..asked("new/", false) }, "new/ Each Safetensors"),
            (Asked { format: png, ..asked("new/", true) }, "new/ Each Png"),
            (asked("new", true), "new Each Npy"),
            (asked("x.npy", true), "x.npy Together(None) Npy"),
            (asked("x.tar", false), "x.tar Together(None) Tar"),
            (
                Asked { shard_size: Some(7), ..asked("x.safetensors", true) },
                "x.safetensors Together(Some(7)) Safetensors",
            ),
            (Asked { sharded: Some(true), ..asked("new", true) }, "new Repeated Tar"),
            (
                Asked { sharded: Some(true), format: safetensors, ..asked("new", true) },
                "new Each Safetensors",
            ),
        ] {
            assert_eq!(kind(&asked), want, "{asked:?}");
        }
    }

    #[test]
    fn several_images_make_no_directory_with_the_name_of_a_file() {
        for name in ["a/x.tgz", "x.y.tar.gz", "x.npz", "x.h5", "x.safetensor", "x.parquet"] {
            for format in [None, Some(Format::Npy)] {
                let message = Asked { format, ..asked(name, true) }.plan().unwrap_err().to_string();
                assert!(message.contains("is not supported"), "{message}");
            }
            asked(&format!("{name}/"), true).plan().unwrap();
        }
    }

    #[test]
    fn what_a_kind_cannot_do_is_refused() {
        let bf16 = |asked| Asked { dtype: Dtype::Bf16, ..asked };
        for (asked, part) in [
            (asked("x.bin", false), "writing .bin is not supported"),
            (asked("x", false), "no extension"),
            (asked("x.png", false), "writing .png is not supported"),
            (Asked { format: Some(Format::Safetensors), ..asked("x.npy", false) }, "contradicts"),
            (Asked { format: Some(Format::Safetensors), ..asked("x.npy", true) }, "contradicts"),
            (Asked { format: Some(Format::Npy), ..Asked::default() }, "nothing is written"),
            (Asked { format: Some(Format::Png), ..asked("x.png", true) }, "one file for several images"),
            (bf16(asked("x.npy", false)), "no bfloat16"),
            (bf16(asked("x/", true)), "no bfloat16"),
            (Asked { shard_size: Some(1), ..asked("x.npy", false) }, "splits an archive"),
            (Asked { keep_extension: true, ..asked("x.npy", true) }, "names the files of a directory"),
            (Asked { update: true, ..asked("x.npy", true) }, "makes changed images of a directory again"),
            (Asked { overwrite: true, ..Asked::default() }, "none are written"),
        ] {
            let message = asked.plan().unwrap_err().to_string();
            assert!(message.contains(part), "{asked:?}: {message}");
        }
    }
}
