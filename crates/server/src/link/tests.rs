//! What a connection sends, and who has won where two would answer.

use super::*;
use crate::observe::SilentLog;
use std::io::Read;
use std::os::unix::net::UnixStream;

fn pair() -> (Link, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (
        Link::new(Transport::Unix(ours), Arc::new(Budget::new(1 << 30)), Arc::new(SilentLog), Instant::now()),
        theirs,
    )
}

/// What the loop has sent meanwhile, it does not hear of again.
#[test]
fn what_was_spooled_goes_out_where_nothing_is_queued() {
    let (link, mut theirs) = pair();
    let file = stdserve_sys::tempfile::unlinked(&std::env::temp_dir()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"spooled", 0).unwrap();
    link.queue_spooled(&Arc::new(file), 0, 7).unwrap();
    assert!(link.is_drained());
    let mut got = [0; 7];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"spooled");
}

#[test]
fn what_the_socket_refuses_is_queued_and_goes_later_in_order() {
    let (link, mut theirs) = pair();
    let data: Vec<u8> = (0..2_000_000_u32).map(|n| (n % 251) as u8).collect();
    let sent = link.send_whole(&mut data.clone(), false, None).unwrap();
    assert!(!sent.all);
    let expected = data.clone();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        theirs.read_exact(&mut got).unwrap();
        assert!(got == expected);
    });
    while link.flush(Instant::now()).unwrap() != (Flushed::Empty { finished: true }) {
        std::thread::yield_now();
    }
    reader.join().unwrap();
}

#[test]
fn pieces_are_taken_no_further_than_the_bound() {
    let (link, _theirs) = pair();
    let data = vec![7; 4_000_000];
    let taken = link.send_pieces([b"head", &data, b"tail"], 1000).unwrap();
    assert!(taken < data.len());
    assert_eq!(link.send_pieces([b"", &data, b""], 1000), Ok(0));
}

#[test]
fn a_thread_that_waits_for_room_is_told_when_the_connection_is_given_up() {
    let (link, _theirs) = pair();
    let link = Arc::new(link);
    link.send_pieces([b"", &vec![0; 4_000_000], b""], 1_000_000).unwrap();
    let other = Arc::clone(&link);
    let waiter = std::thread::spawn(move || other.wait_for_room(1000, Duration::from_secs(60)));
    link.give_up();
    assert_eq!(waiter.join().unwrap(), Err(Gone));
}

/// What may happen to an exchange, by the service or by the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The service answers as a whole.
    Whole,
    /// The service sends a piece.
    Piece,
    /// Its time is over.
    Out,
}

/// In whatever order things happen, one side answers, and the client gets nothing of the other's.
#[test]
fn whoever_sends_first_has_won() {
    const STEPS: [Step; 3] = [Step::Whole, Step::Piece, Step::Out];
    for order in (0..81).map(|number| [1, 3, 9, 27].map(|place| STEPS[number / place % 3])) {
        let (link, mut theirs) = pair();
        link.begin();
        let (mut expected, mut ended, mut cut) = (String::new(), false, false);
        for step in order {
            match step {
                Step::Whole if !ended => {
                    let sent = link.send_whole(&mut b"whole".to_vec(), false, None);
                    assert_eq!(sent.is_ok(), !link.is_timed_out() && !cut, "{order:?}");
                    if sent.is_ok() {
                        expected.push_str("whole");
                    }
                    ended = true;
                }
                Step::Piece if !ended => {
                    let sent = link.send_pieces([b"piece", b"", b""], 1000);
                    assert_eq!(sent.is_ok(), !link.is_timed_out() && !cut, "{order:?}");
                    if sent.is_ok() {
                        expected.push_str("piece");
                    }
                }
                Step::Out if !link.is_timed_out() && !cut => {
                    let found = link.time_out(&mut b"late".to_vec(), Instant::now());
                    let (is_empty, is_whole) = (expected.is_empty(), expected.ends_with("whole"));
                    assert_eq!(matches!(found, TimedOut::Answered(_)), is_empty, "{order:?}");
                    assert_eq!(found == TimedOut::Finished, is_whole, "{order:?}");
                    match found {
                        TimedOut::Answered(_) => expected.push_str("late"),
                        TimedOut::Begun => {
                            link.cut();
                            cut = true;
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        drop(link);
        let mut got = String::new();
        theirs.read_to_string(&mut got).unwrap();
        assert_eq!(got, expected, "{order:?}");
    }
}
