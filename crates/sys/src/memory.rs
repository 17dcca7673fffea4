//! Memory: how much there may be, and the allocator's settings.

use std::fs;
use std::path::Path;

use crate::control_groups;

/// Bounds the allocator's arenas (`M_ARENA_MAX`, mallopt(3)): with many threads glibc would make one for each, and
/// keep what each has freed. To be called before threads start. Other C libraries have no such setting.
pub fn limit_arenas(arenas: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes a number of the allocator and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = arenas;
}

/// How much memory the control groups of this process allow, in bytes, or the machine has where they have no limit
/// (`memory.max`, `memory.limit_in_bytes`, `/proc/meminfo`).
pub fn allowed(root: &Path) -> Option<u64> {
    let file = |name: &str| fs::read_to_string(root.join(name)).ok();
    let machine = file("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    });
    // The first version has no word for no limit: it is a number beyond all memory.
    let limit = control_groups::tightest(root, "memory", limit_v2, limit_v1);
    limit.into_iter().chain(machine).min()
}

/// `memory.max`: bytes, or `max` (the kernel's cgroup-v2 page).
fn limit_v2(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()
}

fn limit_v1(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join("memory.limit_in_bytes")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_groups::tests::Root;

    #[test]
    fn the_tightest_limit_counts() {
        let machine = ("proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\n");
        let files = [
            machine,
            ("proc/self/cgroup", "0::/pod/app\n"),
            ("sys/fs/cgroup/pod/memory.max", "500000\n"),
            ("sys/fs/cgroup/pod/app/memory.max", "max\n"),
        ];
        assert_eq!(allowed(&Root::new("memory2", &files).0), Some(500_000));
        let files = [
            machine,
            ("proc/self/cgroup", "5:memory:/a\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(allowed(&Root::new("memory1", &files).0), Some(1_024_000));
        assert_eq!(allowed(Path::new("/nonexistent")), None);
    }
}
