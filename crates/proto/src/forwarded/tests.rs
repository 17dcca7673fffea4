//! Whom proxies may speak for, and which of several addresses is the client.

use proptest::prelude::*;

use super::*;

fn origin(trust: &str, peer: &str, fields: &[(&str, &str)]) -> Origin {
    let trust = Trust::parse(trust).expect("a list of peers");
    let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    apply(fields, peer.parse().ok(), &trust)
}

/// The address for one chain, with 10.0.0.0/8 trusted.
fn client(name: &str, value: &str) -> String {
    let origin = origin("10.0.0.0/8", "10.0.0.1", &[(name, value)]);
    origin.address.map_or("peer".into(), |address| address.to_string())
}

#[test]
fn without_such_fields_nothing_is_said() {
    assert_eq!(
        origin("*", "192.0.2.1", &[("Host", "a"), ("X-For", "b"), ("Forwarded-For", "c")]),
        Origin::default()
    );
}

#[test]
fn from_others_they_are_to_be_removed() {
    for name in ["X-Forwarded-For", "x-forwarded-proto", "X-FORWARDED-PORT", "Forwarded"] {
        let origin = origin("127.0.0.1,::1,unix", "192.0.2.1", &[(name, "1.2.3.4")]);
        assert_eq!(origin, Origin { strip: true, ..Origin::default() }, "{name}");
        assert!(is_forwarding_field(name.as_bytes()));
    }
    assert!(!is_forwarding_field(b"X-Forwarde"));
    assert!(!is_forwarding_field(b"From"));
    assert!(!is_forwarding_field(b""));
}

#[test]
fn the_rightmost_address_that_is_not_trusted() {
    for (value, expected) in [
        ("192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7, 10.0.0.9, 10.0.0.8", "192.0.2.7"),
        ("10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("\"[2001:db8::1]:80\"", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, ::ffff:10.0.0.9", "192.0.2.7"),
        (" , 192.0.2.7 ,, ", "192.0.2.7"),
        ("", "peer"),
        ("unknown", "peer"),
        ("1.1.1.1, unknown", "peer"),
        ("1.1.1.1, unknown, 10.0.0.9, 10.0.0.8", "10.0.0.9"),
        ("1.1.1.1, 999.0.0.1", "peer"),
        ("'; drop table", "peer"),
        ("192.0.2.7:99999", "peer"),
    ] {
        assert_eq!(client("X-Forwarded-For", value), expected, "{value}");
    }
}

#[test]
fn lines_of_a_field_are_one_list() {
    let fields =
        [("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "192.0.2.7"), ("X-Forwarded-For", "10.0.0.2")];
    let origin = origin("10.0.0.0/8", "10.0.0.1", &fields);
    assert_eq!(origin.address.map(|a| a.to_string()).as_deref(), Some("192.0.2.7"));
}

#[test]
fn ports() {
    let port = |value| origin("127.0.0.1", "127.0.0.1", &[("X-Forwarded-For", value)]).port;
    assert_eq!(port("192.0.2.7:4711"), Some(4711));
    assert_eq!(port("192.0.2.7:4711, 127.0.0.1:1"), Some(4711));
    assert_eq!(port("192.0.2.7"), None);
}

#[test]
fn scheme_host_and_prefix() {
    let one = |name, value| origin("unix", "", &[(name, value)]);
    assert_eq!(one("X-Forwarded-Proto", "https").scheme, Some(Scheme::Https));
    assert_eq!(one("X-Forwarded-Proto", "HTTP").scheme, Some(Scheme::Http));
    assert_eq!(one("X-Forwarded-Proto", "gopher").scheme, None);
    assert_eq!(one("X-Forwarded-Host", "Example.org:8443").host.as_deref(), Some("example.org:8443"));
    assert_eq!(one("X-Forwarded-Host", "[::1]:1").host.as_deref(), Some("[::1]:1"));
    for bad in ["a b", "a/b", "user@host", "", "a\"b", "é", "host:x"] {
        assert_eq!(one("X-Forwarded-Host", bad).host, None, "{bad}");
    }
    assert_eq!(one("X-Forwarded-Prefix", "/shop/").prefix.as_deref(), Some(&b"/shop"[..]));
    for bad in ["shop", "//evil.example", "/", "/a?b", "/a\\b", "/a b"] {
        assert_eq!(one("X-Forwarded-Prefix", bad).prefix, None, "{bad}");
    }
}

#[test]
fn lists_are_read_at_the_client_s_place() {
    let scheme = |addresses: &str, protos: &str| {
        let fields = [("X-Forwarded-For", addresses), ("X-Forwarded-Proto", protos)];
        origin("10.0.0.0/8", "10.0.0.1", &fields).scheme.map(Scheme::as_str)
    };
    // One trusted proxy: the client's own claim stands left.
    assert_eq!(scheme("1.1.1.1, 192.0.2.7", "https, http"), Some("http"));
    // Two trusted proxies: the outer one ended TLS.
    assert_eq!(scheme("192.0.2.7, 10.0.0.2", "https, http"), Some("https"));
    assert_eq!(scheme("1.1.1.1, 192.0.2.7, 10.0.0.2", "http, https, http"), Some("https"));
    // A list that was passed on as it was.
    assert_eq!(scheme("192.0.2.7, 10.0.0.2", "https"), Some("https"));
    assert_eq!(origin("unix", "", &[("X-Forwarded-Proto", "http, https")]).scheme, Some(Scheme::Https));
}

#[test]
fn forwarded_of_rfc_7239() {
    for (value, expected) in [
        ("for=192.0.2.43", "192.0.2.43"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("for=1.1.1.1, for=198.51.100.17", "198.51.100.17"),
        ("for=192.0.2.43, for=10.0.0.7", "192.0.2.43"),
        ("for=192.0.2.43:47011", "192.0.2.43"),
        ("for=\"192.0.2.43:_x\"", "192.0.2.43"),
        ("for=[2001:db8::1]", "2001:db8::1"),
        ("for=_hidden", "peer"),
        ("for=1.1.1.1, for=unknown", "peer"),
        ("for=1.1.1.1, proto=https", "peer"),
        ("for=1.1.1.1;for=2.2.2.2", "peer"),
        ("for=", "peer"),
        ("for=\"1.1.1.1", "peer"),
        ("=1.1.1.1", "peer"),
        ("1.1.1.1", "peer"),
        ("for =1.1.1.1", "peer"),
        (", ;, for=192.0.2.1;", "192.0.2.1"),
        // Quotes of the client's do not swallow what the proxy appends.
        ("for=\"x, for=192.0.2.7", "peer"),
        ("for=\"x, for=1.1.1.1, for=\"[2001:db8::1]:9\"", "peer"),
        ("for=\"x\\\", for=1.1.1.1\", for=192.0.2.7", "192.0.2.7"),
    ] {
        assert_eq!(client("Forwarded", value), expected, "{value}");
    }
}

#[test]
fn forwarded_scheme_and_host_are_of_the_element_that_names_the_client() {
    let value = "for=1.1.1.1;proto=http;host=evil.example, for=192.0.2.7;proto=https;host=\"a.example:1\", for=10.0.0.2;proto=http";
    let said = origin("10.0.0.0/8", "10.0.0.1", &[("Forwarded", value)]);
    assert_eq!((said.scheme, said.host.as_deref()), (Some(Scheme::Https), Some("a.example:1")));
    let said = origin("10.0.0.0/8", "10.0.0.1", &[("Forwarded", "for=1.1.1.1;proto=https, broken")]);
    assert_eq!(said, Origin::default());
    let said = origin("unix", "", &[("Forwarded", "proto=https")]);
    assert_eq!(said, Origin { scheme: Some(Scheme::Https), ..Origin::default() });
}

#[test]
fn forwarded_does_not_count_beside_the_others() {
    let fields = [("Forwarded", "for=1.1.1.1;proto=https;host=evil.example"), ("X-Forwarded-Proto", "http")];
    let said = origin("unix", "", &fields);
    assert_eq!(said, Origin { scheme: Some(Scheme::Http), ..Origin::default() });
}

#[test]
fn trust_lists() {
    let trusts = |list: &str, address: &str| Trust::parse(list).expect(list).peer(address.parse().ok());
    for (list, address, expected) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.1.2.3/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("::ffff:10.0.0.0/104", "10.9.9.9", true),
        ("0.0.0.0/0", "1.2.3.4", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:1::", true),
        ("2001:db8::/32", "2001:db9::", false),
        ("192.0.2.1/32", "192.0.2.2", false),
        ("unix", "", true),
        ("127.0.0.1", "", false),
        ("*", "", true),
        ("*", "192.0.2.1", true),
        ("", "127.0.0.1", false),
        ("127.0.0.1, ::1 ,unix", "::1", true),
    ] {
        assert_eq!(trusts(list, address), expected, "{list} {address}");
    }
    for bad in ["10.0.0.0/33", "::/129", "localhost", "10.0.0.0/", "10.0.0.0/+8", "1.2.3"] {
        assert_eq!(Trust::parse(bad), Err(NotAPeer(bad.into())));
    }
    assert_eq!(Trust::parse("127.0.0.1,::1,unix"), Ok(Trust::default()));
}

proptest! {
    #[test]
    fn nothing_panics(
        which in 0usize..5,
        value in proptest::collection::vec(any::<u8>(), 0..200),
        list in "[0-9a-f.:/*, ]{0,40}",
    ) {
        let names = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix", "Forwarded"];
        let _ = Trust::parse(&list);
        let trust = Trust::parse("*").expect("valid");
        apply([(names[which].as_bytes(), &value[..])].into_iter(), None, &trust);
    }

    #[test]
    fn grammar_near_values_do_not_panic(value in "[a-z0-9=\"\\\\;,:. \\[\\]]{0,60}") {
        let trust = Trust::default();
        apply([(&b"Forwarded"[..], value.as_bytes())].into_iter(), None, &trust);
        apply([(&b"X-Forwarded-For"[..], value.as_bytes())].into_iter(), None, &trust);
    }

    /// Whatever a client writes, the address that a trusted proxy appends is the one that counts.
    #[test]
    fn a_client_cannot_forge_its_address(mine in "[ -~]{0,60}") {
        let value = format!("{mine}, 192.0.2.7");
        prop_assert_eq!(client("X-Forwarded-For", &value), "192.0.2.7");
        let value = format!("{mine}, for=192.0.2.7");
        let seen = client("Forwarded", &value);
        prop_assert!(seen == "192.0.2.7" || seen == "peer", "{}", seen);
    }
}
