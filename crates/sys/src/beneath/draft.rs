//! A file that is being written and has no name yet that anybody should read it by.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Folder;

/// A new file in a folder. It gets its name when it is whole, in one step; dropped before, it is gone.
#[derive(Debug)]
pub struct Draft<'a> {
    folder: &'a Folder,
    file: File,
    /// What it is called until then; begins with a dot. Empty when it is not there any more.
    working_name: String,
}

impl Folder {
    /// Begins a file. Mode 0666 less the process's umask, as files are made.
    pub fn draft(&self) -> io::Result<Draft<'_>> {
        loop {
            let working_name = format!(".stdserve-{:016x}", crate::clock::random_seed());
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&self.0, &working_name, flags, Mode::from_raw_mode(0o666)) {
                Ok(file) => return Ok(Draft { folder: self, file: file.into(), working_name }),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Draft<'_> {
    /// The file, to write to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. `replace`: in place of one that has it; else that is an error (`AlreadyExists`).
    /// Readers see the old file or the new one, never a part. A folder is never replaced.
    pub fn publish(mut self, name: &[u8], replace: bool) -> io::Result<()> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let folder = self.folder.0.as_fd();
        if replace {
            rustix::fs::renameat(folder, &self.working_name, folder, name)?;
            self.working_name.clear();
            return Ok(());
        }
        match rustix::fs::renameat_with(folder, &self.working_name, folder, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.working_name.clear();
                Ok(())
            }
            // File systems that do not know the flag (NFS). A second name is never laid over an existing one; the first
            // goes when this is dropped.
            Err(Errno::INVAL | Errno::NOSYS) => {
                Ok(rustix::fs::linkat(folder, &self.working_name, folder, name, AtFlags::empty())?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.working_name.is_empty() {
            // Nothing can be done about a folder that has become read-only meanwhile.
            let _ = rustix::fs::unlinkat(&self.folder.0, &self.working_name, AtFlags::empty());
        }
    }
}
