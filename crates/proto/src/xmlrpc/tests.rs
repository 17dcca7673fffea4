//! Documents that are read, refused and written, beside what CPython makes of them.

use proptest::prelude::*;

use super::*;

fn document(value: &str) -> String {
    format!("<methodResponse><params><param>{value}</param></params></methodResponse>")
}

fn value_of(value: &str) -> Result<Value, Problem> {
    match Response::decode(document(value).as_bytes(), &Limits::default()) {
        Ok(Response::Value(value)) => Ok(value),
        Ok(Response::Fault(fault)) => panic!("{fault:?}"),
        Err(error) => Err(error.problem),
    }
}

fn refused(document: impl AsRef<[u8]>) -> Problem {
    Call::decode(document.as_ref(), &Limits::default()).expect_err("refused").problem
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn every_type_is_read() {
    for (written, value) in [
        ("<value><nil/></value>", Value::Nil),
        ("<value><ex:nil/></value>", Value::Nil),
        ("<value><boolean>1</boolean></value>", Value::Boolean(true)),
        ("<value><boolean>0</boolean></value>", Value::Boolean(false)),
        ("<value><int>-5</int></value>", Value::Integer(-5)),
        ("<value><i4>2147483648</i4></value>", Value::Integer(1 << 31)),
        ("<value><ex:i1> 7 </ex:i1></value>", Value::Integer(7)),
        ("<value><ex:i2>007</ex:i2></value>", Value::Integer(7)),
        ("<value><ex:i8>-9223372036854775808</ex:i8></value>", Value::Integer(i64::MIN)),
        ("<value><biginteger>+12</biginteger></value>", Value::Integer(12)),
        ("<value><double>-1.5e3</double></value>", Value::Double(-1500.0)),
        ("<value><float>.5</float></value>", Value::Double(0.5)),
        ("<value><double>inf</double></value>", Value::Double(f64::INFINITY)),
        ("<value><bigdecimal>1.10</bigdecimal></value>", Value::Decimal("1.10".to_owned())),
        ("<value><string>a b </string></value>", text("a b ")),
        ("<value>a b </value>", text("a b ")),
        ("<value></value>", text("")),
        ("<value/>", text("")),
        ("<value> <string/> </value>", text("")),
        ("<value><base64>aGVs\nbG8=</base64></value>", Value::Bytes(b"hello".to_vec())),
        ("<value><dateTime.iso8601> 20260102T03:04:05</dateTime.iso8601></value>", {
            Value::DateTime("20260102T03:04:05".to_owned())
        }),
        ("<value><array><data/></array></value>", Value::Array(Vec::new())),
        ("<value><array><data><value>1</value><value><int>1</int></value></data></array></value>", {
            Value::Array(vec![text("1"), Value::Integer(1)])
        }),
        ("<value><struct><member><name>a</name><value>1</value></member></struct></value>", {
            Value::Struct(vec![("a".to_owned(), text("1"))])
        }),
    ] {
        assert_eq!(value_of(written), Ok(value), "{written}");
    }
}

#[test]
fn text_is_put_together() {
    for (written, value) in [
        ("a&lt;b&gt;&amp;&quot;&apos;", "a<b>&\"'"),
        ("&#65;&#x42;&#x1F600;", "AB\u{1f600}"),
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("a<!-- no & --->b<?php ?>c".replace("--->", "-->").as_str(), "abc"),
        ("a<![CDATA[<b>&amp;]]]]>c", "a<b>&amp;]]c"),
        ("<![CDATA[a\r\nb\r\rc\r]]>\rd", "a\nb\n\nc\n\nd"),
        ("]] >", "]] >"),
    ] {
        assert_eq!(value_of(&format!("<value>{written}</value>")), Ok(text(value)), "{written}");
    }
}

#[test]
fn it_is_as_tolerant_as_cpython() {
    // Elements that mean nothing are skipped where no type is expected, and types need no value around them.
    assert_eq!(value_of("<value><struct><x><name>a</name><int>1</int></x></struct></value>"), {
        Ok(Value::Struct(vec![("a".to_owned(), Value::Integer(1))]))
    });
    assert_eq!(value_of("<string>a<b>c</b>d</string>"), Ok(text("cd")));
    assert_eq!(value_of("<value><spam/></value>"), Err(Problem::UnknownTag("spam".to_owned())));
    assert_eq!(value_of("<value><x:data/></value>"), Err(Problem::UnknownTag("data".to_owned())));
    assert_eq!(value_of("<value><boolean>2</boolean></value>"), Err(Problem::BadBoolean));
    assert_eq!(value_of("<value><int>x</int></value>"), Err(Problem::BadNumber));
    assert_eq!(value_of("<value><base64>aGVsbG</base64></value>"), Err(Problem::BadBase64));
    assert_eq!(value_of("<struct><name>a</name></struct>"), Err(Problem::Unpaired));
    assert_eq!(value_of("<struct><int>1</int><int>1</int></struct>"), Err(Problem::BadStruct));
}

#[test]
fn calls_and_faults_are_read() {
    let call = "<?xml version='1.0'?>\n<methodCall><methodName>a.b</methodName><params><param><value>x</value>\
                </param><param><value><i4>1</i4></value></param></params></methodCall>";
    let expected = Call { method: "a.b".to_owned(), params: vec![text("x"), Value::Integer(1)] };
    assert_eq!(Call::decode(call.as_bytes(), &Limits::default()), Ok(expected));
    let bare = Call::decode(b"<methodCall><methodName>n</methodName></methodCall>", &Limits::default());
    assert_eq!(bare, Ok(Call { method: "n".to_owned(), params: Vec::new() }));
    let fault = Response::Fault(Fault { code: 4, text: "<b> & c".to_owned() });
    assert_eq!(Response::decode(&fault.encode(), &Limits::default()), Ok(fault));
    assert_eq!(refused("<methodCall></methodCall>"), Problem::NotXmlRpc);
    assert_eq!(refused("<methodCall><params></params></methodCall>"), Problem::NotXmlRpc);
}

#[test]
fn xml_that_is_not_well_formed_is_refused() {
    use Problem::{
        BadCharacterReference, BadDeclaration, DuplicateAttribute, InvalidToken, JunkAfterDocument,
        MismatchedTag, MisplacedDeclaration, NoElement, Syntax, UnclosedElement, UnclosedToken,
        UndefinedEntity,
    };
    for (document, problem) in [
        ("", NoElement),
        (" \n", NoElement),
        ("<!-- a -->", NoElement),
        ("x", Syntax),
        ("<", UnclosedToken),
        ("<a", UnclosedToken),
        ("<a/", UnclosedToken),
        ("<a>", UnclosedElement),
        ("<a></a", UnclosedToken),
        ("<a></b>", MismatchedTag),
        ("<a><b></a></b>", MismatchedTag),
        ("<a></ab>", MismatchedTag),
        ("</a>", InvalidToken),
        ("<a/><b/>", JunkAfterDocument),
        ("<a/>x", JunkAfterDocument),
        ("<a/><![CDATA[]]>", InvalidToken),
        ("<1/>", InvalidToken),
        ("<a\u{d7}/>", InvalidToken),
        ("< a/>", InvalidToken),
        ("<a b='1' b='2'/>", DuplicateAttribute),
        ("<a b='1'c='2'/>", InvalidToken),
        ("<a b=1/>", InvalidToken),
        ("<a b='<'/>", InvalidToken),
        ("<a b='&x;'/>", UndefinedEntity),
        ("<a b/>", InvalidToken),
        ("<a b='", UnclosedToken),
        ("<a>&x;</a>", UndefinedEntity),
        ("<a>&x</a>", InvalidToken),
        ("<a>&;</a>", InvalidToken),
        ("<a>&#;</a>", InvalidToken),
        ("<a>&#x;</a>", InvalidToken),
        ("<a>&#0;</a>", BadCharacterReference),
        ("<a>&#xd800;</a>", BadCharacterReference),
        ("<a>&#xffff;</a>", BadCharacterReference),
        ("<a>&#x110000;</a>", BadCharacterReference),
        ("<a>&#99999999999999999999;</a>", BadCharacterReference),
        ("<a>\u{1}</a>", InvalidToken),
        ("<a>\u{ffff}</a>", InvalidToken),
        ("<a>]]></a>", InvalidToken),
        ("<a><![CDATA[\u{2}]]></a>", InvalidToken),
        ("<a><![CDATA[x</a>", UnclosedToken),
        ("<a><!-- -- --></a>", InvalidToken),
        ("<a><!- x --></a>", InvalidToken),
        ("<!-- ", UnclosedToken),
        (" <?xml version='1.0'?><a/>", MisplacedDeclaration),
        ("<?XML ?><a/>", InvalidToken),
        ("<?xml encoding='utf-8'?><a/>", BadDeclaration),
        ("<?xml version='1.0' standalone='maybe'?><a/>", BadDeclaration),
        ("<?xml version='1.0' standalone='yes' encoding='utf-8'?><a/>", BadDeclaration),
        ("<?xml version='1.0'encoding='utf-8'?><a/>", BadDeclaration),
        ("<?xml version=1.0?><a/>", BadDeclaration),
        ("<?xml version='1.0'", BadDeclaration),
    ] {
        assert_eq!(refused(document), problem, "{document}");
    }
}

#[test]
fn a_refusal_says_where() {
    let error = Call::decode(b"<a>\n<b>\n  </c>", &Limits::default()).expect_err("refused");
    assert_eq!(error.to_string(), "mismatched tag: line 3, column 2");
}

/// The entity expansion attack ("billion laughs", CVE-2003-1564), its quadratic form, and external entities: no
/// document that could declare an entity is read.
#[test]
fn cve_2003_1564_no_entity_can_be_declared() {
    let bomb = "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;'>]>\
                <methodCall><methodName>&b;</methodName></methodCall>";
    assert_eq!(refused(bomb), Problem::Doctype);
    assert_eq!(refused("<!DOCTYPE methodCall SYSTEM 'file:///etc/passwd'><methodCall/>"), Problem::Doctype);
    assert_eq!(refused("<!DOCTYPE methodCall><methodCall/>"), Problem::Doctype);
    let wide: Vec<u8> = bomb.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(refused(wide), Problem::Doctype);
    assert_eq!(refused("<a><!DOCTYPE x></a>"), Problem::Doctype);
}

#[test]
fn limits_hold_to_the_unit() {
    let nested = |depth: usize| {
        let open = "<value><array><data>".repeat(depth);
        document(&(open + &"</data></array></value>".repeat(depth)))
    };
    let limits = Limits { depth: 3, ..Limits::default() };
    assert!(Response::decode(nested(3).as_bytes(), &limits).is_ok());
    let refused = |document: &str, limits: &Limits| {
        Response::decode(document.as_bytes(), limits).expect_err("refused").problem
    };
    assert_eq!(refused(&nested(4), &limits), Problem::Limit("depth"));
    let others = "<a>".repeat(40);
    assert_eq!(refused(&others, &limits), Problem::Limit("depth"));

    let small = document("<value>1234</value>");
    let limits = Limits { elements: 4, string: 4, body: small.len(), ..Limits::default() };
    assert!(Response::decode(small.as_bytes(), &limits).is_ok());
    assert_eq!(refused(&small, &Limits { elements: 3, ..limits }), Problem::Limit("elements"));
    assert_eq!(refused(&small, &Limits { string: 3, ..limits }), Problem::Limit("bytes in a string"));
    assert_eq!(refused(&small, &Limits { body: small.len() - 1, ..limits }), Problem::Limit("bytes"));
}

#[test]
fn encodings_are_those_of_the_document() {
    let read = |document: &[u8]| match Response::decode(document, &Limits::default()) {
        Ok(Response::Value(Value::String(text))) => Ok(text),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.problem),
    };
    let declared = |encoding: &str, text: &[u8]| {
        let mut bytes = format!("<?xml version='1.0' encoding='{encoding}'?><params><value>").into_bytes();
        bytes.extend_from_slice(text);
        bytes.extend_from_slice(b"</value></params>");
        bytes
    };
    let euro = "é€";
    assert_eq!(read(&declared("UTF-8", euro.as_bytes())), Ok(euro.to_owned()));
    assert_eq!(read(&[b"\xef\xbb\xbf".as_slice(), &declared("utf-8", b"x")].concat()), Ok("x".to_owned()));
    assert_eq!(read(&declared("ISO-8859-1", b"\xe9")), Ok("é".to_owned()));
    assert_eq!(read(&declared("us-ascii", b"e")), Ok("e".to_owned()));
    assert_eq!(read(&declared("us-ascii", b"\xe9")), Err(Problem::InvalidToken));
    assert_eq!(read(&declared("utf-8", b"\xe9")), Err(Problem::InvalidToken));
    assert_eq!(read(&declared("utf-8", b"\xed\xa0\x80")), Err(Problem::InvalidToken));
    assert_eq!(read(&declared("utf-16", b"x")), Err(Problem::WrongEncoding));
    assert_eq!(read(&declared("klingon", b"x")), Err(Problem::UnknownEncoding));
    assert_eq!(read(&declared("<b>", b"x")), Err(Problem::BadDeclaration));
    for to_bytes in [u16::to_be_bytes, u16::to_le_bytes] {
        let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(to_bytes).collect() };
        let document = format!("<params><value>{euro}</value></params>");
        assert_eq!(read(&wide(&document)), Ok(euro.to_owned()));
        assert_eq!(read(&wide(&format!("\u{feff}{document}"))), Ok(euro.to_owned()));
        let declared = format!("\u{feff}<?xml version='1.0' encoding='UTF-16'?>{document}");
        assert_eq!(read(&wide(&declared)), Ok(euro.to_owned()));
        assert_eq!(read(&wide(&declared.replace("-16", "-8"))), Err(Problem::WrongEncoding));
        let cut = wide(&document);
        assert_eq!(read(&cut[..cut.len() - 1]), Err(Problem::UnclosedToken));
    }
}

#[test]
fn a_table_reads_other_encodings() {
    let mut table: Box<ByteTable> = Box::new(std::array::from_fn(|byte| Some(char::from(byte as u8))));
    table[0xa4] = Some('€');
    table[0xff] = None;
    let read = |bytes: &[u8], table: Box<ByteTable>| {
        to_utf8(bytes, |name| (name == "iso-8859-15").then_some(table)).map(std::borrow::Cow::into_owned)
    };
    let document = b"<?xml version='1.0' encoding='iso-8859-15'?>\xa4";
    assert!(read(document, table.clone()).expect("read").ends_with('€'));
    let bad = b"<?xml version='1.0' encoding='iso-8859-15'?>\xff";
    assert_eq!(read(bad, table.clone()).expect_err("refused").problem, Problem::InvalidToken);
    table[usize::from(b'<')] = Some('[');
    assert_eq!(read(document, table).expect_err("refused").problem, Problem::UnknownEncoding);
}

#[test]
fn what_is_written_is_what_cpython_writes() {
    // xmlrpc.client.dumps(([1, {'a<': 'x&y'}, b'h'*58, True, None, 1.5, DateTime('x')],), 'm', allow_none=True)
    let call = Call {
        method: "m".to_owned(),
        params: vec![Value::Array(vec![
            Value::Integer(1),
            Value::Struct(vec![("a<".to_owned(), text("x&y"))]),
            Value::Bytes(vec![b'h'; 58]),
            Value::Boolean(true),
            Value::Nil,
            Value::Double(1.5),
            Value::DateTime("x".to_owned()),
        ])],
    };
    let expected = "<?xml version='1.0'?>\n<methodCall>\n<methodName>m</methodName>\n<params>\n<param>\n\
        <value><array><data>\n<value><int>1</int></value>\n<value><struct>\n<member>\n<name>a&lt;</name>\n\
        <value><string>x&amp;y</string></value>\n</member>\n</struct></value>\n<value><base64>\n\
        aGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGho\naA==\n\
        </base64></value>\n<value><boolean>1</boolean></value>\n<value><nil/></value>\
        <value><double>1.5</double></value>\n<value><dateTime.iso8601>x</dateTime.iso8601></value>\n\
        </data></array></value>\n</param>\n</params>\n</methodCall>\n";
    assert_eq!(String::from_utf8(call.encode()).expect("UTF-8"), expected);
}

#[test]
fn a_date_with_markup_in_it_is_escaped() {
    let call =
        Call { method: "m".to_owned(), params: vec![Value::DateTime("20260102T03:04:<05".to_owned())] };
    let again = Call::decode(&call.encode(), &Limits::default()).expect("what was written is read");
    assert_eq!(again, call);
}

#[test]
fn a_careful_encoder_keeps_carriage_returns() {
    let mut plain = Encoder::default();
    plain.string("a\r\n<");
    assert_eq!(plain.finish(Header::None), b"<value><string>a\r\n&lt;</string></value>\n");
    let mut careful = Encoder::default().careful();
    careful.string("a\r\n<");
    assert_eq!(careful.finish(Header::None), b"<value><string>a&#13;\n&lt;</string></value>\n");
    for (text, fits) in [("a\t\r\né\u{fffd}", true), ("a\0", false), ("\u{1f}", false), ("\u{ffff}", false)]
    {
        assert_eq!(is_xml(text), fits, "{text:?}");
    }
}

#[test]
fn doubles_are_written_as_python_writes_them() {
    for (value, written) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (-1.25e-5, "-1.25e-05"),
        (1e-7, "1e-07"),
        // Two are equally short and equally near.
        (3_817_384_267_643_797.0 / 4.0, "954346066910949.2"),
        (286_036_393_403_953.0 / 16.0, "17877274587747.062"),
        (1.5e-10, "1.5e-10"),
        (123_456_789.125, "123456789.125"),
        (1e15, "1000000000000000.0"),
        (9_007_199_254_740_993.0, "9007199254740992.0"),
        (1e16, "1e+16"),
        (1.25e100, "1.25e+100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        let mut out = Vec::new();
        number::write_double(value, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), written);
    }
}

#[test]
fn base64_is_read_as_binascii_reads_it() {
    for (written, bytes) in [
        ("", Some("")),
        ("aGVsbG8=", Some("hello")),
        ("aGVs\nbG8=\n", Some("hello")),
        ("a G-V s b*G8=", Some("hello")),
        ("aGVsbA==bG8=", Some("hell")),
        ("=aGVs", Some("hel")),
        ("aGVsbG8", None),
        ("a", None),
        ("aA=", None),
    ] {
        assert_eq!(
            base64::decode(written.as_bytes()),
            bytes.map(|bytes| bytes.as_bytes().to_vec()),
            "{written}"
        );
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = "[ -~éß€\u{1f600}\\n\\t\\r]{0,12}";
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        any::<i16>().prop_map(|value| Value::Integer(value.into())),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |value| !value.is_nan())
            .prop_map(Value::Double),
        text.prop_map(Value::String),
        proptest::collection::vec(any::<u8>(), 0..130).prop_map(Value::Bytes),
        "[0-9]{8}T[0-9]{2}:00:00".prop_map(Value::DateTime),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((text, inner), 0..6).prop_map(|members| {
                Value::Struct(
                    members.into_iter().map(|(name, value)| (name.replace('\r', ""), value)).collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read_again(params in proptest::collection::vec(any_value(), 0..4), method in "[a-z<&.]{1,9}") {
        let call = Call { method, params };
        prop_assert_eq!(Call::decode(&call.encode(), &Limits::default()), Ok(call));
    }

    #[test]
    fn a_double_survives(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let mut out = Vec::new();
        number::write_double(value, &mut out);
        let read: f64 = std::str::from_utf8(&out).expect("ASCII").parse().expect("a number");
        prop_assert!(read.to_bits() == bits || value.is_nan());
    }

    #[test]
    fn base64_survives(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut text = Vec::new();
        base64::encode_lines(&bytes, &mut text);
        prop_assert_eq!(base64::decode(&text), Some(bytes));
    }
}
