//! gzip (RFC 1952): whole bodies, bounded, and files of any size, piece by piece.

use std::fmt;
use std::io::{self, Read as _, Write as _};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};

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

/// The two bytes that gzip begins with.
pub const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The window that every deflate stream can ask for, as a power of two.
const WINDOW: u8 = 15;

/// Why bytes that came as gzip are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    /// Where it shows, in bytes from the beginning of what is compressed.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

impl std::error::Error for Corrupt {}

/// Inflates a file of one or several members, piece by piece, and checks their sums. Zeros between and after members
/// are passed over, as gzip(1) does; anything else there is an error.
#[derive(Debug, Default)]
pub struct Members {
    /// The member that has begun.
    member: Option<Decompress>,
    /// Bytes taken up to the beginning of that member, or altogether where there is none.
    before: u64,
    begun: bool,
}

impl Members {
    /// Inflates from `input` into `output`: how many bytes were taken and how many came out. Nothing of either: there
    /// is no more input, or no more room.
    pub fn inflate(&mut self, mut input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Corrupt> {
        let given = input.len();
        if self.member.is_none() && self.begun {
            let zeros = input.iter().take_while(|byte| **byte == 0).count();
            self.before += zeros as u64;
            input = &input[zeros..];
        }
        let zeros = given - input.len();
        // A member may have more to give without more to take.
        if output.is_empty() || (input.is_empty() && self.member.is_none()) {
            return Ok((zeros, 0));
        }
        if self.member.is_none() && self.begun && input[0] != MAGIC[0] {
            return Err(Corrupt { offset: self.before, what: "no gzip after the end of a member" });
        }
        self.begun = true;
        let member = self.member.get_or_insert_with(|| Decompress::new_gzip(WINDOW));
        let (taken, made) = (member.total_in(), member.total_out());
        let result = member.decompress(input, output, FlushDecompress::None);
        let offset = self.before + member.total_in();
        let (taken, made) = (member.total_in() - taken, member.total_out() - made);
        match result {
            Ok(Status::StreamEnd) => {
                self.before = offset;
                self.member = None;
            }
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => return Err(Corrupt { offset, what: "corrupt gzip data" }),
        }
        Ok((zeros + taken as usize, made as usize))
    }

    /// At the end of the input: whether the last member is whole.
    pub fn finish(&self) -> Result<(), Corrupt> {
        match &self.member {
            None => Ok(()),
            Some(member) => {
                let offset = self.before + member.total_in();
                Err(Corrupt { offset, what: "gzip data cut off" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Everything that comes out of `data`, given and taken in pieces of these sizes.
    fn inflate(data: &[u8], input: usize, output: usize) -> Result<Vec<u8>, Corrupt> {
        let mut members = Members::default();
        let (mut inflated, mut piece) = (Vec::new(), vec![0; output]);
        let mut given = 0;
        for part in data.chunks(input) {
            let mut rest = part;
            loop {
                let (taken, made) = members.inflate(rest, &mut piece)?;
                rest = &rest[taken..];
                inflated.extend_from_slice(&piece[..made]);
                if (taken, made) == (0, 0) {
                    break;
                }
            }
            assert!(rest.is_empty(), "{} bytes left at {given}", rest.len());
            given += part.len();
        }
        members.finish().map(|()| inflated)
    }

    #[test]
    fn members_one_after_the_other_with_zeros_between() {
        let data = [&gzip(b"one ")[..], &[0; 9], &gzip(b""), &gzip(b"two"), &[0; 3]].concat();
        for size in [1, 2, 7, 1000] {
            assert_eq!(inflate(&data, size, size).as_deref(), Ok(&b"one two"[..]));
        }
        let offset = data.len() as u64;
        let after = [&data[..], b"more"].concat();
        let error = Corrupt { offset, what: "no gzip after the end of a member" };
        assert_eq!(inflate(&after, 1000, 1000), Err(error.clone()));
        assert_eq!(error.to_string(), format!("no gzip after the end of a member at byte {offset}"));
        assert_eq!(inflate(b"", 1, 1), Ok(Vec::new()));
        assert!(inflate(b"no gzip", 1, 1).is_err());
    }

    #[test]
    fn every_cut_and_every_wrong_sum_shows() {
        let data = gzip(b"some text, some text, some text");
        for length in 1..data.len() {
            let cut = inflate(&data[..length], 5, 5);
            assert_eq!(cut, Err(Corrupt { offset: length as u64, what: "gzip data cut off" }));
        }
        for from_end in 1..=8 {
            let mut spoilt = data.clone();
            let at = spoilt.len() - from_end;
            spoilt[at] ^= 1;
            assert_eq!(inflate(&spoilt, 5, 5).map_err(|error| error.what), Err("corrupt gzip data"));
        }
    }

    proptest! {
        /// However they are cut, the bytes that went in come out.
        #[test]
        fn whatever_is_compressed_comes_out(
            texts in vec(vec(0_u8..4, 0..300), 0..4), input in 1_usize..50, output in 1_usize..50,
        ) {
            let data = texts.iter().flat_map(|text| gzip(text)).collect::<Vec<_>>();
            prop_assert_eq!(inflate(&data, input, output), Ok(texts.concat()));
        }

        /// No spoilt bytes make it panic or go on for ever.
        #[test]
        fn spoilt_bytes_are_errors(text in vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut data = gzip(&text);
            let at = at.index(data.len());
            data[at] ^= 1_u8 << bit;
            // Some bits of a header mean nothing to us.
            if let Ok(inflated) = inflate(&data, 7, 50) {
                prop_assert_eq!(inflated, text);
            }
        }
    }

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
