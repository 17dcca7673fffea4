//! What scripts leave behind in the server: nothing. A binary of its own, since it counts what the process has open.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::time::Duration;

use support::scripts::Scripts;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Children of this process, zombies included.
fn children() -> String {
    let mut found = String::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        found += &std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
    }
    found
}

#[test]
fn no_descriptor_and_no_process_is_left() {
    let scripts = Scripts::new();
    let head = "printf 'Content-Type: text/plain\\n\\n'";
    scripts.sh("good", &format!("{head}; exec cat"));
    scripts.sh("bad", "echo rubbish; echo");
    scripts.sh("endless", "sleep 1000");
    scripts.sh("endless-answer", &format!("{head}; while :; do echo x; sleep 0.01; done"));
    scripts.sh("killed", "kill -9 $$");
    scripts.file("broken", "#!/nonexistent\n", 0o755);
    scripts.file("forbidden", "", 0o644);
    let served = scripts.serve();
    let hurried = scripts.serve_with(|options| {
        options.head_timeout = Some(Duration::from_millis(50));
        options.timeout = Some(Duration::from_millis(150));
    });
    let before = open_descriptors();
    let round = || {
        assert_eq!(served.post("/good", &vec![b'x'; 200_000]).body.len(), 200_000);
        for (target, status) in [("/bad", 502), ("/killed", 502), ("/broken", 500), ("/forbidden", 403)] {
            assert_eq!(served.get(target).status, status, "{target}");
        }
        assert_eq!(hurried.get("/endless").status, 504);
        // On a busy machine its time may be over before it has begun.
        assert!(hurried.get_cut("/endless-answer").is_none_or(|answer| answer.status == 504));
    };
    round();
    // Connections end a moment after their answers.
    let settled = |most: usize| {
        for _ in 0..4000 {
            if open_descriptors() <= most && children().is_empty() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    };
    // Threads that came meanwhile have brought no descriptors.
    assert!(settled(before), "{before} before, {} after one round", open_descriptors());
    for _ in 0..10 {
        round();
    }
    assert!(settled(before), "{before} before, {} now; children: {:?}", open_descriptors(), children());
}
