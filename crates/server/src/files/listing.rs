//! What is in a folder: as a page, or as JSON.

mod order;
mod page;

use std::borrow::Cow;
use std::fmt::Write;

use stdserve_proto::clean_path::CleanPath;
use stdserve_sys::beneath::{Folder, Kind};

use super::Files;
use super::ask::Ask;
use super::decide::What;
use super::find::{Trouble, http_date};
use order::Order;

pub(super) use page::PAGE_POLICY;

/// A list, ready to be sent.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) body: Vec<u8>,
    pub(super) content_type: &'static str,
}

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: Vec<u8>,
    is_folder: bool,
    size: u64,
    /// Seconds since 1970.
    modified: i64,
}

/// Everything of a folder that is listed.
#[derive(Debug)]
struct List<'a> {
    path: &'a CleanPath,
    mount: &'a [u8],
    rows: Vec<Row>,
    /// There is more than is listed.
    more: bool,
    order: Order,
    /// Whether files may be brought.
    upload: bool,
}

impl Files {
    pub(super) fn list(
        &self,
        folder: &Folder,
        path: &CleanPath,
        mount: &[u8],
        query: &[u8],
        ask: &Ask<'_>,
    ) -> Result<Page, What> {
        let order = Order::of_query(query);
        let (mut rows, more) =
            self.rows(folder, path).map_err(|error| self.trouble(path.as_bytes(), Trouble::from(error)))?;
        order.sort(&mut rows);
        let upload = self.rules.upload;
        let list = List { path, mount, rows, more, order, upload };
        let json = query.split(|&byte| byte == b'&').any(|pair| pair == b"format=json")
            || ask.names(b"application/json") && !ask.names(b"text/html");
        Ok(if json {
            Page { body: list.json().into_bytes(), content_type: "application/json" }
        } else {
            Page { body: list.html().into_bytes(), content_type: "text/html; charset=utf-8" }
        })
    }

    fn rows(&self, folder: &Folder, path: &CleanPath) -> std::io::Result<(Vec<Row>, bool)> {
        let mut rows = Vec::new();
        for entry in folder.entries()? {
            let name = entry?.name;
            // The one name with a dot that is served: RFC 8615.
            let is_known = path.as_bytes().is_empty() && name == b".well-known";
            if name.starts_with(b".") && !self.rules.hidden && !is_known {
                continue;
            }
            // Gone meanwhile, or leading outside: not here.
            let Ok(mut status) = folder.status(&name) else { continue };
            if status.kind == Kind::Link {
                let mut at = path.as_bytes().to_vec();
                if !at.is_empty() {
                    at.push(b'/');
                }
                at.extend_from_slice(&name);
                let Ok(behind) = self.root.status(&at) else { continue };
                status = behind;
            }
            let is_folder = match status.kind {
                Kind::Folder => true,
                Kind::File => false,
                Kind::Link | Kind::Other => continue,
            };
            if rows.len() == self.rules.listing_limit {
                return Ok((rows, true));
            }
            rows.push(Row { name, is_folder, size: status.size, modified: status.modified.0 });
        }
        Ok((rows, false))
    }
}

impl Row {
    /// The name, with a slash behind that of a folder. Bytes that are not UTF-8 become replacement characters.
    fn shown(&self) -> Cow<'_, str> {
        let name = String::from_utf8_lossy(&self.name);
        if self.is_folder { Cow::Owned(format!("{name}/")) } else { name }
    }

    /// Where it leads from the folder's page. The dot keeps a colon in the name from making a scheme of it.
    fn href(&self) -> String {
        let mut href = b"./".to_vec();
        stdserve_proto::percent::encode_path(&self.name, &mut href);
        if self.is_folder {
            href.push(b'/');
        }
        String::from_utf8_lossy(&href).into_owned()
    }
}

impl List<'_> {
    /// An array of objects, as nginx's `autoindex_format json` has it, and the address of each.
    fn json(&self) -> String {
        let mut out = "[".to_owned();
        for (at, row) in self.rows.iter().enumerate() {
            out.push_str(if at == 0 { "\n{\"name\":" } else { ",\n{\"name\":" });
            json_string(&String::from_utf8_lossy(&row.name), &mut out);
            out.push_str(if row.is_folder { ",\"type\":\"directory\"" } else { ",\"type\":\"file\"" });
            out.push_str(",\"mtime\":");
            json_string(&http_date(row.modified), &mut out);
            if !row.is_folder {
                out.push_str(",\"size\":");
                out.push_str(&row.size.to_string());
            }
            out.push_str(",\"href\":");
            json_string(&row.href(), &mut out);
            out.push('}');
        }
        out.push_str("\n]\n");
        out
    }
}

/// Appends a JSON string (RFC 8259 §7), with its quotes.
fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Legal in JSON, and trouble wherever JSON meets markup or JavaScript.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escape(character, out),
            control if control.is_control() => escape(control, out),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

fn escape(character: char, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_string() {
        let mut out = String::new();
        json_string("a\"b\\c\n</script>\u{2028}\u{7f}\u{e9}", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c\\u000a\\u003c/script\\u003e\\u2028\\u007f\u{e9}\"");
    }

    #[test]
    fn addresses_stay_in_the_folder() {
        let href =
            |name: &[u8], is_folder| Row { name: name.to_vec(), is_folder, size: 0, modified: 0 }.href();
        assert_eq!(href(b"javascript:alert(1)", false), "./javascript%3Aalert%281%29");
        assert_eq!(href(b"\\\\evil", true), "./%5C%5Cevil/");
        assert_eq!(href(b"a\" onclick=\"b", false), "./a%22%20onclick%3D%22b");
    }
}
