//! The application, what stands beside it, and what processes find around them.

use super::checks::{folder_at, prefix_path};
use super::{CONTROLLED, HTTP, PYTHON, SERVE};
use crate::field::{Field, PairKind};
use crate::option::{Group, Opt, Scope};

const APPLICATION: Opt = Opt { group: Group::Application, verbs: SERVE, scope: Scope::Service, ..Opt::BASE };
const FOLDERS: Opt =
    Opt { group: Group::Folders, verbs: SERVE, scope: Scope::Service, default: Some(""), ..Opt::BASE };
const PROCESS: Opt = Opt { group: Group::Process, metavar: "DIR", ..Opt::BASE };

pub(super) const OPTIONS: &[Opt] = &[APP, FACTORY, ROOT_PATH, STATIC, SENDFILE_ROOT, ACCEL_ROOT];
pub(super) const SURROUNDINGS: &[Opt] = &[CHDIR, PYTHONPATH, ENV, TEMP_DIR];

const APP: Opt = Opt {
    name: "app",
    aliases: &["wsgi-app"],
    embedded: false,
    positional: true,
    metavar: "APP",
    unset: "has to be named",
    help: "MODULE[:CALLABLE], a file, or module:create_app()",
    doc: "The WSGI application: the dotted name of a module or the path of a Python file, and after a `:` the \
        callable in it. Without one the names `application`, `app` and `create_app()` are tried in this order. \
        A callable that ends in `()` is called once and returns the application; literals may stand between \
        its parentheses.",
    field: Field::App(|s| &mut s.targets.app, None),
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

const ROOT_PATH: Opt = Opt {
    name: "root-path",
    aliases: &["url-path-prefix"],
    metavar: "PATH",
    default: Some(""),
    unset: "none",
    help: "Path prefix of the application (SCRIPT_NAME)",
    doc: "Where the request's path starts with it, it is taken off `PATH_INFO`.",
    field: Field::Text(|s| &mut s.wsgi.root_path, prefix_path),
    ..APPLICATION
};

const STATIC: Opt = Opt {
    name: "static",
    embedded: false,
    metavar: "PATH=DIR",
    help: "Serve a folder beneath a path; repeatable",
    doc: "`/static=public` answers `/static/…` with the files of `public`, without the application. There are no \
        listings and no uploads; `--cache-control` and the other options for answers with files count. A folder with \
        options of its own is a service of its own: see `stdserve up`.",
    field: Field::Pairs(|s| &mut s.wsgi.folders, &STATIC_FORM),
    ..FOLDERS
};

const STATIC_FORM: PairKind = PairKind {
    separator: '=',
    form: "/PATH=DIR",
    check: |path, folder| match prefix_path(path)?.as_str() {
        "" => Err("would hide the whole application; write /PATH=DIR".into()),
        path => folder_at(path, folder),
    },
};

const SENDFILE_ROOT: Opt = Opt {
    name: "sendfile-root",
    metavar: "DIR",
    help: "Send files beneath it for X-Sendfile; repeatable",
    doc: "An answer with the field `X-Sendfile: PATH` is sent with the contents of that file, by the server, with ranges \
        and conditions. The file must lie beneath one of these folders; the field is taken off in any case. Without such \
        a folder it is the application's own business.",
    field: Field::Paths(|s| &mut s.wsgi.sendfile_roots),
    ..FOLDERS
};

const ACCEL_ROOT: Opt = Opt {
    name: "accel-root",
    metavar: "PATH=DIR",
    help: "Send files for X-Accel-Redirect; repeatable",
    doc: "`/protected=/srv/media` sends `/srv/media/a.pdf` for an answer with `X-Accel-Redirect: /protected/a.pdf`, as \
        nginx does with an internal location.",
    field: Field::Pairs(|s| &mut s.wsgi.accel_roots, &ACCEL_FORM),
    ..FOLDERS
};

const ACCEL_FORM: PairKind = PairKind {
    separator: '=',
    form: "/PATH=DIR",
    check: |path, folder| folder_at(&prefix_path(path)?, folder),
};

const CHDIR: Opt = Opt {
    name: "chdir",
    aliases: &["working-dir"],
    verbs: CONTROLLED,
    scope: Scope::Supervisor,
    reload: false,
    embedded: false,
    unset: "the current folder",
    help: "Change to this folder first",
    doc: "The application is imported after the change; the configuration file is looked for before it.",
    field: Field::MaybePath(|s| &mut s.process.chdir),
    ..PROCESS
};

const PYTHONPATH: Opt = Opt {
    name: "pythonpath",
    aliases: &["app-dir"],
    verbs: PYTHON,
    embedded: false,
    default: Some(""),
    help: "Put first on Python's search path; repeatable",
    doc: "The current folder (after `--chdir`) is on the search path in any case.",
    field: Field::Paths(|s| &mut s.process.pythonpath),
    ..PROCESS
};

const ENV: Opt = Opt {
    name: "env",
    short: Some('e'),
    aliases: &["raw-env"],
    verbs: PYTHON,
    embedded: false,
    metavar: "NAME=VALUE",
    default: Some(""),
    unset: "none",
    help: "Set a variable of the environment; repeatable",
    doc: "In the processes that import the application, before they do.",
    field: Field::Pairs(|s| &mut s.process.env, &ENV_FORM),
    ..PROCESS
};

const ENV_FORM: PairKind = PairKind {
    separator: '=',
    form: "NAME=VALUE",
    check: |name, value| {
        if name.is_empty() || name.contains('\0') || value.contains('\0') {
            return Err("is no variable".into());
        }
        Ok((name.to_owned(), value.to_owned()))
    },
};

const TEMP_DIR: Opt = Opt {
    name: "temp-dir",
    verbs: HTTP,
    unset: "$TMPDIR, else /tmp",
    help: "Where large bodies are kept",
    doc: "Request bodies over `--body-buffer` are written to unlinked files in this folder. It should be a disk, not \
        memory. Where it is full the answer is 503.",
    field: Field::MaybePath(|s| &mut s.process.temp_dir),
    ..PROCESS
};
