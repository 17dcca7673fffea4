//! Real sockets on the loopback, and files in the folder for temporary ones.

use super::*;
use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

fn open(address: BindAddress) -> Result<Registry, BindError> {
    Registry::open(&[(None, address)], 16)
}

fn tcp(text: &str) -> BindAddress {
    BindAddress::Tcp(text.parse().unwrap())
}

fn local_tcp(registry: &Registry) -> SocketAddr {
    match registry.listeners()[0].local() {
        LocalAddress::Tcp(address) => *address,
        _ => panic!("not TCP"),
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
        let (accepted, peer) = crate::net::accept(listener.as_fd(), false).unwrap();
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
fn udp_sockets_receive_and_are_nobody_elses() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let registry = open(BindAddress::Udp(address.parse().unwrap())).unwrap();
        let socket = &registry.listeners()[0];
        assert!(socket.kind() == Kind::Udp && socket.kind().is_datagram());
        let local = socket.local().ip().unwrap();
        assert_eq!(socket.url(), format!("udp://{local}"));
        let client = UdpSocket::bind(address).unwrap();
        client.send_to(b"hello", local).unwrap();
        let mut buffer = [0; 16];
        let ours = UdpSocket::from(socket.as_fd().try_clone_to_owned().unwrap());
        ours.set_nonblocking(false).unwrap();
        assert_eq!(ours.recv(&mut buffer).unwrap(), 5);
        let error = open(BindAddress::Udp(local)).unwrap_err();
        assert!(error.to_string().contains("in use by process"), "{error}");
    }
}

#[test]
fn a_name_takes_all_its_udp_addresses_on_one_port() {
    let registry = open(BindAddress::UdpHost("localhost".into(), 0)).unwrap();
    let ports: Vec<_> =
        registry.listeners().iter().filter_map(|socket| socket.local().ip()).map(|ip| ip.port()).collect();
    assert!(!ports.is_empty() && ports.iter().all(|port| *port == ports[0] && *port != 0));
}

#[test]
fn unix_sockets_for_datagrams_have_files_like_the_others() {
    let path = path("datagrams");
    // The standard library leaves the file behind.
    drop(UnixDatagram::bind(&path).unwrap());
    let address = BindAddress::Unixgram { path: path.clone(), mode: Some(0o600) };
    let registry = open(address.clone()).unwrap();
    assert_eq!(registry.listeners()[0].kind(), Kind::Unixgram);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = open(address).unwrap_err();
    assert!(matches!(error.cause, BindCause::InUse(_)), "{error}");
    assert!(error.to_string().starts_with("address unixgram:/"), "{error}");
    UnixDatagram::unbound().unwrap().send_to(b"hello", &path).unwrap();
    drop(registry);
    assert!(!path.exists());
}

#[test]
fn datagram_sockets_are_taken_over_when_they_are_bound() {
    let first = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = open(BindAddress::Descriptor(first.as_raw_fd())).unwrap();
    assert_eq!(*taken.listeners()[0].local(), LocalAddress::Udp(first.local_addr().unwrap()));
    let path = path("taken");
    let unix = UnixDatagram::bind(&path).unwrap();
    let taken = open(BindAddress::Descriptor(unix.as_raw_fd())).unwrap();
    assert_eq!(*taken.listeners()[0].local(), LocalAddress::Unixgram(path.clone()));
    // Whoever made the file removes it.
    drop(taken);
    fs::remove_file(path).unwrap();
    let unbound = UnixDatagram::unbound().unwrap();
    let error = open(BindAddress::Descriptor(unbound.as_raw_fd())).unwrap_err();
    assert!(error.to_string().contains("not bound"), "{error}");
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
