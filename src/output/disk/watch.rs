//! Whoever watches a disk: nobody, but in tests.

use std::{io, path::Path};

/// Is told of each operation before it is done, and can let it fail.
#[derive(Clone, Default)]
pub(super) struct Watch {
    #[cfg(test)]
    pub(super) recorder: Option<std::sync::Arc<super::testing::Recorder>>,
}

macro_rules! operations {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        impl Watch {
            $(
                #[cfg_attr(not(test), expect(unused_variables, reason = "nobody watches"))]
                pub(super) fn $name(&self, $($argument: $kind),*) -> io::Result<()> {
                    #[cfg(test)]
                    if let Some(recorder) = &self.recorder {
                        return recorder.$name($($argument),*);
                    }
                    Ok(())
                }
            )*
        }
    };
}

operations! {
    create(path: &Path);
    write(path: &Path, at: u64, bytes: &[u8]);
    set_length(path: &Path, length: u64);
    sync(path: &Path);
    rename(from: &Path, to: &Path);
    remove(path: &Path);
    make_directory(path: &Path);
    remove_directory(path: &Path);
    sync_directory(path: &Path);
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Watch")
    }
}
