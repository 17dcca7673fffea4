//! Programs as they find themselves: what they are given, and nothing else.

use super::*;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::IntoRawFd;

/// Runs a line of sh(1) with its output in a pipe. The output, and how it ended.
fn sh(line: &str, change: impl FnOnce(&mut Program<'_>)) -> Result<(String, Exit), SpawnError> {
    let (mut reader, child) = start(line, change)?;
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    while !child.has_ended() {
        std::thread::yield_now();
    }
    Ok((text, child.end().unwrap()))
}

fn start(line: &str, change: impl FnOnce(&mut Program<'_>)) -> Result<(File, Child), SpawnError> {
    let (reader, writer) = pipe().unwrap();
    let (null, folder) = (File::open("/dev/null").unwrap(), File::open("/").unwrap());
    let line = CString::new(line).unwrap();
    let mut program = Program {
        path: c"/bin/sh",
        arguments: &[c"sh", c"-c", &line],
        environment: &[c"A=1", c"PATH=/usr/bin:/bin"],
        folder: folder.as_fd(),
        streams: [null.as_fd(), writer.as_fd(), writer.as_fd()],
        descriptors: &[],
        session: true,
        limits: &[],
        account: None,
    };
    change(&mut program);
    spawn(&program).map(|child| (File::from(reader), child))
}

#[test]
fn it_has_its_environment_folder_group_and_streams_and_nothing_else() {
    // Without close-on-exec, as a careless library leaves one.
    let left = File::open("/dev/null").unwrap();
    crate::process::set_inheritable(left.as_fd(), true).unwrap();
    let (text, exit) = sh(
        "read x; /usr/bin/env | grep -v -e ^_= -e ^PWD=; pwd; echo /proc/self/fd/*; ps -o pgid= -p $$; echo $$ >&2; exit 7",
        |_| {},
    )
    .unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert_eq!(lines[..3], ["A=1", "PATH=/usr/bin:/bin", "/"]);
    // The shell's own look at the folder is the one further descriptor.
    assert!(lines[3].split(' ').count() <= 4, "{}", lines[3]);
    assert_eq!(lines[4], lines[5], "the leader of its own group");
    assert_eq!(exit, Exit::Code(7));
    drop(left);
}

#[test]
fn signals_are_as_a_new_program_expects_them() {
    // The Rust runtime ignores SIGPIPE, and crew threads block everything.
    let thread = std::thread::spawn(|| {
        crate::signals::block_for_crew().unwrap();
        sh("grep -E '^Sig(Blk|Ign)' /proc/self/status", |_| {}).unwrap().0
    });
    for line in thread.join().unwrap().lines() {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn limits_hold() {
    const LIMITS: &[(Limit, u64)] =
        &[(Limit::Files, 17), (Limit::Core, 0), (Limit::FileSize, 1 << 20), (Limit::Cpu, 1 << 40)];
    let (text, _) =
        sh("ulimit -n; ulimit -Hn; ulimit -c; ulimit -f", |program| program.limits = LIMITS).unwrap();
    assert_eq!(text, "17\n17\n0\n2048\n");
}

#[test]
fn what_cannot_be_started_is_an_error_that_says_where() {
    let error = sh("", |program| program.path = c"/nonexistent").unwrap_err();
    assert_eq!((error.step, error.error.raw_os_error()), (Step::Execute, Some(libc::ENOENT)));
    let error = sh("", |program| program.path = c"/etc/passwd").unwrap_err();
    assert_eq!((error.step, error.error.raw_os_error()), (Step::Execute, Some(libc::EACCES)));
    let file = File::open("/etc/passwd").unwrap();
    let descriptor = file.as_fd();
    // SAFETY: the file outlives the call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor.as_raw_fd()) };
    let error = sh("", |program| program.folder = descriptor).unwrap_err();
    assert_eq!((error.step, error.error.raw_os_error()), (Step::Folder, Some(libc::ENOTDIR)));
    assert_eq!(error.to_string(), "cannot go to its folder: Not a directory (os error 20)");
}

#[test]
fn another_user_is_another_user_with_its_groups_only() {
    let account: &'static Account =
        Box::leak(Box::new(Account { user: 12_345, group: 23_456, groups: vec![23_456, 34_567] }));
    let result = sh("id -u; id -g; id -G; umask 0; ulimit -n", |program| {
        program.account = Some(account);
        program.limits = &[(Limit::Files, 64)];
    });
    if rustix::process::geteuid().is_root() {
        assert_eq!(result.unwrap(), ("12345\n23456\n23456 34567\n64\n".to_owned(), Exit::Code(0)));
        let error = sh("", |program| {
            program.account = Some(account);
            program.path = c"/nonexistent";
        });
        assert_eq!(error.unwrap_err().step, Step::Execute);
    } else {
        assert_eq!(result.unwrap_err().step, Step::Account);
    }
}

#[test]
fn the_whole_group_is_ended_with_it() {
    let (mut reader, child) = start("sleep 1000 & sleep 1000 & echo ready; wait", |_| {}).unwrap();
    let mut ready = [0; 6];
    reader.read_exact(&mut ready).unwrap();
    assert!(!child.has_ended());
    assert!(child.descriptor().is_some() || crate::limits::kernel_version("/".as_ref()) < Some((5, 2)));
    assert_eq!(child.end().unwrap(), Exit::Signal(libc::SIGKILL));
    // The pipe is at its end when the last of them has gone.
    assert_eq!(reader.read(&mut ready).unwrap(), 0);
}

#[test]
fn one_that_is_dropped_is_ended() {
    let (mut reader, child) = start("sleep 1000", |_| {}).unwrap();
    let pid = child.pid();
    drop(child);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert!(super::super::wait(pid).is_err(), "nobody is left to wait for");
}

#[test]
fn streams_that_stand_among_the_standard_ones_are_not_lost() {
    // In a child, since the test's own streams are closed: 0 and 1 are the pipe's ends.
    let (mut reader, writer) = pipe().map(|(reader, writer)| (File::from(reader), writer)).unwrap();
    let (null, folder) = (File::open("/dev/null").unwrap(), File::open("/").unwrap());
    // SAFETY: numbers that are open for the whole test.
    let [zero, two] = [0, 2].map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    let program = Program {
        path: c"/bin/sh",
        arguments: &[c"sh", c"-c", c"echo out; echo err >&2"],
        environment: &[],
        folder: folder.as_fd(),
        // Crossed: standard error is its input, and its output the pipe.
        streams: [two, writer.as_fd(), zero],
        descriptors: &[],
        session: true,
        limits: &[],
        account: None,
    };
    let child = spawn(&program).unwrap();
    drop((writer, null.into_raw_fd()));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n");
    child.end().unwrap();
}

#[test]
fn descriptors_that_are_handed_over_get_the_numbers_from_3_on() {
    use std::io::Write;

    // As many as it takes to have some of them stand where others are to go.
    // They live as long as the test, like whatever `sh` may be given.
    let files: &'static mut Vec<File> = Box::leak(Box::new(Vec::new()));
    files.extend((0..5).map(|number| {
        let (reader, writer) = pipe().unwrap();
        File::from(writer).write_all(format!("{number}").as_bytes()).unwrap();
        File::from(reader)
    }));
    let handed: Vec<_> = files.iter().rev().map(AsFd::as_fd).collect();
    let handed: &'static [_] = handed.leak();
    let line = "for fd in 3 4 5 6 7; do eval \"cat <&$fd\"; done; ls /proc/self/fd | tail -1";
    let (text, exit) = sh(line, |program| program.descriptors = handed).unwrap();
    // ls has one of its own, for the folder.
    assert_eq!((text.as_str(), exit), ("432108\n", Exit::Code(0)));
}

#[test]
fn a_program_may_stay_in_the_session() {
    let of_child = |session| {
        let line = "cut -d' ' -f6 /proc/self/stat";
        sh(line, |program| program.session = session).unwrap().0.trim().to_owned()
    };
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own = own.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(3).unwrap();
    assert_eq!(of_child(false), own);
    assert_ne!(of_child(true), own);
}
