//! From the path of a request to a script beneath the root.

use std::io;
use std::path::Path;

use stdserve_proto::clean_path::CleanPath;
use stdserve_sys::beneath::{Folder, Kind, Root};

use super::options::{ExecutableRule, Options};

/// The folder, and which of its files are scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    root: Root,
    /// Extensions with an interpreter, in the order of the launcher's.
    interpreted: Vec<String>,
    extensions: Vec<String>,
    executable: ExecutableRule,
    index: Vec<String>,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A script.
    Script(Script),
    /// A folder whose path lacks the slash at its end.
    Folder,
    /// Nothing that can be run: the status that says so.
    Nothing(u16),
}

/// A script, and what of the path is left for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Its path beneath the root.
    pub(super) path: Vec<u8>,
    /// `PATH_INFO`, decoded.
    pub(super) path_info: Vec<u8>,
    /// Which interpreter runs it; none: the kernel.
    pub(super) interpreter: Option<usize>,
}

impl Script {
    /// The name of its file.
    pub(super) fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

impl Scripts {
    pub(super) fn new(root: Root, options: &Options) -> Self {
        Self {
            root,
            interpreted: options.interpreters.iter().map(|(extension, _)| extension.clone()).collect(),
            extensions: options.extensions.clone(),
            executable: options.executable,
            index: options.index.clone(),
        }
    }

    /// The folder's own path.
    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder that a script stands in.
    pub(super) fn folder_of(&self, script: &Script) -> io::Result<Folder> {
        let end = script.path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        self.root.folder(&script.path[..end])
    }

    /// Walks along `path` until a name is no folder.
    pub(super) fn find(&self, path: &CleanPath) -> Found {
        let names = path.as_bytes();
        // A name that begins with a dot is not for the public: `.htaccess`, `.git`. A script sees such names of its own
        // behind it, however.
        let ends = names.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        for end in ends.chain([names.len()]).filter(|_| !names.is_empty()) {
            let prefix = &names[..end];
            if prefix.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.starts_with(b".")) {
                return Found::Nothing(404);
            }
            match self.root.status(prefix) {
                Ok(status) if status.kind == Kind::Folder => {}
                Ok(status) if status.kind == Kind::File => {
                    let mut path_info = names[end..].to_vec();
                    if path.is_folder() {
                        path_info.push(b'/');
                    }
                    return self.script(prefix, path_info);
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Found::Nothing(403),
                Err(error) if is_exhaustion(&error) => return Found::Nothing(503),
                _ => return Found::Nothing(404),
            }
        }
        if path.is_folder() { self.index(names) } else { Found::Folder }
    }

    /// The script that stands for a folder.
    fn index(&self, folder: &[u8]) -> Found {
        for name in &self.index {
            let mut path = folder.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            if self.root.status(&path).is_ok_and(|status| status.kind == Kind::File) {
                return self.script(&path, Vec::new());
            }
        }
        Found::Nothing(404)
    }

    fn script(&self, path: &[u8], path_info: Vec<u8>) -> Found {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let extension = name.iter().rposition(|&byte| byte == b'.').map(|dot| &name[dot + 1..]);
        let is = |known: &String| extension == Some(known.as_bytes());
        let interpreter = self.interpreted.iter().position(is);
        if interpreter.is_none() {
            if !self.extensions.is_empty() && !self.extensions.iter().any(is) {
                return Found::Nothing(404);
            }
            if self.executable == ExecutableRule::Never {
                return Found::Nothing(403);
            }
        }
        Found::Script(Script { path: path.to_vec(), path_info, interpreter })
    }
}

/// No descriptors or no memory: not the path's fault.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOMEM, EAGAIN: the numbers are those of every Linux.
    matches!(error.raw_os_error(), Some(24 | 23 | 12 | 11))
}

#[cfg(test)]
mod tests;
