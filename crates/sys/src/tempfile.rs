//! Files without a name, for what is too big for memory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A new, empty file in `folder` that no name leads to: it is gone when it is closed, however the process ends. Mode
/// 0600, close-on-exec.
pub fn unlinked(folder: &Path) -> io::Result<File> {
    let flags = libc::O_TMPFILE | libc::O_CLOEXEC;
    match OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(folder) {
        Ok(file) => Ok(file),
        // File systems without O_TMPFILE (open(2)): EOPNOTSUPP; kernels that do not know it: EISDIR.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) =>
        {
            named_then_unlinked(folder)
        }
        Err(error) => Err(error),
    }
}

fn named_then_unlinked(folder: &Path) -> io::Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".stdserve-{}-{count}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            // Left by a process of the same number that died between the two calls.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn no_name_leads_to_it() {
        for make in [unlinked, named_then_unlinked] {
            let mut file = make(&std::env::temp_dir()).unwrap();
            assert_eq!(file.metadata().unwrap().nlink(), 0);
            file.write_all(b"kept").unwrap();
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "kept");
        }
        assert!(unlinked(Path::new("/nonexistent")).is_err());
    }
}
