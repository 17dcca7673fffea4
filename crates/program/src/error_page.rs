//! With `--reload`: what a worker answers whose application cannot be loaded, while no other load serves.

use stdserve_server::{Run, Service};

/// Answers every request with 500 and the reason, as a page that looks again until it is mended.
pub(crate) struct ErrorPage {
    page: Vec<u8>,
    plain: Vec<u8>,
}

impl ErrorPage {
    pub(crate) fn new(why: &str) -> Self {
        let mut shown = String::with_capacity(why.len());
        for c in why.chars() {
            match c {
                '&' => shown.push_str("&amp;"),
                '<' => shown.push_str("&lt;"),
                '>' => shown.push_str("&gt;"),
                c if c.is_control() && !matches!(c, '\n' | '\t') => shown.push('\u{fffd}'),
                c => shown.push(c),
            }
        }
        let page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"refresh\" content=\"2\">\n<title>Cannot be loaded</title>\n<style>\n\
             body {{ font: 16px/1.5 system-ui, sans-serif; margin: 3em auto; max-width: 60em; padding: 0 1em; }}\n\
             pre {{ background: #8881; border-left: 4px solid #c33; overflow: auto; padding: 1em; }}\n\
             </style>\n</head>\n<body>\n<h1>The application cannot be loaded</h1>\n<pre>{shown}</pre>\n\
             <p>It is loaded again as soon as a file changes, and this page looks for that.</p>\n</body>\n</html>\n"
        );
        Self {
            page: page.into_bytes(),
            plain: format!("The application cannot be loaded\n{why}\n").into_bytes(),
        }
    }
}

impl Service for ErrorPage {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(mut exchange) = run.next() {
            let wants_html = exchange.head().fields().any(|(name, value)| {
                name.eq_ignore_ascii_case(b"accept") && value.windows(9).any(|part| part == b"text/html")
            });
            let (kind, body): (&[u8], _) = if wants_html {
                (b"text/html; charset=utf-8", &self.page)
            } else {
                (b"text/plain; charset=utf-8", &self.plain)
            };
            let begun = exchange
                .begin(500, b"Internal Server Error")
                .and_then(|()| exchange.field(b"Content-Type", kind))
                .and_then(|()| exchange.field(b"Cache-Control", b"no-store"));
            if begun.is_ok() {
                exchange.complete(body);
            }
        }
    }
}
