//! The page of a folder: one answer without anything beside it, that works without scripts.

use std::fmt::Write;

use stdserve_proto::access_log::Time;

use super::order::{Key, Order};
use super::{List, Row};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing but the page's own style and script, each by the SHA-256 of its file, may do anything: what a name might
/// smuggle in, in spite of escaping, does not run.
pub(crate) const PAGE_POLICY: &str = "default-src 'none'; style-src 'sha256-Uyqs7VkTRbopSEEhIhu/PcZO3QrfPS2Lw7iBzB9lFes='; script-src 'sha256-amKiMJwXO1VinlvL5TyjtU3D8WUpNOtdjQAsA7xQnDY='; form-action 'self'; base-uri 'none'";

/// Writing to a string does not fail: what it gives is dropped.
impl List<'_> {
    pub(super) fn html(&self) -> String {
        let mut out = String::with_capacity(8192 + self.rows.len() * 256);
        let mount = String::from_utf8_lossy(self.mount);
        let path = String::from_utf8_lossy(self.path.as_bytes());
        out.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
        escape(&mount, &mut out);
        out.push('/');
        escape(&path, &mut out);
        out.push_str("</title>\n<style>");
        out.push_str(STYLE);
        out.push_str("</style>\n</head>\n<body>\n<main>\n<h1>");
        crumbs(&mount, &path, &mut out);
        out.push_str("</h1>\n");
        out.push_str(
            "<label hidden>Filter: <input id=\"filter\" type=\"search\" autocomplete=\"off\"></label>\n",
        );
        out.push_str("<table>\n<thead><tr>");
        for (key, name, title) in Key::ALL {
            self.heading(key, name, title, &mut out);
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        if !path.is_empty() {
            out.push_str(
                "<tr class=\"folder\"><td><a id=\"above\" href=\"../\">../</a></td><td></td><td></td></tr>\n",
            );
        }
        for row in &self.rows {
            html_row(row, &mut out);
        }
        out.push_str("</tbody>\n</table>\n");
        self.summary(&mut out);
        if self.upload {
            out.push_str("<form method=\"post\" enctype=\"multipart/form-data\">");
            out.push_str(
                "<label>Bring files: <input type=\"file\" name=\"file\" multiple required></label> ",
            );
            out.push_str("<button>Upload</button></form>\n");
        }
        out.push_str("</main>\n<script>");
        out.push_str(SCRIPT);
        out.push_str("</script>\n</body>\n</html>\n");
        out
    }

    fn heading(&self, key: Key, name: &str, title: &str, out: &mut String) {
        let Order { key: now, descending } = self.order;
        let (sort, order) = match (now == key, descending) {
            (true, false) => (" aria-sort=\"ascending\"", "desc"),
            (true, true) => (" aria-sort=\"descending\"", "asc"),
            (false, _) => ("", "asc"),
        };
        let _ = write!(out, "<th{sort}><a href=\"?sort={name}&amp;order={order}\">{title}</a></th>");
    }

    fn summary(&self, out: &mut String) {
        let folders = self.rows.iter().filter(|row| row.is_folder).count();
        let files = self.rows.len() - folders;
        let total: u64 = self.rows.iter().filter(|row| !row.is_folder).map(|row| row.size).sum();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let _ = writeln!(
            out,
            "<p>{folders} folder{}, {files} file{}, {}.{}</p>",
            plural(folders),
            plural(files),
            human(total),
            if self.more { " There is more than is listed here." } else { "" }
        );
    }
}

/// The way here from the root, each folder a link. They are relative, so that they hold behind any proxy.
fn crumbs(mount: &str, path: &str, out: &mut String) {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let mut above = names.len();
    let mut crumb = |text: &str, out: &mut String| {
        out.push_str("<a href=\"");
        out.push_str(if above == 0 { "./" } else { "" });
        out.push_str(&"../".repeat(above));
        out.push_str("\">");
        escape(text, out);
        out.push_str("/</a>");
        above = above.saturating_sub(1);
    };
    crumb(mount, out);
    for name in names {
        out.push(' ');
        crumb(name, out);
    }
}

fn html_row(row: &Row, out: &mut String) {
    out.push_str(if row.is_folder { "<tr class=\"folder\"><td><a href=\"" } else { "<tr><td><a href=\"" });
    escape(&row.href(), out);
    out.push_str("\">");
    escape(&row.shown(), out);
    out.push_str("</a></td><td");
    if row.is_folder {
        out.push('>');
    } else {
        let _ = write!(out, " title=\"{} bytes\">{}", row.size, human(row.size));
    }
    let mut time = Vec::new();
    Time { seconds: row.modified, micros: 0, offset: 0 }.rfc3339(&mut time);
    let time = String::from_utf8_lossy(&time);
    let (day, rest) = time.split_once('T').unwrap_or_default();
    let minute = rest.get(..5).unwrap_or_default();
    let _ = writeln!(out, "</td><td><time datetime=\"{day}T{minute}Z\">{day} {minute}</time></td></tr>");
}

/// Makes text of anything, within elements and within attributes in double quotes.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of what follows make names look like others (`gpj.exe`).
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            control if control.is_control() => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
}

/// A size as people read it: three digits or so, and a unit of 1,024 of the one before.
fn human(size: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1024.0;
    let mut unit = 0;
    // What would be written as 1024.0 is 1.0 of the next one.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human(size), text);
        }
    }

    #[test]
    fn nothing_in_a_name_is_markup() {
        let mut out = String::new();
        escape("<img src=x onerror='a' b=\"c\">&\u{202e}\n", &mut out);
        assert_eq!(out, "&lt;img src=x onerror=&#39;a&#39; b=&quot;c&quot;&gt;&amp;\u{fffd}\u{fffd}");
    }

    #[test]
    fn nothing_comes_from_elsewhere() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("http") && !text.contains("url(") && !text.contains("</"));
        }
    }
}
