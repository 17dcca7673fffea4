//! Heads as scripts write them, good and bad, and that nothing depends on how they are cut.

use super::*;
use proptest::prelude::*;

fn read(form: Form, text: &[u8]) -> Result<(Head, usize), BadHead> {
    let mut reader = HeadReader::new(form, 1000);
    let (consumed, head) = reader.feed(text)?.expect("the head is whole");
    Ok((head, consumed))
}

fn parsed(text: &str) -> Result<Head, BadHead> {
    read(Form::Parsed, text.as_bytes()).map(|(head, _)| head)
}

fn nph(text: &str) -> Result<Head, BadHead> {
    read(Form::Nph, text.as_bytes()).map(|(head, _)| head)
}

fn fields(head: &Head) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.fields().map(|(name, value)| (text(name), text(value))).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn a_document() {
    for text in
        ["Content-Type: text/html\nX:\t a b \n\nbody\n", "Content-Type:text/html\r\nX: a b\r\n\r\nbody\n"]
    {
        let (head, consumed) = read(Form::Parsed, text.as_bytes()).unwrap();
        assert_eq!((head.status(), head.reason(), head.redirect()), (200, &b"OK"[..], Redirect::None));
        assert_eq!(fields(&head), [pair("Content-Type", "text/html"), pair("X", "a b")]);
        assert_eq!(&text[consumed..], "body\n");
    }
}

#[test]
fn statuses() {
    let status = |text: &str| {
        parsed(&format!("Status:{text}\n\n"))
            .map(|head| (head.status(), String::from_utf8_lossy(head.reason()).into_owned()))
    };
    assert_eq!(status(" 404 Nothing Here"), Ok((404, "Nothing Here".to_owned())));
    assert_eq!(status("404"), Ok((404, "Not Found".to_owned())));
    assert_eq!(status(" 599 "), Ok((599, String::new())));
    for bad in ["", "20", "2000", "abc", "100", "101", "199", "-20", "+20", "200OK", "2 0"] {
        assert_eq!(status(bad), Err(BadHead::Status), "{bad:?}");
    }
    assert_eq!(parsed("Status: 200\nstatus: 200\n\n"), Err(BadHead::Repeated));
    assert_eq!(parsed("Status: 200 a\0b\n\n"), Err(BadHead::Value));
}

#[test]
fn redirects() {
    let local = parsed("Location: /a/b?c=d\n\n").unwrap();
    assert_eq!(local.redirect(), Redirect::Local(b"/a/b?c=d"));
    let client = parsed("Location: https://h/x\n\n").unwrap();
    assert_eq!((client.status(), client.redirect()), (302, Redirect::Client(b"https://h/x")));
    assert_eq!(fields(&client), [pair("Location", "https://h/x")]);
    let document = parsed("Status: 301 Gone away\nLocation: /x\nContent-Type: text/plain\n\n").unwrap();
    assert_eq!((document.status(), document.redirect()), (301, Redirect::Client(b"/x")));
    for bad in ["Location:\n\n", "Location: a b\n\n", "Location: /caf\u{e9}\n\n"] {
        assert_eq!(parsed(bad), Err(BadHead::Location), "{bad:?}");
    }
    assert_eq!(parsed("Location: /a\nLocation: /a\n\n"), Err(BadHead::Repeated));
}

#[test]
fn what_is_no_head() {
    for (text, why) in [
        ("\n", BadHead::Empty),
        ("\r\n", BadHead::Empty),
        ("Hello\n", BadHead::Field),
        ("Traceback (most recent call last):\n\n", BadHead::Field),
        (": x\n", BadHead::Field),
        ("A B: x\n", BadHead::Field),
        ("A : x\n", BadHead::Field),
        ("A: x\n folded\n\n", BadHead::Field),
        ("A: x\ry\n\n", BadHead::Value),
        ("A: \0\n\n", BadHead::Value),
        ("HTTP/1.1 200 OK\n\n", BadHead::StatusLine),
        ("Content-Length: x\n\n", BadHead::ContentLength),
        ("Content-Length: 1\nContent-Length: 2\n\n", BadHead::ContentLength),
        ("Content-Type: a/b\ncontent-type: a/b\n\n", BadHead::Repeated),
    ] {
        assert_eq!(parsed(text), Err(why), "{text:?}");
    }
    assert_eq!(parsed(&format!("{}\n", "A: b\n".repeat(101))), Err(BadHead::TooManyFields));
}

#[test]
fn a_head_is_bounded() {
    let mut reader = HeadReader::new(Form::Parsed, 100);
    let error = (0..1000).find_map(|_| reader.feed(b"endless").err());
    assert_eq!(error, Some(BadHead::TooLarge));
    let mut reader = HeadReader::new(Form::Nph, 1000);
    let error = (0..1000).find_map(|_| reader.feed(b"HTTP/1.1 100 Go on\n\n").err());
    assert_eq!(error, Some(BadHead::TooLarge), "interim answers count");
}

#[test]
fn framing_is_not_the_scripts() {
    let head = parsed("Content-Length: 5\nContent-Length: 5\nTransfer-Encoding: gzip\n\n").unwrap();
    assert_eq!((head.content_length(), head.is_chunked()), (Some(5), false));
    assert_eq!(fields(&head), [pair("Content-Length", "5")]);
}

#[test]
fn the_whole_answer() {
    let head = nph("HTTP/1.0 404 Gone\r\nStatus: odd\r\nLocation: /x\r\n\r\n").unwrap();
    assert_eq!((head.status(), head.reason()), (404, &b"Gone"[..]));
    assert_eq!(fields(&head), [pair("Status", "odd"), pair("Location", "/x")]);
    assert_eq!(head.redirect(), Redirect::Client(b"/x"));
    assert_eq!(nph("HTTP/1.1 200\n\n").unwrap().reason(), b"OK");
    let head = nph("HTTP/1.1 200 OK\nContent-Length: 7\nTransfer-Encoding: Chunked\n\n").unwrap();
    assert_eq!((head.is_chunked(), head.content_length(), fields(&head)), (true, None, vec![]));
    let head =
        nph("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No\n\n").unwrap();
    assert_eq!((head.status(), fields(&head)), (204, vec![]));
    for (text, why) in [
        ("Content-Type: text/plain\n\n", BadHead::NoStatusLine),
        ("HTTP/1 200 OK\n\n", BadHead::NoStatusLine),
        ("HTTP/1.1 099 OK\n\n", BadHead::Status),
        ("HTTP/1.1 101 Switching\n\n", BadHead::Status),
        ("HTTP/1.1 200OK\n\n", BadHead::Status),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n", BadHead::Encoding),
    ] {
        assert_eq!(nph(text), Err(why), "{text:?}");
    }
}

#[test]
fn nothing_is_empty() {
    let mut reader = HeadReader::new(Form::Parsed, 10);
    assert!(reader.is_empty());
    assert_eq!(reader.feed(b""), Ok(None));
    assert_eq!(reader.feed(b"A"), Ok(None));
    assert!(!reader.is_empty());
}

proptest! {
    /// What is well-formed is read back, whatever the line ends and however it is cut.
    #[test]
    fn good_heads(
        names in prop::collection::vec("X-[A-Za-z0-9!#$%&'*+.^_`|~-]{1,10}", 1..8),
        values in prop::collection::vec("[!-~]{0,10}( [!-~]{1,5})?", 8),
        crlf in prop::collection::vec(any::<bool>(), 9),
        size in 1usize..50,
    ) {
        let wanted: Vec<_> = names.iter().zip(&values).map(|(name, value)| pair(name, value)).collect();
        let mut text = Vec::new();
        let end = |at: usize| if crlf[at] { "\r\n" } else { "\n" };
        for (at, (name, value)) in wanted.iter().enumerate() {
            text.extend(format!("{name}: {value}{}", end(at)).bytes());
        }
        text.extend(end(8).bytes());
        let length = text.len();
        text.extend(b"the body");
        let mut reader = HeadReader::new(Form::Parsed, 2000);
        let mut consumed = 0;
        let head = text.chunks(size).find_map(|piece| {
            let head = reader.feed(piece).unwrap();
            consumed += head.as_ref().map_or(piece.len(), |(of_it, _)| *of_it);
            head.map(|(_, head)| head)
        }).unwrap();
        prop_assert_eq!(consumed, length);
        let wanted: Vec<_> =
            wanted.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect();
        prop_assert_eq!(fields(&head), wanted);
    }
}
