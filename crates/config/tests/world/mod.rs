//! A made-up world for the parser: environment and files.
#![allow(dead_code)] // each test uses what it needs
#![allow(unreachable_pub)] // a module of tests is nobody's library

use std::collections::HashMap;
use std::io;
use std::path::Path;

use stdserve_config::{Command, Serve, Surroundings, UsageError, parse};

/// What came out, short enough for a message.
fn summary(outcome: &Result<Command, UsageError>) -> String {
    match outcome {
        Ok(Command::Serve(serve)) => format!("served: {}", serve.groups[0].name),
        Ok(Command::Print(text)) => format!("printed: {text}"),
        Ok(Command::Run(run)) => format!("run: {run:?}"),
        Ok(Command::Control(control)) => format!("{control:?}"),
        Ok(Command::Ctl(ctl)) => format!("{ctl:?}"),
        Err(error) => error.to_string(),
    }
}

/// A made-up world: environment and files.
pub fn run(argv: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Command, UsageError> {
    let files: HashMap<_, _> =
        files.iter().map(|(name, text)| (Path::new("/srv").join(name), *text)).collect();
    let read = |path: &Path| {
        files.get(path).map(|text| (*text).to_owned()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    // What such a file gives when it is run is what stands in it here.
    let python =
        |path: &Path| files.get(path).map(|text| (*text).to_owned()).ok_or_else(|| "no such file".to_owned());
    let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    parse(argv, &Surroundings { env, cwd: "/srv".into(), read: &read, python: &python })
}

pub fn serve(argv: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]) -> Serve {
    match run(argv, env, files) {
        Ok(Command::Serve(serve)) => *serve,
        other => panic!("{}", summary(&other)),
    }
}

pub fn error(argv: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    run(argv, env, files).expect_err("refused").to_string()
}

pub fn printed(argv: &[&str], env: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    match run(argv, env, files) {
        Ok(Command::Print(text)) => text,
        other => panic!("{}", summary(&other)),
    }
}

pub fn target(serve: &Serve) -> String {
    serve.groups[0].services[0].kind.target()
}

pub fn binds(serve: &Serve) -> Vec<String> {
    serve.configuration.settings.listen.bind.iter().map(ToString::to_string).collect()
}
