//! The limits of the control groups that this process is in (cgroups(7)), of both versions.
//!
//! All files are read under a root that the caller names (`/`, or a folder made by a test).

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The smallest value that one of the groups has, from this process's own up to the mount; `None` where none has any.
/// `v2` and `v1` read it from a group's folder, by version.
pub(crate) fn tightest<T: PartialOrd>(
    root: &Path,
    controller: &str,
    v2: fn(&Path) -> Option<T>,
    v1: fn(&Path) -> Option<T>,
) -> Option<T> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut tightest = None;
    for line in groups.lines() {
        // hierarchy-ID:controller-list:path (cgroups(7))
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let mounts = root.join("sys/fs/cgroup");
        let found = if controllers.is_empty() {
            tightest_above(&mounts, path, v2)
        } else if controllers.split(',').any(|name| name == controller) {
            let names = [controllers, controller, "cpu,cpuacct"];
            let mount = names.iter().map(|name| mounts.join(name)).find(|folder| folder.is_dir());
            mount.and_then(|mount| tightest_above(&mount, path, v1))
        } else {
            None
        };
        tightest = smaller(tightest, found);
    }
    tightest
}

fn smaller<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// A limit binds everything below it, so all folders from the group up to the mount are read. In a container the path
/// may lie outside of what is mounted: then only the mount itself is left.
fn tightest_above<T: PartialOrd>(mount: &Path, path: &str, read: fn(&Path) -> Option<T>) -> Option<T> {
    let relative: PathBuf =
        Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect();
    relative.ancestors().map(|part| read(&mount.join(part))).fold(None, smaller)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up file system.
    pub(crate) struct Root(pub(crate) PathBuf);

    impl Root {
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("stdserve-groups-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
