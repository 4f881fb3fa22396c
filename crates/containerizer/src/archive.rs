//! Looks into zip archives: Keras, PyTorch and skops write their models as such.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use zip::{
    ZipArchive,
    read::{ArchiveOffset, Config},
};

/// An archive begins with its file. Where that is left to be found out, the end of an archive within the archive, as
/// PyTorch's exported programs hold one, is taken for its own.
const WHOLE_FILE: Config = Config { archive_offset: ArchiveOffset::Known(0) };

/// A zip archive that is open.
pub(crate) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    names: Vec<String>,
}

impl Archive {
    /// Opens the archive at `path`.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let zip = ZipArchive::with_config(WHOLE_FILE, BufReader::new(File::open(path)?))?;
        let names = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        Ok(Self { zip, names })
    }

    /// Whether some entry's name fits.
    pub(crate) fn any(&self, fits: impl Fn(&str) -> bool) -> bool {
        self.names.iter().any(|name| fits(name))
    }

    /// Name of an entry that is called `file` in some folder of the archive, or at its top.
    pub(crate) fn find(&self, file: &str) -> Option<String> {
        self.names.iter().find(|name| name.rsplit('/').next() == Some(file)).cloned()
    }

    /// The first `limit` bytes of an entry, unpacked.
    pub(crate) fn read(&mut self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.zip.by_name(name)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
