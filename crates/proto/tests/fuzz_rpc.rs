//! Fuzzing the documents of remote calls: good ones, spoilt. See `fuzz/README.md`.

mod support;

use stdserve_proto::jsonrpc;
use stdserve_proto::xmlrpc::{Call, Limits, Problem, Response};

use support::fuzzing::{Random, mutate, run, show_on_panic};

const DOCUMENTS: &[&str] = &[
    "<?xml version='1.0'?>\n<methodCall>\n<methodName>add</methodName>\n<params>\n<param>\n<value><int>2</int></value>\n\
     </param>\n<param>\n<value><double>-1.5e-7</double></value>\n</param>\n</params>\n</methodCall>\n",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><methodResponse><params><param><value><array><data>\
     <value>a&amp;b&#x20ac;</value><value><nil/></value><value><boolean>1</boolean></value>\
     <value><base64>aGVsbG8=</base64></value></data></array></value></param></params></methodResponse>",
    "<methodResponse><params><param><value><struct><member><name>k</name><value><ex:i8 xmlns:ex='x'>-5</ex:i8></value>\
     </member><member><name>\u{e9}</name><value><dateTime.iso8601>20260102T03:04:05</dateTime.iso8601></value></member>\
     </struct></value></param></params></methodResponse>",
    "<methodResponse><fault><value><struct><member><name>faultCode</name><value><i4>4</i4></value></member><member>\
     <name>faultString</name><value><string><![CDATA[a]]>\r\n</string></value></member></struct></value></fault>\
     </methodResponse>",
    r#"{"jsonrpc": "2.0", "method": "add", "params": [1, {"b": [2.5e3, null]}], "id": "x"}"#,
    r#"[{"jsonrpc": "2.0", "method": "a", "params": {"b": "\u00e9\""}}, 5]"#,
];

const WORDS: &[&[u8]] = &[
    b"<value>",
    b"</value>",
    b"<value/>",
    b"<nil/>",
    b"<array>",
    b"</array>",
    b"<data>",
    b"<struct>",
    b"</struct>",
    b"<name>",
    b"</name>",
    b"<int>",
    b"</int>",
    b"<double>",
    b"<base64>",
    b"<params>",
    b"</params>",
    b"<fault>",
    b"<!-- x -->",
    b"<![CDATA[",
    b"]]>",
    b"<!DOCTYPE a>",
    b"<?pi ?>",
    b"<?xml version='1.0'?>",
    b"&lt;",
    b"&x;",
    b"&#65;",
    b"&#x110000;",
    b" a='b'",
    b"<",
    b">",
    b"/",
    b"&",
    b";",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b"\xef\xbf\xbf",
    b"9999999999999999999",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b",",
    b":",
    b"null",
    b"encoding='iso-8859-1'",
];

fn spoilt(random: &mut Random) -> Vec<u8> {
    let corpus: Vec<Vec<u8>> = DOCUMENTS.iter().map(|document| document.as_bytes().to_vec()).collect();
    let mut raw = corpus[random.below(corpus.len())].clone();
    if random.one_in(8) {
        raw = String::from_utf8_lossy(&raw).encode_utf16().flat_map(u16::to_le_bytes).collect();
    }
    mutate(&mut raw, &corpus, WORDS, random);
    raw
}

fn limits(random: &mut Random) -> Limits {
    if !random.one_in(4) {
        return Limits::default();
    }
    Limits {
        body: random.below(600),
        depth: random.below(4),
        elements: random.below(20),
        string: random.below(20),
        ..Limits::default()
    }
}

/// No document makes the decoder panic; what it accepts comes out the same when it is written and read again; no
/// limit is passed; a DOCTYPE is never accepted.
#[test]
fn xmlrpc_documents() {
    run("fuzz_rpc", "xmlrpc_documents", |seed| {
        let mut random = Random(seed);
        let raw = spoilt(&mut random);
        let limits = limits(&mut random);
        show_on_panic(&raw, || {
            if let Ok(call) = Call::decode(&raw, &limits) {
                accepted(&raw, &limits);
                let again =
                    Call::decode(&call.encode(), &Limits::default()).expect("what was written is read");
                // NaN is not equal to itself; its words are.
                assert_eq!(format!("{again:?}"), format!("{call:?}"));
            }
            match Response::decode(&raw, &limits) {
                Ok(response) => {
                    accepted(&raw, &limits);
                    let again = Response::decode(&response.encode(), &Limits::default()).expect("read again");
                    assert_eq!(format!("{again:?}"), format!("{response:?}"));
                }
                Err(error) => assert!(error.line > 0 && !error.to_string().is_empty()),
            }
        });
    });
}

fn accepted(raw: &[u8], limits: &Limits) {
    // Within a comment, a processing instruction or CDATA it declares nothing.
    let hidden = [b"<!--".as_slice(), b"<?", b"<![CDATA["];
    let may_hide = hidden.iter().any(|opening| raw.windows(opening.len()).any(|part| part == *opening));
    // In UTF-16, in which alone there are zeros, these bytes are other characters.
    let is_wide = raw.contains(&0);
    assert!(may_hide || is_wide || !raw.windows(9).any(|part| part == b"<!DOCTYPE"));
    // UTF-16 may become shorter.
    assert!(raw.len() <= limits.body);
    let halved = Limits { elements: 0, ..*limits };
    let refusal = Call::decode(raw, &halved).expect_err("it has elements");
    assert_eq!(refusal.problem, Problem::Limit("elements"));
}

/// No document makes the parser panic, and its parts are JSON of their own.
#[test]
fn jsonrpc_documents() {
    run("fuzz_rpc", "jsonrpc_documents", |seed| {
        let mut random = Random(seed);
        let raw = spoilt(&mut random);
        let limits =
            jsonrpc::Limits { depth: 1 + random.below(8), values: random.below(60), calls: random.below(3) };
        show_on_panic(&raw, || {
            let calls = match jsonrpc::parse(&raw, &limits) {
                Err(_) => return,
                Ok(jsonrpc::Request::Single(call)) => vec![call],
                Ok(jsonrpc::Request::Batch(calls)) => {
                    assert!((1..=limits.calls).contains(&calls.len()));
                    calls
                }
            };
            for call in calls.into_iter().flatten() {
                // Put together again, it means the same.
                let params = call.params.map_or_else(String::new, |params| format!(",\"params\":{params}"));
                let id = call.id.map_or_else(String::new, |id| format!(",\"id\":{id}"));
                let mut method = Vec::new();
                jsonrpc::write_error(&mut method, "null", jsonrpc::Code::Internal, &call.method);
                let method = String::from_utf8(method).expect("UTF-8");
                let method = &method[method.find("\"message\":").expect("a message") + 10..method.len() - 12];
                let again = format!("{{\"jsonrpc\":\"2.0\",\"method\":{method}{params}{id}}}");
                let all = jsonrpc::Limits { depth: 99, values: 999, calls: 9 };
                let again = jsonrpc::parse(again.as_bytes(), &all).expect("JSON");
                assert_eq!(again, jsonrpc::Request::Single(Ok(call)));
            }
        });
    });
}
