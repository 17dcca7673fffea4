//! The page at `/`: one document, with its style and its script in it.

use stdserve_sys::clock;

/// The policy of all that is no page: nothing is run, nothing loaded, no frame shows it.
pub(super) const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page, and its Content-Security-Policy: only this style and this script count, which a number says that is made
/// anew for each answer, and only the plane itself is talked to.
pub(super) fn page() -> (String, String) {
    let nonce = format!("{:016x}{:016x}", clock::random_seed(), clock::random_seed());
    let html = HTML.replace("{nonce}", &nonce).replace("{css}", CSS).replace("{script}", SCRIPT);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (html, policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let (html, policy) = page();
        assert!(!html.contains("{css}") && !html.contains("{script}") && !html.contains("{nonce}"));
        // The name of SVG is no address that anything is loaded from.
        let others = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!others.contains("http://") && !others.contains("https://"), "nothing from elsewhere");
        // What the policy would not let through.
        for inline in [" onclick=", " style=\"", "javascript:", "innerHTML"] {
            assert!(!html.contains(inline), "{inline}");
        }
        let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce");
        assert_eq!(html.matches(nonce).count(), 2);
        assert_ne!(page().1, policy, "made anew each time");
    }
}
