//! What a process uses, as the kernel shows it from outside.

use std::io;
use std::time::Duration;

use super::Pid;

/// What a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Resident memory, in bytes; what is shared with other processes counts whole for each.
    pub rss: u64,
    /// Processor time since its start, of all its threads, in the kernel too.
    pub cpu: Duration,
}

/// Looks at a process (`/proc/PID/stat`, proc(5)): one small file, which the kernel makes up without waiting for the
/// process. The number must be that of a child that was not waited for, or it may be another's by now.
pub fn sample(pid: Pid) -> io::Result<Sample> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse(&text, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(text: &[u8], ticks: u64, page: u64) -> Option<Sample> {
    // The second field is the process's name, in parentheses, and may hold anything: also parentheses.
    let behind = text.iter().rposition(|byte| *byte == b')')? + 1;
    let fields: Vec<&str> = std::str::from_utf8(&text[behind..]).ok()?.split_ascii_whitespace().collect();
    // Fields are numbered from 1 and the first of these is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system, pages) = (field(14)?, field(15)?, field(24)?);
    let spent = user.checked_add(system)?;
    let ticks = ticks.max(1);
    let cpu = Duration::from_secs(spent / ticks) + Duration::from_secs(spent % ticks) / ticks as u32;
    Some(Sample { rss: pages.saturating_mul(page), cpu })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let before = sample(Pid::this()).unwrap();
        assert!(before.rss > 100 << 10, "{before:?}");
        let mut sum = 0_u64;
        while sample(Pid::this()).unwrap().cpu == before.cpu {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(sample(Pid::this()).unwrap().cpu > before.cpu);
        assert!(sample(Pid(u32::MAX)).is_err());
    }

    #[test]
    fn a_name_may_hold_anything() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0 99 12345 77 18446744073709551615";
        let expected = Some(Sample { rss: 77 * 4096, cpu: Duration::from_millis(1750) });
        for name in ["python", "a) S 9 9 9", "(((", ") (", "\n"] {
            assert_eq!(parse(format!("12 ({name}) {rest}").as_bytes(), 100, 4096), expected, "{name}");
        }
        assert_eq!(parse(b"12 (python) S 1 2 3", 100, 4096), None);
        assert_eq!(parse(b"", 100, 4096), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text, 100, 4096);
        }
    }
}
