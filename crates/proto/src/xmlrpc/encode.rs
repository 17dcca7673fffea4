//! From values to XML, byte for byte as CPython's `Marshaller` writes them.

use std::borrow::Cow;

use super::base64::encode_lines;
use super::number::write_double;

/// What stands around the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// `<methodCall>` with the name of the method. The name is written as it is: check or escape it before.
    Call(&'a str),
    /// `<methodResponse>`
    Response,
    /// Nothing: `<params>` alone.
    None,
}

/// Writes one document into a buffer.
///
/// ```
/// use stdserve_proto::xmlrpc::{Encoder, Header};
///
/// let mut encoder = Encoder::new(Vec::new());
/// encoder.begin(Header::Response, None);
/// encoder.begin_params();
/// encoder.begin_param();
/// encoder.int(5);
/// encoder.end_param();
/// encoder.end_params();
/// let bytes = encoder.finish(Header::Response);
/// assert!(bytes.starts_with(b"<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><int>5</int>"));
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
    careful: bool,
}

// Each writes one part of a document.
#[allow(missing_docs)]
impl Encoder {
    /// Appends to what `out` holds.
    pub fn new(out: Vec<u8>) -> Self {
        Self { out, careful: false }
    }

    /// Writes carriage returns as references from here on, so that readers do not take them for ends of lines.
    /// CPython writes them as they are.
    #[must_use]
    pub fn careful(self) -> Self {
        Self { careful: true, ..self }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// The XML declaration, with `encoding` where that is not UTF-8, and what `header` opens.
    pub fn begin(&mut self, header: Header<'_>, encoding: Option<&str>) {
        if header == Header::None {
            return;
        }
        self.put("<?xml version='1.0'");
        if let Some(encoding) = encoding {
            self.put(" encoding='");
            self.put(encoding);
            self.put("'");
        }
        self.put("?>\n");
        match header {
            Header::Call(method) => {
                self.put("<methodCall>\n<methodName>");
                self.put(method);
                self.put("</methodName>\n");
            }
            Header::Response => self.put("<methodResponse>\n"),
            Header::None => {}
        }
    }

    /// Closes what `header` opened; the document.
    pub fn finish(mut self, header: Header<'_>) -> Vec<u8> {
        self.put(match header {
            Header::Call(_) => "</methodCall>\n",
            Header::Response => "</methodResponse>\n",
            Header::None => "",
        });
        self.out
    }

    pub fn begin_params(&mut self) {
        self.put("<params>\n");
    }

    pub fn begin_param(&mut self) {
        self.put("<param>\n");
    }

    pub fn end_param(&mut self) {
        self.put("</param>\n");
    }

    pub fn end_params(&mut self) {
        self.put("</params>\n");
    }

    /// A fault, whole.
    pub fn fault(&mut self, code: i32, text: &str) {
        self.put("<fault>\n");
        self.begin_struct();
        self.begin_member("faultCode");
        self.int(code);
        self.end_member();
        self.begin_member("faultString");
        self.string(text);
        self.end_member();
        self.end_struct();
        self.put("</fault>\n");
    }

    pub fn nil(&mut self) {
        self.put("<value><nil/></value>");
    }

    pub fn boolean(&mut self, value: bool) {
        self.put(if value {
            "<value><boolean>1</boolean></value>\n"
        } else {
            "<value><boolean>0</boolean></value>\n"
        });
    }

    pub fn int(&mut self, value: i32) {
        self.put("<value><int>");
        self.put(itoa::Buffer::new().format(value));
        self.put("</int></value>\n");
    }

    /// An extension (Apache): an integer of 64 bits.
    pub fn i8(&mut self, value: i64) {
        self.put("<value><i8>");
        self.put(itoa::Buffer::new().format(value));
        self.put("</i8></value>\n");
    }

    pub fn double(&mut self, value: f64) {
        self.put("<value><double>");
        write_double(value, &mut self.out);
        self.put("</double></value>\n");
    }

    pub fn string(&mut self, text: &str) {
        self.put("<value><string>");
        self.escaped(text);
        self.put("</string></value>\n");
    }

    pub fn base64(&mut self, bytes: &[u8]) {
        self.put("<value><base64>\n");
        encode_lines(bytes, &mut self.out);
        self.put("</base64></value>\n");
    }

    /// A date in its own words, such as `20260102T03:04:05`. Nobody has checked that it is one: it may have come from
    /// the wire, so it is escaped like a string.
    pub fn date_time(&mut self, text: &str) {
        self.put("<value><dateTime.iso8601>");
        self.escaped(text);
        self.put("</dateTime.iso8601></value>\n");
    }

    pub fn begin_array(&mut self) {
        self.put("<value><array><data>\n");
    }

    pub fn end_array(&mut self) {
        self.put("</data></array></value>\n");
    }

    pub fn begin_struct(&mut self) {
        self.put("<value><struct>\n");
    }

    /// A member and its name; its value follows.
    pub fn begin_member(&mut self, name: &str) {
        self.put("<member>\n<name>");
        self.escaped(name);
        self.put("</name>\n");
    }

    pub fn end_member(&mut self) {
        self.put("</member>\n");
    }

    pub fn end_struct(&mut self) {
        self.put("</struct></value>\n");
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn escaped(&mut self, text: &str) {
        let escaped = escape(text);
        if self.careful && memchr::memchr(b'\r', escaped.as_bytes()).is_some() {
            self.out.extend_from_slice(escaped.replace('\r', "&#13;").as_bytes());
        } else {
            self.out.extend_from_slice(escaped.as_bytes());
        }
    }
}

/// Whether XML has all characters of `text`: no control characters but tab and the ends of lines, nor U+FFFE and
/// U+FFFF (XML 1.0, §2.2).
pub fn is_xml(text: &str) -> bool {
    let bad = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    !text.bytes().any(bad) && (text.is_ascii() || !text.contains(['\u{fffe}', '\u{ffff}']))
}

/// `text` with `&`, `<` and `>` as references, as `xmlrpc.client.escape` writes it.
fn escape(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr3(b'&', b'<', b'>', bytes) else { return Cow::Borrowed(text) };
    let mut escaped = String::with_capacity(text.len() + 16);
    let (mut done, mut next) = (0, Some(first));
    while let Some(at) = next {
        escaped.push_str(&text[done..at]);
        escaped.push_str(match bytes[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            _ => "&gt;",
        });
        done = at + 1;
        next = memchr::memchr3(b'&', b'<', b'>', &bytes[done..]).map(|ahead| done + ahead);
    }
    escaped.push_str(&text[done..]);
    Cow::Owned(escaped)
}
