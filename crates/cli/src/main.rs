//! `stdserve` without Python: folders of files, CGI scripts, and a file of settings with several of them. What needs
//! Python is refused, and served by the command of the Python package.
#![forbid(unsafe_code)]

use stdserve_program::NoInterpreter;

fn main() {
    let argv: Vec<_> = std::env::args_os().skip(1).collect();
    std::process::exit(stdserve_program::main(&mut NoInterpreter, &argv));
}
