//! Numbers as Python reads and writes them.

use std::io::Write as _;

/// The integer, where `text` is a plain one: an optional minus and at most 18 ASCII digits. Python's `int()` takes
/// more (spaces, underscores, other digits), which is left to others.
pub(super) fn plain_integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// The number, where `text` is one in plain notation. Python's `float()` takes more.
pub(super) fn plain_double(text: &str) -> Option<f64> {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E');
    // Without a bound, a hostile number could take long.
    if text.len() > 64 || !text.bytes().all(plain) {
        return None;
    }
    text.parse().ok()
}

/// Appends `value` as Python's `repr` writes it: the shortest digits that give the same number again, with an
/// exponent below 1e-4 and from 1e16 on.
pub(super) fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    // Rust writes the same digits; what differs is where the exponent begins.
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e16).contains(&magnitude) {
        let start = out.len();
        let _ = write!(out, "{value}");
        if !out[start..].contains(&b'.') {
            out.extend_from_slice(b".0");
        }
        return;
    }
    let start = out.len();
    let _ = write!(out, "{value:e}");
    // `1e16` is `1e+16` in Python, and `1e-5` is `1e-05`.
    let Some(at) = out[start..].iter().position(|&byte| byte == b'e') else { return };
    let exponent = out.split_off(start + at + 1);
    let (sign, digits) = match &*exponent {
        [b'-', digits @ ..] => (b'-', digits),
        digits => (b'+', digits),
    };
    out.push(sign);
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
}
