//! What openat2(2) does beneath a folder, name by name.
//!
//! Every folder on the way is held open, and each name is looked up in the one before it without following links. A
//! link is read and its names are walked like the others; `..` goes back to the folder that is held, never to whatever
//! the kernel calls its parent by then. So nothing that others rename meanwhile can lead outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};

/// As many links as the kernel follows (`path_resolution(7)`).
const MOST_LINKS: u32 = 40;

/// Opens `path` beneath `root`, whose own path is `root_path`. `EXDEV` where it leads outside.
pub(super) fn open(root: &OwnedFd, root_path: &[u8], path: &[u8], flags: OFlags) -> std::io::Result<OwnedFd> {
    Ok(Walk { root, above: Vec::new() }.open(root_path, path, flags)?)
}

struct Walk<'a> {
    root: &'a OwnedFd,
    /// The folders from the root, which is not among them, to where the walk stands.
    above: Vec<OwnedFd>,
}

impl Walk<'_> {
    fn open(mut self, root_path: &[u8], path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        // The names that are left, the next one last.
        let mut left = Vec::new();
        push(path, &mut left)?;
        let mut links = 0;
        while let Some(name) = left.pop() {
            let last = left.is_empty();
            match &name[..] {
                b"" | b"." => {}
                b".." => {
                    self.above.pop().ok_or(Errno::XDEV)?;
                }
                name => match self.step(name, last.then_some(flags)) {
                    Ok(opened) if last => return Ok(opened),
                    Ok(opened) => self.above.push(opened),
                    // What a link gives, with O_NOFOLLOW and with O_DIRECTORY; the latter is also said of files.
                    Err(error @ (Errno::LOOP | Errno::NOTDIR)) => {
                        let target = match rustix::fs::readlinkat(self.here(), name, Vec::new()) {
                            Ok(target) => target.into_bytes(),
                            Err(_) => return Err(error),
                        };
                        links += 1;
                        if links > MOST_LINKS {
                            return Err(Errno::LOOP);
                        }
                        let target = if target.starts_with(b"/") {
                            self.above.clear();
                            beneath(root_path, &target).ok_or(Errno::XDEV)?
                        } else {
                            &target
                        };
                        // A link to a folder, with a slash behind: it has to be one.
                        push(target, &mut left)?;
                    }
                    Err(error) => return Err(error),
                },
            }
        }
        rustix::fs::openat(self.here(), ".", flags, Mode::empty())
    }

    /// The folder in which the walk stands.
    fn here(&self) -> BorrowedFd<'_> {
        self.above.last().unwrap_or(self.root).as_fd()
    }

    /// Opens a name where the walk stands: the last one as it is wanted, others as folders to go on from.
    fn step(&self, name: &[u8], wanted: Option<OFlags>) -> Result<OwnedFd> {
        let flags = match wanted {
            // With O_PATH a link itself would be opened; with O_DIRECTORY beside it, it is not.
            Some(flags) if flags.contains(OFlags::PATH) => {
                let opened = rustix::fs::openat(self.here(), name, flags | OFlags::NOFOLLOW, Mode::empty())?;
                let mode = rustix::fs::fstat(&opened)?.st_mode;
                let is_link = rustix::fs::FileType::from_raw_mode(mode).is_symlink();
                return if is_link { Err(Errno::LOOP) } else { Ok(opened) };
            }
            Some(flags) => flags,
            None => OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        };
        rustix::fs::openat(self.here(), name, flags | OFlags::NOFOLLOW, Mode::empty())
    }
}

/// What of the absolute `target` stands behind `root_path`, if it does.
fn beneath<'a>(root_path: &[u8], target: &'a [u8]) -> Option<&'a [u8]> {
    let root = root_path.strip_suffix(b"/").unwrap_or(root_path);
    match target.strip_prefix(root)? {
        b"" => Some(b""),
        rest if rest.starts_with(b"/") => Some(rest),
        _ => None,
    }
}

/// Adds the names of `path` to those that are left, in front of them.
fn push(path: &[u8], left: &mut Vec<Vec<u8>>) -> Result<()> {
    if path.contains(&0) {
        return Err(Errno::INVAL);
    }
    // An empty name at the end says that a folder is meant; so does one in the middle.
    left.extend(path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
    Ok(())
}
