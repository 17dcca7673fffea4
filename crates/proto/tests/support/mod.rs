//! A client and a server in memory: bytes go in by pieces, what the reader makes of them is written down.
#![allow(dead_code, unreachable_pub)] // each test binary uses its part, and only such binaries can

pub mod answers;
pub mod fuzzing;
pub mod rules;

use std::path::PathBuf;

use stdserve_proto::h1::{Event, HeadLimits, Phase, Refusal, RequestHead, RequestReader, Version};

/// An accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub path: Vec<u8>,
    pub query: Vec<u8>,
    pub version: Version,
    pub host: Option<Vec<u8>>,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub codings: Vec<Vec<u8>>,
    pub body: Vec<u8>,
    pub keep_alive: bool,
    pub expects_continue: bool,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All bytes were read, and the reader is in this phase.
    Starved(Phase),
    /// The last request does not keep the connection.
    Closed,
    Refused(Refusal),
}

/// Where the wire fixtures stand.
pub fn wire_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire")
}

/// Feeds `raw` in pieces of `piece` bytes, as a server would.
pub fn converse(raw: &[u8], piece: usize, limits: &HeadLimits) -> (Vec<Seen>, Ending) {
    let mut cuts = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        at = at.saturating_add(piece.max(1)).min(raw.len());
        cuts.push(at);
    }
    converse_cut(raw, &cuts, limits)
}

/// Feeds `raw` up to each of `cuts` in turn, which rise to its length.
pub fn converse_cut(raw: &[u8], cuts: &[usize], limits: &HeadLimits) -> (Vec<Seen>, Ending) {
    let (mut reader, mut head) = (RequestReader::new(), RequestHead::default());
    let (mut seen, mut body) = (Vec::new(), Vec::new());
    let mut consumed = 0;
    let mut cuts = cuts.iter();
    let mut received = 0;
    loop {
        let input = &raw[consumed..received];
        let (count, event) = match reader.read(input, limits, &mut head) {
            Ok(read) => read,
            Err(refusal) => {
                assert_eq!(reader.phase(), Phase::Refused);
                reader.next_request();
                assert_eq!(
                    reader.read(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", limits, &mut head),
                    Err(refusal)
                );
                return (seen, Ending::Refused(refusal));
            }
        };
        assert!(count <= input.len(), "no more is consumed than there is");
        match event {
            Event::Incomplete => match cuts.next() {
                Some(&cut) => received = cut,
                None => return (seen, Ending::Starved(reader.phase())),
            },
            Event::Head => assert_eq!(head.as_bytes(), &input[count - head.as_bytes().len()..count]),
            Event::Body { start, len } => {
                assert!(len > 0 && start + len <= count, "data is among what is consumed");
                body.extend_from_slice(&input[start..start + len]);
            }
            Event::End => {
                seen.push(Seen {
                    method: head.method().to_vec(),
                    target: head.target().to_vec(),
                    path: head.path().to_vec(),
                    query: head.query().to_vec(),
                    version: head.version(),
                    host: head.host().map(<[u8]>::to_vec),
                    fields: head.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
                    codings: head.transfer_codings().map(<[u8]>::to_vec).collect(),
                    body: std::mem::take(&mut body),
                    keep_alive: head.keep_alive(),
                    expects_continue: head.expects_continue(),
                });
                if !head.keep_alive() {
                    return (seen, Ending::Closed);
                }
                reader.next_request();
                assert!(reader.is_idle());
            }
        }
        consumed += count;
    }
}
