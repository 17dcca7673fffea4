//! What is made from the table and kept in the repository is up to date. `UPDATE=1` writes it anew.

use std::path::Path;
use std::{env, fs};

use stdserve_config::option::Group;
use stdserve_config::{Command, Surroundings, Verb, generate, parse, without_python};

/// Compares a file, named from the repository's root, with what it should hold.
fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).expect("the file can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name} is out of date: UPDATE=1 cargo test -p stdserve-config writes it anew");
}

fn help(arguments: &[&str]) -> String {
    let read = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let around = Surroundings { env: Vec::new(), cwd: "/".into(), read: &read, python: &without_python };
    match parse(arguments, &around) {
        Ok(Command::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn verbs() -> impl Iterator<Item = Verb> {
    Verb::ALL.into_iter()
}

#[test]
fn the_reference_page() {
    check("docs/options.md", &generate::reference_page());
}

#[test]
fn the_types_for_python() {
    check("python/stdserve/_options.py", &generate::python_types());
}

/// A file a verb: what it prints, and its own groups in full; `serve.txt` has those of all services, too.
#[test]
fn help_as_a_snapshot() {
    for verb in verbs() {
        let word = verb.word();
        let mut text = help(&[word, "--help"]);
        for group in Group::ALL {
            let shared = verb == Verb::Serve && group.home().is_empty();
            if shared || group.home().first() == Some(&verb) {
                text.push_str("\n---\n");
                text.push_str(&help(&[word, &format!("--help={}", group.word())]));
            }
        }
        check(&format!("crates/config/tests/help/{word}.txt"), &text);
    }
}

#[test]
fn help_fits_a_screen_a_group() {
    for verb in verbs() {
        let text = help(&[verb.word(), "-h"]);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "wider than a screen: {line}");
        }
        for group in text.split("\n\n") {
            assert!(group.lines().count() <= 24, "longer than a screen:\n{group}");
        }
    }
}

#[test]
fn help_shows_what_concerns_the_verb() {
    let files = help(&["files", "--help"]);
    assert!(files.contains("--spa") && files.contains("--bind") && files.contains("--max-body"));
    for other in ["--factory", "--cgi-timeout", "--pythonpath", "--preload", "--max-children"] {
        assert!(!files.contains(other), "{other}");
    }
    let udp = help(&["udp", "--help"]);
    assert!(udp.contains("--max-packet-size") && !udp.contains("--keep-alive") && !udp.contains("--backlog"));
    let up = help(&["up", "--help"]);
    assert!(up.contains("--only") && up.contains("--keep-alive") && !up.contains("--spa"));
    assert_eq!(help(&["--help"]), help(&["serve", "--help"]));
}
