//! Base64 (RFC 4648), as CPython's `binascii` reads and `base64.encodebytes` writes it.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Not of the alphabet.
const OTHER: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [OTHER; 256];
    let mut at = 0;
    while at < 64 {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

/// Bytes on a line of output (RFC 2045 has lines of 76 characters).
const LINE: usize = 57;

/// The bytes that `text` stands for. What is not of the alphabet is skipped, and what follows complete padding is
/// not read, as `binascii.a2b_base64` does it. `None`: it is cut off.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut rest = text;
    // Four at a time, as long as there is nothing but the alphabet.
    while let Some((four, behind)) = rest.split_first_chunk::<4>() {
        let [a, b, c, d] = four.map(|byte| VALUES[usize::from(byte)]);
        if (a | b | c | d) & 0xc0 != 0 {
            // A line's end between two groups.
            if four[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            break;
        }
        bytes.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        rest = behind;
    }
    let (mut group, mut pads, mut left) = (0_usize, 0_usize, 0_u8);
    for &byte in rest {
        if byte == b'=' {
            pads += 1;
            if group >= 2 && group + pads >= 4 {
                return Some(bytes);
            }
            continue;
        }
        let value = VALUES[usize::from(byte)];
        if value == OTHER {
            continue;
        }
        pads = 0;
        match group {
            0 => left = value,
            1 => {
                bytes.push(left << 2 | value >> 4);
                left = value & 0x0f;
            }
            2 => {
                bytes.push(left << 4 | value >> 2);
                left = value & 0x03;
            }
            _ => bytes.push(left << 6 | value),
        }
        group = (group + 1) % 4;
    }
    (group == 0).then_some(bytes)
}

/// Appends `bytes` in lines of 76 characters, each ended by a newline; nothing for nothing.
pub fn encode_lines(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() / 3 * 4 + bytes.len() / LINE + 8);
    for line in bytes.chunks(LINE) {
        let (groups, last) = line.as_chunks::<3>();
        let digit = |value: u8| ALPHABET[usize::from(value & 0x3f)];
        for &[a, b, c] in groups {
            out.extend_from_slice(&[digit(a >> 2), digit(a << 4 | b >> 4), digit(b << 2 | c >> 6), digit(c)]);
        }
        match *last {
            [a] => out.extend_from_slice(&[digit(a >> 2), digit(a << 4), b'=', b'=']),
            [a, b] => out.extend_from_slice(&[digit(a >> 2), digit(a << 4 | b >> 4), digit(b << 2), b'=']),
            _ => {}
        }
        out.push(b'\n');
    }
}
