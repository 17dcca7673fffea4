//! Numbers as Python reads and writes them.

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

/// Appends `value` as Python's `repr` writes it: the shortest digits that give the same number again, of two that are
/// equally near the even one, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn write_double(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    // Ryu chooses the same digits; the standard library rounds halves up. What differs is the exponent.
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (b"-".as_slice(), digits),
        digits => (b"".as_slice(), digits),
    };
    out.extend_from_slice(sign);
    if let Some(digits) = digits.strip_prefix(b"0.0000") {
        // `0.000012` is `1.2e-05` in Python.
        let (first, rest) = digits.split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        return out.extend_from_slice(b"e-05");
    }
    let Some(at) = digits.iter().position(|&byte| byte == b'e') else {
        return out.extend_from_slice(digits);
    };
    // `1e16` is `1e+16`, and `1e-7` is `1e-07`.
    out.extend_from_slice(&digits[..=at]);
    let (sign, exponent) = match &digits[at + 1..] {
        [b'-', exponent @ ..] => (b'-', exponent),
        exponent => (b'+', exponent),
    };
    out.push(sign);
    if exponent.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(exponent);
}
