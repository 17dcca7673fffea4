//! Compressing on the way.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

/// `content` as gzip (RFC 1952), without a name and a time in its head, so that the same content gives the same bytes.
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder: GzEncoder<Vec<u8>> = GzBuilder::new().write(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn it_comes_back() {
        for content in [&b""[..], b"hello", &[b'x'; 100_000]] {
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&gzip(content)[..]).read_to_end(&mut back).unwrap();
            assert_eq!(back, content);
        }
        assert!(gzip(&[b'x'; 100_000]).len() < 1000);
    }
}
