//! What passes through takes no room in the server. A binary of its own, since it looks at the peak of the process's
//! memory: other tests beside it would count.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::io::Read;

use support::scripts::Scripts;

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_gigabyte_goes_through_in_bounded_memory() {
    let scripts = Scripts::new();
    scripts.sh("a", "printf 'Content-Type: text/plain\\n\\n'; exec head -c 1073741824 /dev/zero");
    // As long as it takes, on a machine that has other work.
    let served = scripts.serve_with(|options| options.timeout = None);
    let mut client = served.running.connect();
    client.send("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let before = peak();
    let mut buffer = vec![0; 1 << 20];
    let (mut total, mut last) = (0_u64, Vec::new());
    loop {
        let count = match client.socket.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result.unwrap(),
        };
        if count == 0 {
            break;
        }
        total += count as u64;
        last.extend_from_slice(&buffer[count.saturating_sub(7)..count]);
        last.drain(..last.len().saturating_sub(7));
    }
    assert!(total > 1 << 30, "{total} bytes");
    assert!(last.ends_with(b"\r\n0\r\n\r\n"), "{last:?}");
    let more = peak() - before;
    assert!(more < 32 << 10, "{more} kB");
}
