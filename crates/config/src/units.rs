//! Times and sizes as people write them: `30s`, `500ms`, `1m30s`, `512MiB`, `1GB`, plain numbers.
//!
//! Read and written here, so that what `--print-config` shows can be put into a file as it is.

use std::time::Duration;

const MAX_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;

/// Nanoseconds of a unit of time, longest first, with its spellings.
const TIME_UNITS: &[(&[&str], u64)] = &[
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["h", "hour", "hours"], 3_600_000_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000_000),
    (&["s", "sec", "second", "seconds"], 1_000_000_000),
    (&["ms"], 1_000_000),
];

/// Bytes of a unit of size, with its spellings in lower case.
/// `K`, `M` and `G` alone count in 1024s, as in nginx and systemd; `KB`, `MB` and `GB` in 1000s.
const SIZE_UNITS: &[(&[&str], u64)] = &[
    (&["b", "byte", "bytes"], 1),
    (&["k", "kib"], 1 << 10),
    (&["m", "mib"], 1 << 20),
    (&["g", "gib"], 1 << 30),
    (&["t", "tib"], 1 << 40),
    (&["kb"], 1_000),
    (&["mb"], 1_000_000),
    (&["gb"], 1_000_000_000),
    (&["tb"], 1_000_000_000_000),
];

/// Splits a leading decimal number from what follows it.
fn number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.starts_with(|c: char| c.is_ascii_digit()) && digits.matches('.').count() <= 1)
        .then_some((digits, rest.trim_start()))
}

fn decimal(digits: &str) -> Option<f64> {
    digits.replace('_', "").parse().ok()
}

/// A whole number; `_` may group its digits.
pub(crate) fn parse_count(text: &str) -> Option<u64> {
    let (digits, rest) = number(text.trim())?;
    if !rest.is_empty() || digits.contains('.') {
        return None;
    }
    digits.replace('_', "").parse().ok()
}

/// A time: a plain number of seconds, or numbers with `ms`, `s`, `m`, `h` or `d`, which add up.
/// At most ten years, so that a deadline computed from it cannot overflow.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let (digits, after) = number(rest)?;
    if after.is_empty() {
        return seconds(decimal(digits)?);
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let (digits, after) = number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = after[..end].to_ascii_lowercase();
        let (_, nanos) = TIME_UNITS.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
        sum += decimal(digits)? * (*nanos as f64) / 1e9;
        rest = after[end..].trim_start();
    }
    seconds(sum)
}

fn seconds(value: f64) -> Option<Duration> {
    // Rounded to microseconds: 0.1 is 100 ms, not 100.000000001 ms.
    (value <= MAX_SECONDS).then(|| Duration::from_micros((value * 1e6).round() as u64))
}

/// A size in bytes: a plain number, or a number with a unit (`KiB`, `MB`, `G`).
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = number(text.trim())?;
    let unit = unit.to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" => 1,
        unit => SIZE_UNITS.iter().find(|(names, _)| names.contains(&unit))?.1,
    };
    if let Some(whole) = parse_count(digits) {
        return whole.checked_mul(factor).filter(|&bytes| i64::try_from(bytes).is_ok());
    }
    let bytes = decimal(digits)? * factor as f64;
    (bytes < i64::MAX as f64).then_some(bytes.round() as u64)
}

/// The shortest exact spelling of a time.
pub(crate) fn format_duration(time: Duration) -> String {
    let nanos = time.as_nanos() as u64;
    if nanos == 0 {
        return "0s".into();
    }
    for (names, unit) in TIME_UNITS {
        if nanos.is_multiple_of(*unit) {
            return format!("{}{}", nanos / unit, names[0]);
        }
    }
    format!("{}s", time.as_secs_f64())
}

/// The shortest exact spelling of a size.
pub(crate) fn format_size(bytes: u64) -> String {
    for (unit, factor) in [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        let ms = |n| Some(Duration::from_millis(n));
        for (text, time) in [
            ("30s", ms(30_000)),
            ("500ms", ms(500)),
            ("5m", ms(300_000)),
            ("1h", ms(3_600_000)),
            ("1m30s", ms(90_000)),
            ("1m 30s", ms(90_000)),
            ("30", ms(30_000)),
            ("0.5", ms(500)),
            (" 2.5 s ", ms(2_500)),
            ("0", ms(0)),
            ("2 min", ms(120_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1e9", None),
            ("5 parsecs", None),
            ("1.2.3", None),
            ("30s5", None),
            ("99999999999", None),
            ("nan", None),
        ] {
            assert_eq!(parse_duration(text), time, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("8190", Some(8190)),
            ("512MiB", Some(512 << 20)),
            ("512mib", Some(512 << 20)),
            ("1GB", Some(1_000_000_000)),
            ("1G", Some(1 << 30)),
            ("1.5 KiB", Some(1536)),
            ("10_000", Some(10_000)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("1 PiBs", None),
            ("MiB", None),
            ("99999999999999999999", None),
            ("9999999999TiB", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in 0u64..=(MAX_SECONDS as u64 * 1000), bytes in 0u64..=i64::MAX as u64) {
            let time = Duration::from_millis(micros);
            prop_assert_eq!(parse_duration(&format_duration(time)), Some(time));
            prop_assert_eq!(parse_size(&format_size(bytes)), Some(bytes));
        }

        #[test]
        fn nothing_panics(text in "\\PC*") {
            let _ = (parse_duration(&text), parse_size(&text), parse_count(&text));
        }
    }
}
