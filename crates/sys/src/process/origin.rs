//! How this process was started, so that it can be started again: what exec(2) was given.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Program, arguments, environment and folder, as they were at the start.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where the program stands: the path that led there, with its symbolic links. A new version that has taken its
    /// place is found there, which `/proc/self/exe` would not show.
    pub program: CString,
    /// The arguments, with the program's name as the first.
    pub arguments: Vec<CString>,
    /// The environment: `NAME=value` each.
    pub environment: Vec<CString>,
    /// The folder, by the path that the shell had for it (`PWD`), where a symbolic link of a new release counts.
    pub folder: PathBuf,
}

impl Origin {
    /// That of this process, which has not left its folder yet. What an interpreter or a library has changed of its
    /// arguments and environment since does not count (`/proc/self/cmdline`, `/proc/self/environ`, proc(5)).
    pub fn of_process() -> io::Result<Self> {
        let arguments = strings(&fs::read("/proc/self/cmdline")?);
        let environment = strings(&fs::read("/proc/self/environ")?);
        let folder = folder(variable(&environment, "PWD"), &std::env::current_dir()?);
        let name = arguments.first().ok_or(io::ErrorKind::InvalidData)?;
        let found = find(OsStr::from_bytes(name.as_bytes()), &folder, variable(&environment, "PATH"));
        let path = match found {
            Some(path) => path,
            None => fs::read_link("/proc/self/exe")?,
        };
        let program = CString::new(path.into_os_string().into_vec())?;
        Ok(Self { program, arguments, environment, folder })
    }
}

fn strings(bytes: &[u8]) -> Vec<CString> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).filter_map(|text| CString::new(text).ok()).collect()
}

fn variable(environment: &[CString], name: &str) -> Option<OsString> {
    environment.iter().find_map(|entry| {
        let value = entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    })
}

/// What the shell calls the folder, where it is that.
fn folder(shown: Option<OsString>, real: &Path) -> PathBuf {
    let same = |one: &Path| match (fs::metadata(one), fs::metadata(real)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    shown
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && same(path))
        .unwrap_or_else(|| real.to_owned())
}

/// The program of a name, as execvp(3) finds it.
fn find(name: &OsStr, folder: &Path, path: Option<OsString>) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.as_bytes().contains(&b'/') {
        return Some(folder.join(name)).filter(runs);
    }
    std::env::split_paths(&path?).map(|entry| folder.join(entry).join(name)).find(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_started_again() {
        let origin = Origin::of_process().unwrap();
        let program = Path::new(OsStr::from_bytes(origin.program.as_bytes()));
        assert_eq!(fs::canonicalize(program).unwrap(), std::env::current_exe().unwrap());
        assert_eq!(origin.arguments.len(), std::env::args_os().len());
        assert!(variable(&origin.environment, "PATH").is_some());
        assert!(origin.folder.is_absolute());
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let find = |name: &str, path: &str| find(OsStr::new(name), Path::new("/usr"), Some(path.into()));
        assert_eq!(find("bin/env", "/nowhere").as_deref(), Some(Path::new("/usr/bin/env")));
        assert_eq!(find("env", "/nowhere:bin").as_deref(), Some(Path::new("/usr/bin/env")));
        assert_eq!(find("/usr/bin/env", "").as_deref(), Some(Path::new("/usr/bin/env")));
        assert_eq!(find("no-such-program", "/usr/bin"), None);
    }

    #[test]
    fn a_folder_of_another_name_is_not_believed() {
        let real = std::env::temp_dir();
        assert_eq!(folder(Some("/usr".into()), &real), real);
        assert_eq!(folder(None, &real), real);
        let linked = real.join(format!("stdserve-origin-{}", std::process::id()));
        std::os::unix::fs::symlink(&real, &linked).unwrap();
        assert_eq!(folder(Some(linked.clone().into()), &real), linked);
        fs::remove_file(linked).unwrap();
    }
}
