//! Messages between processes that are killed and stopped, in a process that has one thread and forks them.

use std::convert::Infallible;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use stdserve_sys::broadcast::{self, Cursor, Fill, Index, Item, Memory, Refusal, Waiter};
use stdserve_sys::process::{self, Exit, Fork, NoHooks, Pid};
use stdserve_sys::scoreboard::Scoreboard;
use stdserve_sys::signals::SIGKILL;

/// Who is not woken for so long is not woken at all.
const FOREVER: i64 = 60;

fn main() {
    writers_are_killed_and_nothing_is_lost();
    waiters_are_killed_and_others_are_woken();
    a_writer_that_is_stopped_stops_nobody_for_ever();
    memory_in_use_is_as_was_asked_also_where_that_was_rounded();
    println!("broadcast: 4 passed");
}

/// Forks a process that ends with what `work` returns.
fn child(work: impl FnOnce() -> i32) -> Pid {
    match process::fork(&mut NoHooks).expect("fork") {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            // The harness sees it by the code; the message is on standard error.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            process::exit_now(ended.unwrap_or(101))
        }
    }
}

fn kill(pid: Pid) {
    process::kill(pid, SIGKILL).expect("kill");
    assert_eq!(process::wait(pid).expect("wait"), Exit::Signal(9));
}

fn share(bytes: usize) -> &'static Memory {
    Box::leak(Box::new(Memory::shared(bytes).expect("memory")))
}

fn take(memory: &Memory, cursor: &mut Cursor) -> Option<Item<Vec<u8>>> {
    let make = |length, fill: Fill<'_>| {
        let mut bytes = vec![0; length];
        fill(&mut bytes);
        Ok::<_, Infallible>(bytes)
    };
    memory.next(cursor, make).unwrap_or_else(|never| match never {})
}

/// Sends when it is this process's turn, however busy the machine is.
fn send(memory: &Memory, index: Index, message: &[u8]) {
    memory.send_within(index, message, Duration::from_secs(FOREVER as u64)).expect("send");
}

/// A reader that waits, as a process's is.
struct Reader {
    memory: &'static Memory,
    cursor: Cursor,
    waiter: Waiter,
}

impl Reader {
    fn new(memory: &'static Memory, cursor: Cursor) -> Self {
        let waiter = Waiter::new(memory, &broadcast::here().post, &cursor).expect("waiter");
        Self { memory, cursor, waiter }
    }

    fn wait(&mut self) -> Vec<Item<Vec<u8>>> {
        // SAFETY: the descriptor lives as long as the waiter.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.waiter.descriptor()) };
        let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
        let patience = Timespec { tv_sec: FOREVER, tv_nsec: 0 };
        assert_eq!(poll(&mut polled, Some(&patience)).expect("poll"), 1, "a wake-up was lost");
        let taken = std::iter::from_fn(|| take(self.memory, &mut self.cursor)).take(64).collect();
        self.waiter.settle(&self.cursor);
        taken
    }
}

/// Numbers between 0 and a bound, the same each time.
fn random(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % bound
}

/// A message: its writer and number, over and over.
fn message(writer: u32, number: u32, words: usize) -> Vec<u8> {
    (u64::from(writer) << 32 | u64::from(number)).to_le_bytes().repeat(words)
}

/// Sends without end; says in a row of the board how many are sent.
fn write_for_ever(memory: &Memory, index: Index, board: &Scoreboard, writer: u32, words: usize) -> ! {
    let sent = &board.rows()[writer as usize].connections;
    for number in 0.. {
        send(memory, index, &message(writer, number, words));
        sent.store(u64::from(number) + 1, Relaxed);
    }
    unreachable!()
}

/// Takes everything until the end is sent: all that each writer says it has sent, whole, in order. Returns a digest of
/// the order.
fn read_to_the_end(mut reader: Reader, board: &Scoreboard, writers: usize) -> u64 {
    let mut next = vec![0_u64; writers];
    let mut digest = 0_u64;
    loop {
        for item in reader.wait() {
            let Item::Message(bytes) = item else { panic!("{item:?}: the ring is large enough for all") };
            if bytes == b"end" {
                for (writer, next) in next.iter().enumerate() {
                    let sent = board.rows()[writer].connections.load(Relaxed);
                    // One was killed before it could say so.
                    assert!((sent..=sent + 1).contains(next), "{writer}: {next} of {sent}");
                }
                return digest;
            }
            assert!(bytes.chunks(8).all(|piece| piece == &bytes[..8]), "torn");
            let word = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            let (writer, number) = ((word >> 32) as usize, word & 0xffff_ffff);
            assert_eq!(number, next[writer], "of writer {writer}");
            next[writer] = number + 1;
            digest = (digest ^ word).wrapping_mul(0x100_0000_01b3);
        }
    }
}

fn writers_are_killed_and_nothing_is_lost() {
    const VICTIMS: u32 = 120;
    let memory = share(512 << 20);
    let index = memory.name("name").expect("name");
    let writers = VICTIMS as usize + 1;
    let board = Scoreboard::new(writers + 2).expect("board");
    let cursor = memory.cursor(index);
    let readers: Vec<Pid> = (0..2)
        .map(|reader| {
            child(|| {
                let digest = read_to_the_end(Reader::new(memory, cursor.clone()), &board, writers);
                board.rows()[writers + reader].connections.store(digest, Relaxed);
                0
            })
        })
        .collect();
    // One is not killed before the end, and takes its turns among the others.
    let steady = child(|| {
        for number in 0.. {
            send(memory, index, &message(VICTIMS, number, 2));
            board.rows()[VICTIMS as usize].connections.store(u64::from(number) + 1, Relaxed);
            std::thread::sleep(Duration::from_micros(50));
        }
        1
    });
    let mut state = 1;
    for victim in 0..VICTIMS {
        // Long messages: most of its time it is in the middle of one.
        let words = if victim % 2 == 0 { 4000 } else { 2 };
        let pid = child(|| write_for_ever(memory, index, &board, victim, words));
        // From where it has begun, at any point of a send.
        let begun = Instant::now();
        while board.rows()[victim as usize].connections.load(Relaxed) < 2 {
            assert!(begun.elapsed() < Duration::from_secs(FOREVER as u64), "writer {victim} does not go on");
            std::hint::spin_loop();
        }
        for _ in 0..random(&mut state, 20_000) {
            std::hint::spin_loop();
        }
        kill(pid);
    }
    kill(steady);
    send(memory, index, b"end");
    for pid in readers {
        assert_eq!(process::wait(pid).expect("wait"), Exit::Code(0));
    }
    let digest = |reader: usize| board.rows()[writers + reader].connections.load(Relaxed);
    assert_eq!(digest(0), digest(1), "the same order");
    println!("{} of {VICTIMS} writers died in the middle of a send", memory.deaths());
    assert!(memory.deaths() > 0);
}

fn waiters_are_killed_and_others_are_woken() {
    const ROUNDS: u32 = 20_000;
    let memory = share(1 << 20);
    let [ping, pong] = ["ping", "pong"].map(|name| memory.name(name).expect("name"));
    let (pings, pongs) = (memory.cursor(ping), memory.cursor(pong));
    let player = |cursor: &Cursor, answer: Index, begins: bool| {
        child(|| {
            let mut reader = Reader::new(memory, cursor.clone());
            let mut number = 0;
            if begins {
                send(memory, answer, &message(1, 0, 1));
            }
            while number < ROUNDS {
                for item in reader.wait() {
                    assert_eq!(item, Item::Message(message(1, number, 1)));
                    number += 1;
                    if !begins || number < ROUNDS {
                        send(memory, answer, &message(1, if begins { number } else { number - 1 }, 1));
                    }
                }
            }
            0
        })
    };
    let players = [player(&pings, pong, false), player(&pongs, ping, true)];
    let mut state = 2;
    let mut ended = Vec::new();
    let mut killed = 0;
    while ended.len() < players.len() {
        // It waits for both, and is killed before, while or after it is woken.
        let waiter = child(|| {
            let mut readers = [&pings, &pongs].map(|cursor| Reader::new(memory, cursor.clone()));
            loop {
                for reader in &mut readers {
                    let _ = reader.wait();
                }
            }
        });
        std::thread::sleep(Duration::from_micros(random(&mut state, 3000)));
        process::kill(waiter, SIGKILL).expect("kill");
        killed += 1;
        let mut gone = false;
        while !gone {
            let reaped = process::reap();
            gone = reaped.iter().any(|(pid, _)| *pid == waiter);
            ended.extend(reaped.into_iter().filter(|(pid, _)| *pid != waiter));
            std::thread::yield_now();
        }
    }
    println!("{killed} waiters killed");
    assert!(ended.iter().all(|(_, exit)| *exit == Exit::Code(0)), "{ended:?}");
}

fn a_writer_that_is_stopped_stops_nobody_for_ever() {
    let memory = share(1 << 20);
    let index = memory.name("name").expect("name");
    let board = Scoreboard::new(1).expect("board");
    let pid = child(|| write_for_ever(memory, index, &board, 0, 16_000));
    let begun = Instant::now();
    // Most of its time it has the lock: it will be stopped with it before long.
    loop {
        assert!(begun.elapsed() < Duration::from_secs(FOREVER as u64), "it is never stopped in the middle");
        process::kill(pid, libc::SIGSTOP).expect("stop");
        let refused = match memory.send(index, b"mine") {
            Ok(()) => false,
            Err(Refusal::Busy) => true,
            Err(why) => panic!("{why:?}"),
        };
        if refused {
            break;
        }
        process::kill(pid, libc::SIGCONT).expect("continue");
        std::thread::sleep(Duration::from_millis(1));
    }
    // What is killed gives the lock up.
    kill(pid);
    let mut cursor = memory.cursor(index);
    send(memory, index, b"goes on");
    assert_eq!(take(memory, &mut cursor), Some(Item::Message(b"goes on".to_vec())));
    assert_eq!(memory.deaths(), 1);
}

/// In whole pages, and at least the smallest: who asks for the same again is not told that it is something else.
fn memory_in_use_is_as_was_asked_also_where_that_was_rounded() {
    assert!(broadcast::share(0).expect("memory"), "none");
    for (asked, others) in [(100_000, [0, 1, 200_000]), (100_001, [0, 65_536, usize::MAX])] {
        assert!(broadcast::share(asked).expect("memory"));
        let memory = broadcast::shared().expect("memory").expect("some was asked for");
        memory.name("in use").expect("name");
        assert!(broadcast::share(asked).expect("memory"), "{asked} is there, as {}", memory.size());
        for other in others {
            assert!(!broadcast::share(other).expect("memory"), "{other} is not {asked}");
        }
    }
}
