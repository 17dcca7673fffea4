//! Single values as they are written: read, and written again as TOML.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::settings::{LogTarget, TrustedPeer};
use crate::units::{format_duration, format_size, parse_count, parse_duration, parse_size};

/// Yes or no, in the usual words.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

pub(crate) fn count(text: &str, min: usize, max: usize, none: &str) -> Result<usize, String> {
    let value = parse_count(text).and_then(|value| usize::try_from(value).ok());
    value.filter(|value| (min..=max).contains(value)).ok_or_else(|| {
        let or = if none.is_empty() { String::new() } else { format!(", nor `{none}`") };
        if max >= i32::MAX as usize {
            format!("is not a whole number of at least {min}{or}")
        } else {
            format!("is not a whole number between {min} and {max}{or}")
        }
    })
}

pub(crate) fn size(text: &str, min: u64) -> Result<u64, String> {
    let bytes = parse_size(text)
        .ok_or("is not a size: give bytes, or a number with KiB, MiB, GiB, KB, MB or GB, such as 512MiB")?;
    if bytes < min {
        return Err(format!("is too small: at least {}", format_size(min)));
    }
    Ok(bytes)
}

pub(crate) fn time(text: &str, min: Duration) -> Result<Duration, String> {
    let time = parse_duration(text)
        .ok_or("is not a time: give seconds, or a number with ms, s, m, h or d, such as 30s")?;
    if time < min {
        return Err(format!("is too short: at least {}", format_duration(min)));
    }
    Ok(time)
}

pub(crate) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|&mode| mode <= 0o777 && !digits.starts_with('+'))
}

pub(crate) fn log_target(text: &str) -> Result<LogTarget, String> {
    match text {
        "-" => Ok(LogTarget::Standard),
        "none" => Ok(LogTarget::Off),
        "" => Err("is empty: give a file, `-` or `none`".into()),
        path => Ok(LogTarget::File(Path::new(path).to_owned())),
    }
}

pub(crate) fn peer(text: &str) -> Result<TrustedPeer, String> {
    match text {
        "*" => return Ok(TrustedPeer::Any),
        "unix" => return Ok(TrustedPeer::Unix),
        _ => {}
    }
    let wrong = "is neither an address, a network such as 10.0.0.0/8, `unix` nor `*`";
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(bits) => parse_count(bits)
            .filter(|&bits| bits <= u64::from(most))
            .ok_or_else(|| format!("has the prefix `/{bits}`, which is not between /0 and /{most}"))?
            as u8,
    };
    Ok(TrustedPeer::Network { address, prefix })
}

pub(crate) fn show_size(bytes: u64) -> String {
    let shown = format_size(bytes);
    if shown.bytes().all(|b| b.is_ascii_digit()) { shown } else { quote(&shown) }
}

pub(crate) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<_> = values.into_iter().map(|value| quote(&value.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

/// A TOML string: literal where possible (formats are full of quotes), else basic.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| !c.is_control();
    if text.contains(['"', '\\']) && !text.contains('\'') && text.chars().all(plain) {
        return format!("'{text}'");
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if plain(c) => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\u{:04X}", c as u32);
            }
        }
    }
    quoted.push('"');
    quoted
}
