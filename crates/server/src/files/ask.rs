//! What a request asks for: its fields, gone through once.

use stdserve_proto::accept_encoding::Accepted;
use stdserve_proto::conditional::Conditions;
use stdserve_proto::h1::RequestHead;

/// The fields of a request that matter here. The first line of each counts.
#[derive(Debug, Default)]
pub(super) struct Ask<'a> {
    pub(super) conditions: Conditions<'a>,
    pub(super) encodings: Accepted,
    pub(super) accept: Option<&'a [u8]>,
    pub(super) authorization: Option<&'a [u8]>,
    pub(super) origin: Option<&'a [u8]>,
    pub(super) fetch_site: Option<&'a [u8]>,
    /// An OPTIONS that a browser sends before a request to another site.
    pub(super) preflight: bool,
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) content_encoding: Option<&'a [u8]>,
    pub(super) content_range: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn of(head: &'a RequestHead) -> Self {
        let mut ask = Self::default();
        for (name, value) in head.fields() {
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            let place = match name.len() {
                6 if is(b"accept") => &mut ask.accept,
                6 if is(b"origin") => &mut ask.origin,
                12 if is(b"content-type") => &mut ask.content_type,
                13 if is(b"authorization") => &mut ask.authorization,
                13 if is(b"content-range") => {
                    ask.content_range = true;
                    continue;
                }
                14 if is(b"sec-fetch-site") => &mut ask.fetch_site,
                15 if is(b"accept-encoding") => {
                    ask.encodings = Accepted::parse(value);
                    continue;
                }
                16 if is(b"content-encoding") => &mut ask.content_encoding,
                29 if is(b"access-control-request-method") => {
                    ask.preflight = true;
                    continue;
                }
                _ => {
                    ask.conditions.note(name, value);
                    continue;
                }
            };
            place.get_or_insert(value);
        }
        ask
    }

    /// Whether the client says by name that it takes `media_type`, and not that it takes anything.
    pub(super) fn names(&self, media_type: &[u8]) -> bool {
        self.accept.is_some_and(|accept| {
            accept.split(|&byte| byte == b',').any(|element| {
                let name = element.split(|&byte| byte == b';').next().unwrap_or_default();
                name.trim_ascii().eq_ignore_ascii_case(media_type)
            })
        })
    }
}
