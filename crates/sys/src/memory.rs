//! Memory: what a process uses, and the allocator's settings.

use std::fs;
use std::io;

use crate::process::Pid;

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

/// Resident memory of a process in bytes (`/proc/PID/statm`).
pub fn resident(pid: Pid) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: Option<u64> = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
    Ok(pages.ok_or(io::ErrorKind::InvalidData)? * rustix::param::page_size() as u64)
}

/// Memory of a process in bytes, each shared page divided by the number of its users (`/proc/PID/smaps_rollup`).
pub fn proportional(pid: Pid) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or(io::ErrorKind::InvalidData)?;
    let kib: Option<u64> = line.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    Ok(kib.ok_or(io::ErrorKind::InvalidData)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory() {
        limit_arenas(2);
        let resident = resident(Pid::this()).unwrap();
        assert!(resident > 100_000);
        assert!(proportional(Pid::this()).unwrap() <= resident * 2);
        assert!(super::resident(Pid(u32::MAX)).is_err());
    }
}
