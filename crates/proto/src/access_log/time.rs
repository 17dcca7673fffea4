//! Points in time, written without asking the C library.

use std::io::Write;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A point in time, and how far the local clock is from UTC there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Microseconds of the second.
    pub micros: u32,
    /// Seconds that the local clock is ahead of UTC; 0 writes UTC.
    pub offset: i32,
}

/// A day and a time of it.
struct Civil {
    year: i64,
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Time {
    fn civil(self, offset: i32) -> Civil {
        let seconds = self.seconds.saturating_add(offset.into());
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days since 0000-03-01, in eras of 400 years that begin in March: a leap day is then the last of its year.
        let days = days.saturating_add(719_468);
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = (from_march + 2) % 12;
        Civil {
            year: era * 400 + year_of_era + i64::from(month < 2),
            month: month as usize,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// `[10/Oct/2000:13:55:36 -0700]`, as the common log format has it.
    pub(super) fn common(self, out: &mut Vec<u8>) {
        let Civil { year, month, day, hour, minute, second } = self.civil(self.offset);
        let away = self.offset / 60;
        let minutes = i64::from(away.unsigned_abs());
        // By hand: with the formatting machinery it was the dearest part of a line.
        let mut text = *b"[00/Jan/0000:00:00:00 +0000]";
        text[4..7].copy_from_slice(MONTHS[month]);
        let parts = [day, year / 100, year, hour, minute, second, minutes / 60, minutes % 60];
        for (at, part) in [1, 8, 10, 13, 16, 19, 23, 25].into_iter().zip(parts) {
            let part = part.rem_euclid(100) as u8;
            text[at] = b'0' + part / 10;
            text[at + 1] = b'0' + part % 10;
        }
        if away < 0 {
            text[22] = b'-';
        }
        out.extend_from_slice(&text);
    }

    /// `2000-10-10T20:55:36.123456Z` (RFC 3339), always in UTC.
    pub fn rfc3339(self, out: &mut Vec<u8>) {
        let Civil { year, month, day, hour, minute, second } = self.civil(0);
        let _ = write!(
            out,
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z",
            month + 1,
            self.micros.min(999_999)
        );
    }
}
