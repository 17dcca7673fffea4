//! gzip (RFC 1952) for whole bodies, bounded.

use std::fmt;
use std::io::{self, Read as _, Write as _};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Up to this size, in bytes, a body is not judged by how much it grows.
const UNJUDGED: usize = 1 << 20;

/// Why a body was not inflated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GunzipError {
    /// It is not gzip, or is cut off, or its checksum is wrong.
    Invalid,
    /// It grows beyond the bound on its size.
    TooLarge,
    /// It grows too many times its own size.
    Ratio,
}

impl fmt::Display for GunzipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid data",
            Self::TooLarge => "max gzipped payload length exceeded",
            Self::Ratio => "max ratio of a gzipped payload exceeded",
        })
    }
}

impl std::error::Error for GunzipError {}

/// Inflates `body`, one or several members. At most `largest` bytes come out, and at most `ratio` times as many as
/// went in, unless it is less than 1 MiB. No more memory is taken than that (CVE-2013-1753).
pub fn gunzip(body: &[u8], largest: usize, ratio: usize) -> Result<Vec<u8>, GunzipError> {
    let by_ratio = body.len().saturating_mul(ratio).max(UNJUDGED);
    let bound = largest.min(by_ratio);
    let mut inflated = Vec::new();
    let mut piece = [0; 16 << 10];
    let mut decoder = MultiGzDecoder::new(body);
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(inflated),
            Ok(length) if length > bound - inflated.len() => {
                return Err(if largest <= by_ratio { GunzipError::TooLarge } else { GunzipError::Ratio });
            }
            Ok(length) => inflated.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(GunzipError::Invalid),
        }
    }
}

/// Compresses `body`, quickly rather than well: level 1, as `xmlrpc.client.gzip_encode` does.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4 + 64), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_inflated_again() {
        for body in [&b""[..], b"hello", &[b'x'; 10_000]] {
            assert_eq!(gunzip(&gzip(body), 1 << 20, 1000).as_deref(), Ok(body));
        }
        let members = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(gunzip(&members, 7, 1000).as_deref(), Ok(&b"one two"[..]));
    }

    #[test]
    fn what_is_not_gzip_is_refused() {
        let whole = gzip(b"hello");
        assert_eq!(gunzip(b"", 100, 100), Err(GunzipError::Invalid));
        assert_eq!(gunzip(b"hello", 100, 100), Err(GunzipError::Invalid));
        assert_eq!(gunzip(&whole[..whole.len() - 1], 100, 100), Err(GunzipError::Invalid));
        let mut spoilt = whole;
        let last = spoilt.len() - 5;
        spoilt[last] ^= 1;
        assert_eq!(gunzip(&spoilt, 100, 100), Err(GunzipError::Invalid));
    }

    /// A small body that inflates to gigabytes: what is taken stays below the bounds.
    #[test]
    fn cve_2013_1753_growth_is_bounded() {
        let bomb = gzip(&vec![0; 3 << 20]);
        assert_eq!(gunzip(&bomb, 1 << 20, usize::MAX), Err(GunzipError::TooLarge));
        assert_eq!(gunzip(&bomb, (3 << 20) - 1, usize::MAX), Err(GunzipError::TooLarge));
        assert_eq!(gunzip(&bomb, 100 << 20, 20), Err(GunzipError::Ratio));
        assert_eq!(gunzip(&bomb, 3 << 20, usize::MAX).map(|body| body.len()), Ok(3 << 20));
        // Small bodies may grow as they like.
        assert_eq!(gunzip(&gzip(&vec![0; 1 << 20]), 1 << 20, 1).map(|body| body.len()), Ok(1 << 20));
    }
}
