//! Real sockets on the loopback, and files in the folder for temporary ones.

use super::*;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

fn open(address: BindAddress) -> Result<Registry, BindError> {
    Registry::open(&[(None, address)], 16)
}

fn tcp(text: &str) -> BindAddress {
    BindAddress::Tcp(text.parse().unwrap())
}

fn local_tcp(registry: &Registry) -> SocketAddr {
    match registry.listeners()[0].local() {
        LocalAddress::Tcp(address) => *address,
        LocalAddress::Unix(_) => panic!("not TCP"),
    }
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("stdserve-{}-{name}.sock", std::process::id()))
}

#[test]
fn tcp_listeners_accept_and_hand_on_nodelay() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let registry = open(tcp(address)).unwrap();
        let listener = &registry.listeners()[0];
        assert!(listener.url().starts_with("http://"));
        assert_eq!(listener.kind(), Kind::Tcp);
        let _client = TcpStream::connect(local_tcp(&registry)).unwrap();
        let (accepted, peer) = crate::net::accept(listener.as_fd()).unwrap();
        assert!(peer.is_some());
        assert!(TcpStream::from(accepted).nodelay().unwrap());
    }
}

#[test]
fn an_address_in_use_names_its_holder() {
    let first = open(tcp("127.0.0.1:0")).unwrap();
    let error = open(BindAddress::Tcp(local_tcp(&first))).unwrap_err();
    assert!(matches!(&error.cause, BindCause::InUse(Some(holder)) if holder.pid.0 == std::process::id()));
    assert!(error.to_string().contains("is in use by process"), "{error}");
}

#[test]
fn an_address_that_is_named_twice_is_told_so() {
    let first = path("twice");
    let address = BindAddress::Unix { path: first, mode: None };
    let error = Registry::open(&[(None, address.clone()), (None, address)], 16).unwrap_err();
    assert!(error.to_string().contains("is named twice"), "{error}");
}

#[test]
fn errors_say_what_to_do() {
    let folder = BindAddress::Unix { path: "/nonexistent/app.sock".into(), mode: None };
    for (address, advice) in [
        (folder, "folder of the socket has to exist"),
        (tcp("192.0.2.1:0"), "0.0.0.0"),
        (BindAddress::Descriptor(1_000_000), "hand it over"),
    ] {
        let error = open(address).unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn a_name_takes_all_its_addresses_on_one_port() {
    let registry = open(BindAddress::Host("localhost".into(), 0)).unwrap();
    let ports: Vec<_> = registry
        .listeners()
        .iter()
        .map(|listener| listener.url().rsplit(':').next().map(str::to_owned))
        .collect();
    assert!(ports.iter().all(|port| *port == ports[0]));
    assert!(open(BindAddress::Host("no-such-host.invalid".into(), 0)).is_err());
}

#[test]
fn unix_sockets_have_their_mode_and_go_with_their_owner() {
    let path = path("mode");
    let registry = open(BindAddress::Unix { path: path.clone(), mode: Some(0o640) }).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let error = open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap_err();
    assert!(error.to_string().contains("in use by process"), "{error}");
    drop(registry);
    assert!(!path.exists());
}

#[test]
fn names_without_a_file() {
    let name = format!("\0stdserve-{}", std::process::id());
    let registry = open(BindAddress::Unix { path: name.into(), mode: None }).unwrap();
    assert!(registry.listeners()[0].url().starts_with("unix:@stdserve-"));
}

#[test]
fn a_stale_socket_is_replaced_and_another_file_is_not() {
    let path = path("stale");
    // The standard library leaves the file behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap());
    fs::write(&path, "precious").unwrap();
    let error = open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap_err();
    assert!(matches!(error.cause, BindCause::NotASocket));
    let mut text = String::new();
    fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_file_that_was_replaced_is_not_removed() {
    let path = path("replaced");
    let first = open(BindAddress::Unix { path: path.clone(), mode: None }).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    drop(first);
    assert!(path.exists());
    fs::remove_file(&path).unwrap();
}

#[test]
fn descriptors_are_taken_over_only_when_they_listen() {
    let first = open(tcp("127.0.0.1:0")).unwrap();
    let second = open(BindAddress::Descriptor(first.listeners()[0].as_raw_fd())).unwrap();
    assert_eq!(local_tcp(&first), local_tcp(&second));
    for number in [0, 1_000_000] {
        let error = open(BindAddress::Descriptor(number)).unwrap_err();
        assert!(matches!(error.cause, BindCause::NotAListener(_)), "{error}");
    }
    let file = fs::File::open("/dev/null").unwrap();
    assert!(open(BindAddress::Descriptor(file.as_raw_fd())).is_err());
}

#[test]
fn systemd_hands_over_by_number_and_name() {
    let pid = std::process::id().to_string();
    let given = handed_over(|key| match key {
        "LISTEN_PID" => Some(pid.clone()),
        "LISTEN_FDS" => Some("2".into()),
        "LISTEN_FDNAMES" => Some("web:".into()),
        _ => None,
    });
    let expected = [(Some("web".to_owned()), BindAddress::Descriptor(3)), (None, BindAddress::Descriptor(4))];
    assert_eq!(given, expected);
    let other = handed_over(|key| Some(if key == "LISTEN_PID" { "1" } else { "2" }.into()));
    assert!(other.is_empty() || std::process::id() == 1);
}
