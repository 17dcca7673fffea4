//! What is served, and where its code is found.

use crate::field::Field;
use crate::option::{Group, Opt, Scope};

const APPLICATION: Opt = Opt { group: Group::Application, ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[APP, FACTORY, CHDIR, PYTHONPATH, TEMP_DIR];

const APP: Opt = Opt {
    name: "app",
    aliases: &["wsgi-app"],
    embedded: false,
    metavar: "APP",
    unset: "has to be named",
    help: "MODULE[:CALLABLE], a file, or module:create_app()",
    doc: "The WSGI application: the dotted name of a module or the path of a Python file, and after a `:` the \
        callable in it. Without one the names `application`, `app` and `create_app()` are tried in this order. \
        A callable that ends in `()` is called once and returns the application; literals may stand between \
        its parentheses.",
    field: Field::App(|s| &mut s.app),
    ..APPLICATION
};

const FACTORY: Opt = Opt {
    name: "factory",
    embedded: false,
    default: Some("false"),
    help: "The callable returns the application",
    doc: "The same as `()` behind the callable's name.",
    field: Field::Switch(|s| &mut s.factory),
    ..APPLICATION
};

const CHDIR: Opt = Opt {
    name: "chdir",
    aliases: &["working-dir"],
    scope: Scope::Supervisor,
    embedded: false,
    metavar: "DIR",
    unset: "the current folder",
    help: "Change to this folder first",
    doc: "The application is imported after the change; the configuration file is looked for before it.",
    field: Field::MaybePath(|s| &mut s.process.chdir),
    ..APPLICATION
};

const PYTHONPATH: Opt = Opt {
    name: "pythonpath",
    aliases: &["app-dir"],
    embedded: false,
    metavar: "DIR",
    default: Some(""),
    help: "Put first on Python's search path; repeatable",
    doc: "The current folder (after `--chdir`) is on the search path in any case.",
    field: Field::Paths(|s| &mut s.process.pythonpath),
    ..APPLICATION
};

const TEMP_DIR: Opt = Opt {
    name: "temp-dir",
    metavar: "DIR",
    unset: "$TMPDIR, else /tmp",
    help: "Where large bodies are kept",
    doc: "Request bodies over `--body-buffer` are written to unlinked files in this folder. It should be a disk, not \
        memory. Where it is full the answer is 503.",
    field: Field::MaybePath(|s| &mut s.process.temp_dir),
    ..APPLICATION
};
