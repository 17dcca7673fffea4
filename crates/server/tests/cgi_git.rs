//! Git over HTTP through `git http-backend`: the CGI program that people run most.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::scripts::Scripts;

/// Runs git without what the user has configured.
fn git(home: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "protocol.version=2",
            "-c",
            "gc.auto=0",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "safe.directory=*",
        ])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {text}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Bytes that do not compress.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn clone_fetch_and_push(buffer_bodies: bool) {
    if Command::new("git").args(["http-backend", "--help"]).output().is_err() {
        eprintln!("needs git");
        return;
    }
    let scripts = Scripts::new();
    let folder = scripts.0.clone();
    let (home, project) = (folder.join("home"), folder.join("repositories"));
    fs::create_dir_all(&home).unwrap();
    fs::create_dir_all(project.join("a.git")).unwrap();
    git(&home, &project, &["init", "--quiet", "--bare", "a.git"]);
    git(&home, &project.join("a.git"), &["config", "http.receivepack", "true"]);
    let told = folder.join("told");
    scripts.sh(
        "cgi-bin/git",
        &format!(
            "echo \"$REQUEST_METHOD $PATH_INFO length=$CONTENT_LENGTH $HTTP_TRANSFER_ENCODING\" >>{}\n\
             export HOME={} GIT_PROJECT_ROOT={} GIT_HTTP_EXPORT_ALL=1\nexec git http-backend",
            told.display(),
            home.display(),
            project.display()
        ),
    );
    let root = folder.join("cgi-bin");
    let served = scripts.serve_with(|options| {
        options.root = root;
        options.buffer_bodies = buffer_bodies;
    });
    let url = format!("http://{}/git/a.git", served.running.address);

    git(&home, &folder, &["clone", "--quiet", &url, "one"]);
    let one = folder.join("one");
    for (round, size) in [(1, 3 << 20), (2, 1000), (3, 2 << 20)] {
        fs::write(one.join("large"), noise(size, round)).unwrap();
        fs::write(one.join(format!("file-{round}")), "text\n").unwrap();
        git(&home, &one, &["add", "--all"]);
        git(&home, &one, &["commit", "--quiet", "--message", "change"]);
        // Anything beyond 64 KiB goes in chunks.
        git(
            &home,
            &one,
            &["-c", "http.postBuffer=65536", "push", "--quiet", "origin", "HEAD:refs/heads/main"],
        );
        if round == 1 {
            git(&home, &folder, &["clone", "--quiet", &url, "two"]);
        } else {
            git(&home, &folder.join("two"), &["pull", "--quiet", "origin", "main"]);
        }
        assert!(fs::read(folder.join("two/large")).unwrap() == noise(size, round));
    }
    assert_eq!(
        git(&home, &one, &["rev-parse", "HEAD"]),
        git(&home, &folder.join("two"), &["rev-parse", "HEAD"])
    );
    git(&home, &folder.join("two"), &["fsck", "--strict"]);
    git(&home, &project.join("a.git"), &["fsck", "--strict"]);
    let told = fs::read_to_string(told).unwrap();
    let large: Vec<_> = told.lines().filter(|line| line.contains("receive-pack length=")).collect();
    assert!(large.len() >= 3, "{told}");
    if buffer_bodies {
        assert!(large.iter().all(|line| !line.contains("length= ")), "{told}");
    } else {
        assert!(large.iter().filter(|line| line.ends_with("length= chunked")).count() >= 2, "{told}");
    }
    assert!(!served.log.all().contains("cgi: /git: it ended"), "{}", served.log.all());
}

#[test]
fn clone_fetch_and_push_large_and_chunked() {
    clone_fetch_and_push(false);
}

#[test]
fn clone_fetch_and_push_with_bodies_read_beforehand() {
    clone_fetch_and_push(true);
}
