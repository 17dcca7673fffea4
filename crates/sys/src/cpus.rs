//! How many CPUs this process may use: its affinity and the quotas of its control groups.
//!
//! Everything in files is read under a root that the caller names (`/`, or a folder made by a test).

use std::fs;
use std::path::Path;

use crate::control_groups;

/// The CPUs that this process may use: the smaller of its affinity mask (`sched_getaffinity(2)`) and the tightest quota
/// of its control groups (`cpu.max`, `cpu.cfs_quota_us`), a part of a CPU counted as one. At least 1.
pub fn usable(root: &Path) -> usize {
    let affine = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    quota(root).map_or(affine, |quota| affine.min(quota.ceil() as usize)).max(1)
}

/// The tightest CPU quota, in CPUs (1.5: one and a half); `None` where there is none.
pub fn quota(root: &Path) -> Option<f64> {
    control_groups::tightest(root, "cpu", quota_v2, quota_v1)
}

/// `cpu.max`: `$QUOTA $PERIOD` in microseconds, or `max $PERIOD` (the kernel's cgroup-v2 page).
fn quota_v2(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
    let mut words = text.split_ascii_whitespace();
    ratio(words.next()?, words.next().unwrap_or("100000"))
}

/// `cpu.cfs_quota_us` (-1: none) over `cpu.cfs_period_us`.
fn quota_v1(folder: &Path) -> Option<f64> {
    let quota = fs::read_to_string(folder.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(folder.join("cpu.cfs_period_us")).ok()?;
    ratio(quota.trim(), period.trim())
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_groups::tests::Root;

    #[test]
    fn no_control_groups_no_quota() {
        assert_eq!(quota(Path::new("/nonexistent")), None);
        assert!(usable(Path::new("/nonexistent")) >= 1);
    }

    #[test]
    fn version_2_the_tightest_folder_counts() {
        let root = Root::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/pod/app\n"),
                ("sys/fs/cgroup/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/pod/cpu.max", "150000 100000\n"),
                ("sys/fs/cgroup/pod/app/cpu.max", "400000 100000\n"),
            ],
        );
        assert_eq!(quota(&root.0), Some(1.5));
    }

    #[test]
    fn version_2_in_a_container_whose_path_is_not_mounted() {
        let files = [("proc/self/cgroup", "0::/../../x\n"), ("sys/fs/cgroup/cpu.max", "50000 100000\n")];
        let root = Root::new("v2c", &files);
        assert_eq!(quota(&root.0), Some(0.5));
        assert_eq!(usable(&root.0), 1);
    }

    #[test]
    fn version_1() {
        let root = Root::new(
            "v1",
            &[
                ("proc/self/cgroup", "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n"),
                ("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us", "200000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ],
        );
        assert_eq!(quota(&root.0), Some(2.0));
    }

    #[test]
    fn rubbish_is_no_quota() {
        let files = [("proc/self/cgroup", "0::/\nnonsense\n"), ("sys/fs/cgroup/cpu.max", "0 0\n")];
        assert_eq!(quota(&Root::new("bad", &files).0), None);
    }
}
