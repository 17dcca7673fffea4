//! The file that says which process a server is, and that keeps a second one from taking its place.
//!
//! A server that lives holds a record lock on its file (fcntl(2), `F_SETLK`). That kind of lock is the process's own:
//! no child inherits it, the kernel takes it away with the process, however that ends, and says whose it is. So a file
//! that was left behind is told from one that is in use without a guess, and a number in it that belongs to somebody
//! else by now does no harm.
//!
//! Such a lock is lost when its process closes *any* descriptor of the file: nothing here opens a file of its own
//! process twice.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::process::Pid;

/// Longer than any number; what is longer is no such file.
const LONGEST: u64 = 32;

/// A file that says which process this is. Dropped, it is removed, if it still is the same file and this the process
/// that wrote it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    owner: Pid,
}

/// Why a file could not be taken.
#[derive(Debug)]
pub enum PidFileError {
    /// A server that lives has it.
    Held(Pid),
    /// It holds something other than a number, and is left alone.
    Foreign,
    /// Anything else.
    System(io::Error),
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A holder in another namespace has no number here.
            Self::Held(Pid(0)) => f.write_str("is held by a server that runs"),
            Self::Held(pid) => write!(f, "is held by process {pid}, which runs"),
            Self::Foreign => {
                f.write_str("holds something other than the number of a process: it is left alone")
            }
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PidFileError {}

impl From<io::Error> for PidFileError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl PidFile {
    /// Takes the file, mode 0644 less the umask, and writes this process's number. One that was left behind is taken
    /// over.
    pub fn take(path: &Path) -> Result<Self, PidFileError> {
        let path = std::path::absolute(path)?;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK)
                .open(&path)?;
            check_contents(&file)?;
            if !lock(&file)? {
                match holder_of(&file)? {
                    Some(pid) => return Err(PidFileError::Held(pid)),
                    // It has ended in this moment.
                    None => continue,
                }
            }
            // Whoever held it may have removed it while this process opened it.
            if !is_at(&file, &path) {
                continue;
            }
            let number = format!("{}\n", Pid::this());
            file.write_all_at(number.as_bytes(), 0)?;
            file.set_len(number.len() as u64)?;
            return Ok(Self { path, file, owner: Pid::this() });
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another name; what was there is replaced.
    pub fn rename(&mut self, to: &Path) -> io::Result<()> {
        let to = std::path::absolute(to)?;
        fs::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    /// Leaves the file where it is, for a successor that takes its place. The lock goes with the process, or with this.
    pub fn leave(mut self) {
        self.owner = Pid(0);
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.owner == Pid::this() && is_at(&self.file, &self.path) {
            // Somebody else removed it in between: as wanted.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that holds a file now; `None`: nobody, or there is no such file. Not for a file that this process holds.
pub fn holder(path: &Path) -> Result<Option<Pid>, PidFileError> {
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_contents(&file)?;
    let Some(pid) = holder_of(&file)? else { return Ok(None) };
    if pid == Pid(0) {
        // Of another namespace; what it wrote is its number there.
        return Err(PidFileError::Held(pid));
    }
    Ok(Some(pid))
}

fn check_contents(mut file: &File) -> Result<(), PidFileError> {
    let meta = file.metadata()?;
    if !meta.is_file() || meta.len() > LONGEST {
        return Err(PidFileError::Foreign);
    }
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(PidFileError::Foreign),
        Err(error) => return Err(error.into()),
    }
    let text = text.trim();
    // An empty one is somebody's who has not written it yet.
    if text.is_empty() || text.parse::<u32>().is_ok() { Ok(()) } else { Err(PidFileError::Foreign) }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(one), Ok(other)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn whole_file() -> libc::flock {
    // SAFETY: zero is a valid value for every field: from the start of the file to its end.
    let mut range: libc::flock = unsafe { mem::zeroed() };
    range.l_type = libc::F_WRLCK as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    range
}

/// Takes the lock; false: another process has it.
fn lock(file: &File) -> io::Result<bool> {
    let range = whole_file();
    // SAFETY: the descriptor is open and the record lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const range) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EAGAIN) => Ok(false),
        _ => Err(error),
    }
}

/// Whose lock is in the way of one's own.
fn holder_of(file: &File) -> io::Result<Option<Pid>> {
    let mut range = whole_file();
    // SAFETY: the descriptor is open and the record lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut range) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((i32::from(range.l_type) != libc::F_UNLCK).then(|| Pid(u32::try_from(range.l_pid).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// A folder of its own for each test, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("stdserve-pidfile-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("server.pid")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn one_that_was_left_behind_is_taken_over_and_removed_in_the_end() {
        let folder = Folder::new("stale");
        let path = folder.file();
        // A number that is somebody's, and longer than ours may be.
        fs::write(&path, "1\n          \n").unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        let taken = PidFile::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", Pid::this()));
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_is_left_or_replaced_is_not_removed() {
        let folder = Folder::new("left");
        let path = folder.file();
        PidFile::take(&path).unwrap().leave();
        assert!(path.exists());
        let taken = PidFile::take(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "17").unwrap();
        drop(taken);
        assert_eq!(fs::read_to_string(&path).unwrap(), "17");
    }

    #[test]
    fn the_name_changes_and_the_file_stays_ours() {
        let folder = Folder::new("rename");
        let (path, second) = (folder.file(), folder.0.join("server.pid.2"));
        fs::write(&path, "1").unwrap();
        let mut taken = PidFile::take(&second).unwrap();
        taken.rename(&path).unwrap();
        assert_eq!((taken.path(), second.exists()), (path.as_path(), false));
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_pid_file_is_left_alone() {
        let folder = Folder::new("foreign");
        let path = folder.file();
        for text in ["root:x:0:0", "12x", "-1", "4294967296", &"1".repeat(40)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(PidFile::take(&path), Err(PidFileError::Foreign)), "{text}");
            assert!(matches!(holder(&path), Err(PidFileError::Foreign)), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.0.join("elsewhere"), &path).unwrap();
        assert!(matches!(PidFile::take(&path), Err(PidFileError::System(_))));
        assert!(matches!(PidFile::take(&folder.0), Err(PidFileError::System(_))));
    }

    /// The lock is the process's: only another one can see it.
    #[test]
    fn one_in_use_names_its_holder() {
        // This very test, run alone, in the part of the holder.
        let me = std::env::current_exe().unwrap();
        if let Some(path) = std::env::var_os("PIDFILE_TO_HOLD") {
            let _held = PidFile::take(Path::new(&path)).unwrap();
            println!("\nheld");
            io::stdin().read_to_end(&mut Vec::new()).unwrap();
            return;
        }
        let folder = Folder::new("held");
        let path = folder.file();
        let mut other = Command::new(me)
            .args(["pidfile::tests::one_in_use_names_its_holder", "--exact", "--nocapture"])
            .env("PIDFILE_TO_HOLD", &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = io::BufReader::new(other.stdout.take().unwrap());
        let mut line = String::new();
        while line.trim() != "held" {
            line.clear();
            assert_ne!(io::BufRead::read_line(&mut said, &mut line).unwrap(), 0, "it ended");
        }
        assert_eq!(holder(&path).unwrap(), Some(Pid(other.id())));
        match PidFile::take(&path) {
            Err(PidFileError::Held(pid)) => assert_eq!(pid, Pid(other.id())),
            taken => panic!("{taken:?}"),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", other.id()));
        other.kill().unwrap();
        other.wait().unwrap();
        // Killed: the file is there, and nobody's.
        assert_eq!(holder(&path).unwrap(), None);
        PidFile::take(&path).unwrap();
    }
}
