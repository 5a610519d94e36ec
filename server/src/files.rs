//! Small files that are there whole or not at all.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

/// Replaces a file: whoever reads it finds the old text or the new one, also after a crash.
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<(), std::io::Error> {
    let mut temporary = OsString::from(path.as_os_str());
    temporary.push(format!(".{}.new", std::process::id()));
    let write = || {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // It may not even exist.
        std::fs::remove_file(&temporary).ok();
    })
}
