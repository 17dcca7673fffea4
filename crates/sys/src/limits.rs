//! Limits of the process and of the kernel.

use std::fs;
use std::io;
use std::path::Path;

use crate::process::Limit;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The oldest kernel that stdserve is made for: 4.18. Newer calls are tried first and have a fallback.
pub const OLDEST_KERNEL: (u32, u32) = (4, 18);

/// Raises the soft limit on open descriptors to the hard one (`RLIMIT_NOFILE`, getrlimit(2)) and returns what holds
/// then; `u64::MAX` where there is no limit.
pub fn raise_descriptors() -> io::Result<u64> {
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?;
    }
    Ok(now.maximum.unwrap_or(u64::MAX))
}

/// Bounds this process, and all that it forks (setrlimit(2)): `soft` is what holds, up to `hard` it can be raised
/// again. Above the hard limit that is in force either counts as that.
pub fn bound(limit: Limit, soft: u64, hard: u64) -> io::Result<()> {
    let resource = match limit {
        Limit::Memory => Resource::As,
        Limit::Cpu => Resource::Cpu,
        Limit::Files => Resource::Nofile,
        Limit::Core => Resource::Core,
        Limit::FileSize => Resource::Fsize,
        Limit::Processes => Resource::Nproc,
    };
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let (soft, hard) = (soft.min(most), hard.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })?)
}

/// Major and minor version of the running kernel, read under `root`.
pub fn kernel_version(root: &Path) -> Option<(u32, u32)> {
    parse_version(&fs::read_to_string(root.join("proc/sys/kernel/osrelease")).ok()?)
}

/// A sentence for the user when the kernel is too old; `None` when it is not, or cannot be seen.
pub fn kernel_objection(root: &Path) -> Option<String> {
    let (major, minor) = kernel_version(root)?;
    let (least_major, least_minor) = OLDEST_KERNEL;
    ((major, minor) < OLDEST_KERNEL).then(|| {
        format!("stdserve needs Linux {least_major}.{least_minor} or newer; this is {major}.{minor}")
    })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_vendor() {
        assert_eq!(parse_version("6.1.0-18-amd64\n"), Some((6, 1)));
        assert_eq!(parse_version("4.18.0-553.el8_10.x86_64"), Some((4, 18)));
        assert_eq!(parse_version("5.15-rc1"), Some((5, 15)));
        assert_eq!(parse_version("unknown"), None);
    }

    #[test]
    fn the_soft_limit_is_the_hard_one_afterwards() {
        let limit = raise_descriptors().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), limit);
    }
}
