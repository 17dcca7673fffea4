//! JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>): requests and batches taken apart, answers put together.
//!
//! Parameters, results and identities stay JSON: whoever runs the calls reads the first, writes the second, and the
//! third goes back as it came.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde_json::value::RawValue;

/// The errors that the specification gives numbers to, and those of an implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It is not JSON.
    Parse,
    /// It is JSON, and no request.
    InvalidRequest,
    /// There is no such method.
    MethodNotFound,
    /// The method does not take these parameters.
    InvalidParams,
    /// The server failed.
    Internal,
    /// One of the application's own, or of the range that is left to servers.
    Other(i64),
}

impl Code {
    /// Its number.
    pub fn number(self) -> i64 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::Other(number) => number,
        }
    }
}

/// Why a document, or a call in it, is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The number of the answer.
    pub code: Code,
    /// What is wrong.
    pub message: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Refused {}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// The name of the method.
    pub method: String,
    /// The parameters, an array or an object in JSON; `None`: there are none.
    pub params: Option<&'a str>,
    /// The identity in JSON: a string, a number or `null`. `None`: a notification, which is not answered.
    pub id: Option<&'a str>,
}

/// A request: one call, or several. Each that is no call has its error, which is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// One call.
    Single(Result<Call<'a>, Refused>),
    /// A batch, at least one.
    Batch(Vec<Result<Call<'a>, Refused>>),
}

/// Bounds on a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deeply arrays and objects may stand in one another, those of the request itself included.
    pub depth: usize,
    /// Values, names of members included.
    pub values: usize,
    /// Calls of a batch.
    pub calls: usize,
}

/// Takes a document apart.
pub fn parse<'a>(document: &'a [u8], limits: &Limits) -> Result<Request<'a>, Refused> {
    let refuse = |code, message| Err(Refused { code, message });
    let Ok(text) = std::str::from_utf8(document) else {
        return refuse(Code::Parse, "the request is not UTF-8");
    };
    let text = text.trim_ascii();
    measure(text.as_bytes(), limits)?;
    if !text.starts_with('[') {
        return match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Ok(Request::Single(call(raw.get()))),
            Err(_) => refuse(Code::Parse, "the request is not JSON"),
        };
    }
    let Ok(entries) = serde_json::from_str::<Vec<&'a RawValue>>(text) else {
        return refuse(Code::Parse, "the request is not JSON");
    };
    match entries.len() {
        0 => refuse(Code::InvalidRequest, "the batch is empty"),
        count if count > limits.calls => refuse(Code::InvalidRequest, "too many calls in one batch"),
        _ => Ok(Request::Batch(entries.into_iter().map(|raw| call(raw.get())).collect())),
    }
}

/// Counts depth and values without reading them. What is not JSON may be counted wrongly: it is refused anyway.
fn measure(text: &[u8], limits: &Limits) -> Result<(), Refused> {
    let (mut depth, mut values, mut in_string, mut escaped) = (0_usize, 1_usize, false, false);
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => {}
        }
        if depth > limits.depth || values > limits.values {
            let message = if depth > limits.depth { "values stand too deep" } else { "too many values" };
            return Err(Refused { code: Code::InvalidRequest, message });
        }
    }
    Ok(())
}

fn call(text: &str) -> Result<Call<'_>, Refused> {
    let refused = |message| Refused { code: Code::InvalidRequest, message };
    let members: HashMap<Cow<'_, str>, &RawValue> =
        serde_json::from_str(text).map_err(|_| refused("a call is an object"))?;
    let string =
        |name: &str| members.get(name).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    if string("jsonrpc").as_deref() != Some("2.0") {
        return Err(refused("\"jsonrpc\" must be \"2.0\""));
    }
    let method = string("method").ok_or_else(|| refused("\"method\" must be a string"))?;
    let params = members.get("params").map(|raw| raw.get());
    if params.is_some_and(|params| !params.starts_with(['[', '{'])) {
        return Err(refused("\"params\" must be an array or an object"));
    }
    let id = members.get("id").map(|raw| raw.get());
    if id.is_some_and(|id| id.starts_with(['[', '{', 't', 'f'])) {
        return Err(refused("\"id\" must be a string, a number or null"));
    }
    Ok(Call { method, params, id })
}

/// Appends the answer that `result`, a value in JSON, is.
pub fn write_result(out: &mut Vec<u8>, id: &str, result: &str) {
    for part in [r#"{"jsonrpc":"2.0","result":"#, result, r#","id":"#, id, "}"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends an error; `id` is `null` where the identity is not known.
pub fn write_error(out: &mut Vec<u8>, id: &str, code: Code, message: &str) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","error":{"code":"#);
    out.extend_from_slice(itoa::Buffer::new().format(code.number()).as_bytes());
    out.extend_from_slice(br#","message":"#);
    // A string can always be written.
    let _ = serde_json::to_writer(&mut *out, message);
    out.extend_from_slice(br#"},"id":"#);
    out.extend_from_slice(id.as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { depth: 5, values: 30, calls: 3 };

    fn single(document: &str) -> Result<Call<'_>, Refused> {
        match parse(document.as_bytes(), &LIMITS)? {
            Request::Single(call) => call,
            Request::Batch(calls) => panic!("{calls:?}"),
        }
    }

    #[test]
    fn a_call_is_taken_apart() {
        let call =
            single(r#" {"jsonrpc": "2.0", "method": "a\u0064d", "params": [1, {"b": 2}], "id": "x\"y"} "#);
        let expected =
            Call { method: "add".to_owned(), params: Some(r#"[1, {"b": 2}]"#), id: Some(r#""x\"y""#) };
        assert_eq!(call, Ok(expected));
        let call = single(r#"{"jsonrpc":"2.0","method":"m","id":null}"#);
        assert_eq!(call, Ok(Call { method: "m".to_owned(), params: None, id: Some("null") }));
        let notification = single(r#"{"jsonrpc":"2.0","method":"m","params":{}}"#).expect("a call");
        assert_eq!((notification.params, notification.id), (Some("{}"), None));
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for (document, code) in [
            ("", Code::Parse),
            ("{", Code::Parse),
            (r#"{"a":1}x"#, Code::Parse),
            ("[1,]", Code::Parse),
            (r#"{"jsonrpc":"2.0","method":"m","params":[NaN]}"#, Code::Parse),
            ("1", Code::InvalidRequest),
            ("null", Code::InvalidRequest),
            ("[]", Code::InvalidRequest),
            ("[1,1,1,1]", Code::InvalidRequest),
            ("{}", Code::InvalidRequest),
            (r#"{"method":"m","id":1}"#, Code::InvalidRequest),
            (r#"{"jsonrpc":2.0,"method":"m"}"#, Code::InvalidRequest),
            (r#"{"jsonrpc":"2.0","method":1}"#, Code::InvalidRequest),
            (r#"{"jsonrpc":"2.0","method":"m","params":1}"#, Code::InvalidRequest),
            (r#"{"jsonrpc":"2.0","method":"m","params":null}"#, Code::InvalidRequest),
            (r#"{"jsonrpc":"2.0","method":"m","id":[]}"#, Code::InvalidRequest),
            (r#"{"jsonrpc":"2.0","method":"m","id":true}"#, Code::InvalidRequest),
            ("[[[[[[]]]]]]", Code::InvalidRequest),
            (r#"["]]]]]]",[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]]"#, Code::InvalidRequest),
        ] {
            assert_eq!(single(document).map_err(|refused| refused.code), Err(code), "{document}");
        }
        assert_eq!(parse(b"\xff", &LIMITS).map_err(|refused| refused.code), Err(Code::Parse));
    }

    #[test]
    fn a_batch_keeps_what_is_bad_in_its_place() {
        let document = br#"[{"jsonrpc":"2.0","method":"a","id":1}, 5, {"jsonrpc":"2.0","method":"b"}]"#;
        let Ok(Request::Batch(calls)) = parse(document, &LIMITS) else { panic!("a batch") };
        let methods: Vec<_> = calls.iter().map(|call| call.as_ref().map(|call| &*call.method).ok()).collect();
        assert_eq!(methods, [Some("a"), None, Some("b")]);
    }

    #[test]
    fn answers_are_json() {
        let mut out = Vec::new();
        write_result(&mut out, "7", "[1]");
        assert_eq!(out, br#"{"jsonrpc":"2.0","result":[1],"id":7}"#);
        out.clear();
        write_error(&mut out, "null", Code::Other(5), "a \"b\"\n\u{1}");
        assert_eq!(
            String::from_utf8(out).expect("UTF-8"),
            r#"{"jsonrpc":"2.0","error":{"code":5,"message":"a \"b\"\n\u0001"},"id":null}"#
        );
    }

    proptest! {
        /// Nothing that is sent makes it panic, and what it takes out of a document is JSON.
        #[test]
        fn any_document_is_answered(document in "[\\[\\]{}\",:a-z0-9. \\\\]{0,60}") {
            if let Ok(Request::Single(Ok(call))) = parse(document.as_bytes(), &LIMITS) {
                for part in [call.params, call.id].into_iter().flatten() {
                    prop_assert!(serde_json::from_str::<&RawValue>(part).is_ok());
                }
            }
        }
    }
}
