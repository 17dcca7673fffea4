//! The body of a script's answer.

use super::{BadHead, Head};
use crate::h1::syntax::Chunked;
use crate::h1::{Event, HeadLimits};

/// Tells the body in what a script writes behind its head.
#[derive(Debug)]
pub enum BodyReader {
    /// All of it, to the end of the output.
    Plain,
    /// The data of chunks.
    Chunked(ChunkReader),
}

/// A chunked body.
#[derive(Debug, Default)]
pub struct ChunkReader {
    chunked: Chunked,
    limits: HeadLimits,
    ended: bool,
}

impl BodyReader {
    /// For the body that follows `head`.
    pub fn of(head: &Head) -> Self {
        if head.is_chunked() { Self::Chunked(ChunkReader::default()) } else { Self::Plain }
    }

    /// Turns what was written into the body's bytes, in place. What stands behind the last chunk is thrown away.
    pub fn decode(&mut self, data: &mut Vec<u8>) -> Result<(), BadHead> {
        let Self::Chunked(reader) = self else { return Ok(()) };
        let (mut at, mut kept) = (0, 0);
        while at < data.len() && !reader.ended {
            let (consumed, event) =
                reader.chunked.read(&data[at..], &reader.limits).map_err(|_| BadHead::Encoding)?;
            match event {
                Event::Body { start, len } => {
                    data.copy_within(at + start..at + start + len, kept);
                    kept += len;
                }
                Event::End => reader.ended = true,
                Event::Incomplete | Event::Head => {}
            }
            at += consumed;
            if consumed == 0 {
                break;
            }
        }
        data.truncate(kept);
        Ok(())
    }

    /// Whether the output may end here.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Chunked(reader) => reader.ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgi::{Form, HeadReader};

    fn chunked() -> BodyReader {
        let mut reader = HeadReader::new(Form::Nph, 1000);
        let (_, head) =
            reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap().unwrap();
        BodyReader::of(&head)
    }

    #[test]
    fn chunks_become_data_however_they_are_cut() {
        let all = b"5\r\nhello\r\n1;a=b\r\n \r\n6\r\nworld!\r\n0\r\n\r\nrubbish";
        for size in 1..all.len() {
            let mut reader = chunked();
            let mut body = Vec::new();
            for piece in all.chunks(size) {
                assert!(!reader.is_whole() || body == b"hello world!");
                let mut piece = piece.to_vec();
                reader.decode(&mut piece).unwrap();
                body.extend(piece);
            }
            assert!(reader.is_whole());
            assert_eq!(body, b"hello world!");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error_and_what_ends_early_is_not_whole() {
        assert_eq!(chunked().decode(&mut b"hello".to_vec()), Err(BadHead::Encoding));
        let mut reader = chunked();
        let mut piece = b"5\r\nhel".to_vec();
        reader.decode(&mut piece).unwrap();
        assert_eq!(piece, b"hel");
        assert!(!reader.is_whole());
    }
}
