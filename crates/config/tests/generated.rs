//! What is made from the table and kept in the repository is up to date. `UPDATE=1` writes it anew.

use std::path::Path;
use std::{env, fs};

use stdserve_config::{Command, Surroundings, generate, parse};

/// Compares a file, named from the repository's root, with what it should hold.
fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, wanted).expect("the file can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name} is out of date: UPDATE=1 cargo test -p stdserve-config writes it anew");
}

fn help(argument: &str) -> String {
    let read = |_: &Path| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let around = Surroundings { env: Vec::new(), cwd: "/".into(), read: &read };
    match parse([argument], &around) {
        Ok(Command::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_reference_page() {
    check("docs/options.md", &generate::reference_page());
}

#[test]
fn the_types_for_python() {
    check("python/stdserve/_options.py", &generate::python_types());
}

#[test]
fn help_as_a_snapshot() {
    let groups = ["app", "listen", "workers", "limits", "timeouts", "http", "logs"];
    let mut text = help("--help");
    for group in groups {
        text.push_str("\n---\n");
        text.push_str(&help(&format!("--help={group}")));
    }
    check("crates/config/tests/help.txt", &text);
}

#[test]
fn help_fits_a_screen_a_group() {
    let text = help("-h");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "wider than a screen");
    for group in text.split("\n\n") {
        assert!(group.lines().count() <= 24, "longer than a screen:\n{group}");
    }
}
