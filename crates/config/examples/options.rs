//! Tries the command line without a server: `cargo run -p stdserve-config --example options -- --help`.

use stdserve_config::{Command, Surroundings, UsageError, parse, without_python};

fn main() {
    match parse(std::env::args_os().skip(1), &Surroundings::of_process(&without_python)) {
        Ok(Command::Print(text)) => print!("{text}"),
        Ok(Command::Run(program)) => println!("{program:#?}"),
        Ok(Command::Serve(serve)) => println!("{:#?}", serve.groups),
        Ok(Command::Control(control)) => println!("{control:#?}"),
        Ok(Command::Ctl(ctl)) => println!("{ctl:#?}"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(UsageError::EXIT_CODE);
        }
    }
}
