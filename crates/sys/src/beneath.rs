//! Opening files beneath a folder, so that nothing outside of it can be reached.
//!
//! The kernel does it where it can: openat2(2) with `RESOLVE_BENEATH` (Linux 5.6) resolves `..` and links and refuses
//! what would leave the folder, whatever others do to it meanwhile. Elsewhere, and for absolute links that lead back
//! into the folder, the walk (`walk.rs`) does the same name by name. Both start from a descriptor that was opened once:
//! renaming the folder, or replacing it, changes nothing.

mod draft;
mod walk;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

pub use draft::Draft;

/// A folder that files are opened beneath.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
    /// Where it stood when it was opened, without links: what absolute links into it begin with.
    path: Vec<u8>,
    openat2: AtomicBool,
}

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, where links are not followed.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// What tells one state of a file from another (stat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub size: u64,
    /// When its content changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// When anything of it changed, names and permissions too. Nobody can set it.
    pub changed: (i64, u32),
    /// Which file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl Status {
    /// Of an open file.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }

    #[allow(clippy::cast_lossless, clippy::unnecessary_cast)] // the types differ from one processor to the next
    fn from_stat(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        };
        Self {
            kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }
}

/// How often a race with somebody who renames folders is run again before the walk decides it.
const RETRIES: u32 = 4;

/// For reading. `NONBLOCK`: the end of a pipe must not hold the thread until somebody writes.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl Root {
    /// The folder at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let path = std::fs::canonicalize(path)?.into_os_string().into_vec();
        Ok(Self { folder, path, openat2: AtomicBool::new(true) })
    }

    /// The same, by the walk alone.
    #[cfg(test)]
    fn open_walking(path: &Path) -> io::Result<Self> {
        let root = Self::open(path)?;
        root.openat2.store(false, Ordering::Relaxed);
        Ok(root)
    }

    /// Where the folder stood when it was opened, without links.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Opens `path`, names joined by slashes, for reading: a file, or a folder to [list](Folder::from_file). Fails with
    /// `EXDEV` (`ErrorKind::CrossesDevices`) where it leads outside.
    pub fn read(&self, path: &[u8]) -> io::Result<File> {
        Ok(self.resolve(path, READ)?.into())
    }

    /// Opens the folder at `path`; the empty path is the root itself.
    pub fn folder(&self, path: &[u8]) -> io::Result<Folder> {
        Ok(Folder(self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)?))
    }

    /// What stands at `path`, links followed as far as they stay beneath, without opening it for reading.
    pub fn status(&self, path: &[u8]) -> io::Result<Status> {
        Status::of(self.resolve(path, OFlags::PATH | OFlags::CLOEXEC)?)
    }

    /// What stands at `path` now, wherever links lead: **only** to be compared with the status of a file that was
    /// opened beneath the root, and is not to be opened again if nothing has changed. One system call, which opens
    /// nothing.
    pub fn glance(&self, path: &[u8]) -> io::Result<Status> {
        let flags = AtFlags::NO_AUTOMOUNT;
        Ok(Status::from_stat(&rustix::fs::statat(&self.folder, non_empty(path), flags)?))
    }

    fn resolve(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        if self.openat2.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..RETRIES {
                match rustix::fs::openat2(&self.folder, non_empty(path), flags, Mode::empty(), resolve) {
                    Ok(file) => return Ok(file),
                    // A folder on the way was renamed meanwhile, and `..` could have led anywhere.
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::NOSYS) => {
                        self.openat2.store(false, Ordering::Relaxed);
                        break;
                    }
                    // An absolute link, which RESOLVE_BENEATH refuses, may lead back into the folder. Sandboxes that do
                    // not know the call say EPERM.
                    Err(Errno::XDEV | Errno::PERM) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        walk::open(&self.folder, &self.path, path, flags)
    }
}

/// `.` for the folder itself: the system calls take no empty path.
fn non_empty(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

/// Whether an error of opening says that there is no file to be read, for reasons that `ErrorKind` does not know: links
/// in a circle (`ELOOP`), a socket or a device that nobody drives (`ENXIO`, `ENODEV`).
pub fn is_no_file(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO | libc::ENODEV))
}

/// Whether an error says that no more files can be open at once (`EMFILE`, `ENFILE`).
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// An open folder beneath a root.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as it stands.
    pub name: Vec<u8>,
    /// What it is. `None`: the file system does not say it here.
    pub kind: Option<Kind>,
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Folder {
    /// A folder that was opened by [`Root::read`].
    pub fn from_file(file: File) -> Self {
        Self(file.into())
    }

    /// What is in it, but `.` and `..`, in no order.
    pub fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<Entry>>> {
        let entries = Dir::read_from(&self.0)?.filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = entry.file_name().to_bytes();
            let kind = match entry.file_type() {
                FileType::RegularFile => Some(Kind::File),
                FileType::Directory => Some(Kind::Folder),
                FileType::Symlink => Some(Kind::Link),
                FileType::Unknown => None,
                _ => Some(Kind::Other),
            };
            (!matches!(name, b"." | b"..")).then(|| Ok(Entry { name: name.to_vec(), kind }))
        });
        Ok(entries)
    }

    /// What stands under `name`, links not followed.
    pub fn status(&self, name: &[u8]) -> io::Result<Status> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        Ok(Status::from_stat(&rustix::fs::statat(&self.0, name, flags)?))
    }
}

#[cfg(test)]
mod tests;
