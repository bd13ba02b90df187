use crate::error::{ModelError, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

/// Maps a file into memory, read-only.
pub(super) fn map_file(path: &Path) -> Result<Mmap> {
    let io = |source| ModelError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    // SAFETY: the map is read-only; a file that another process truncates meanwhile is the documented risk of every memory map.
    unsafe { Mmap::map(&file) }.map_err(io)
}

/// Tells the system that these bytes of a map are not needed for now: what was read of a file then counts no longer as memory of this process. Read again,
/// they come from the page cache.
#[cfg(unix)]
pub(super) fn release(map: &Mmap, bytes: Range<usize>) {
    // SAFETY: a read-only map of a file, whose pages have the same content when they come back. What the system refuses changes nothing.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
}

/// Maps the pages of these bytes at once, which costs a fraction of a fault for each few of them.
#[cfg(target_os = "linux")]
pub(super) fn populate(map: &Mmap, bytes: Range<usize>) {
    // A system that cannot maps them one after the other when they are read.
    let _ = map.advise_range(memmap2::Advice::PopulateRead, bytes.start, bytes.len());
}

#[cfg(not(target_os = "linux"))]
pub(super) fn populate(_map: &Mmap, _bytes: Range<usize>) {}

#[cfg(not(unix))]
pub(super) fn release(_map: &Mmap, _bytes: Range<usize>) {}
