//! Settings from a configuration file in Python: `stdserve_conf.py`, or gunicorn's.
//!
//! The file is run elsewhere, in a process of its own ([`Surroundings::python`]); what came of it is a TOML document:
//! an array `[[setting]]` of tables with `name`, `line` and one of `value` (a text, number, boolean, list or table of
//! texts), `function = true`, or `other` (the type of what is none of these). Where the file failed there is `error`.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::{Problem, Source, shown};
use crate::field::Raw;
use crate::gunicorn::{self, HOOKS, Means, OTHER_HOOKS};
use crate::layers::{Given, Rank};
use crate::option::Opt;
use crate::options::{Found, find, normal};
use crate::suggest;
use crate::surroundings::Surroundings;

/// The names that are looked for in the folder of the start, in this order.
pub(crate) const NAMES: [&str; 2] = ["stdserve_conf.py", "gunicorn.conf.py"];

/// What a file says.
#[derive(Default)]
pub(crate) struct Contents {
    /// Its settings, and the file itself, for whoever calls its functions.
    pub(crate) given: Vec<Given>,
    /// What of it means nothing here.
    pub(crate) notes: Vec<String>,
}

/// Where the file itself goes: an option that nobody can give.
static FILE: Opt = Opt {
    name: "python-file",
    field: crate::field::Field::MaybePath(|settings| &mut settings.process.python_file),
    ..Opt::BASE
};

/// Whether a path is one of a Python file.
pub(crate) fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "py")
}

/// Reads the file. `path` is shown as it is.
pub(crate) fn read(
    path: &Path,
    by: Option<&Source>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Contents {
    let whole = around.cwd.join(path);
    let text = match (around.python)(&whole) {
        Ok(text) => text,
        Err(why) => {
            let message = format!("{} cannot be read: {why}", path.display());
            problems.push(Problem::new(by.cloned(), message));
            return Contents::default();
        }
    };
    // Options by our own names are looked for in a file of our own only: `host` and `port` are variables elsewhere.
    let own = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("stdserve"));
    let mut reading = Reading { path, own, contents: Contents::default(), problems };
    reading.document(&text);
    let mut contents = reading.contents;
    let source = Source::File { path: path.to_owned(), line: 1, key: "file".to_owned() };
    let raw = Raw::Text(whole.display().to_string());
    contents.given.push(Given { opt: &FILE, raw, rank: Rank::Python, source });
    contents
}

struct Reading<'a> {
    path: &'a Path,
    own: bool,
    contents: Contents,
    problems: &'a mut Vec<Problem>,
}

/// A setting of the file.
struct Setting<'a> {
    name: &'a str,
    source: Source,
    kind: Kind,
}

enum Kind {
    Value(Raw),
    Function,
    /// Of this type, or wrong in this way.
    Other(String),
}

impl Reading<'_> {
    fn document(&mut self, text: &str) {
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => return self.fail(&format!("said what is not understood: {}", error.message())),
        };
        let table = document.get_ref();
        if let Some(error) = table.get("error").and_then(|error| error.get_ref().as_str()) {
            return self.fail(&format!("failed\n{}", error.trim_end()));
        }
        let settings = table.get("setting").and_then(|list| list.get_ref().as_array());
        let settings: Vec<_> = settings
            .into_iter()
            .flatten()
            .filter_map(|setting| self.setting(setting.get_ref().as_table()?))
            .collect();
        let names: Vec<_> = settings.iter().map(|setting| setting.name).collect();
        for setting in &settings {
            self.take(setting, &names);
        }
        self.hint_at_threads(&names);
    }

    fn fail(&mut self, how: &str) {
        self.problems.push(Problem::new(None, format!("{} {how}", self.path.display())));
    }

    fn setting<'a>(&self, table: &'a DeTable<'_>) -> Option<Setting<'a>> {
        let name = table.get("name")?.get_ref().as_str()?;
        let line = table.get("line").and_then(|line| match line.get_ref() {
            DeValue::Integer(line) => line.as_str().parse().ok(),
            _ => None,
        });
        let source =
            Source::File { path: self.path.to_owned(), line: line.unwrap_or(1), key: name.to_owned() };
        let kind = match (table.get("value"), table.get("other").and_then(|other| other.get_ref().as_str())) {
            (Some(value), _) => crate::file::raw(value).map_or_else(Kind::Other, Kind::Value),
            (None, Some(other)) => Kind::Other(format!("is a {other}, which is no value of an option")),
            (None, None) => Kind::Function,
        };
        Some(Setting { name, source, kind })
    }

    fn take(&mut self, setting: &Setting<'_>, names: &[&str]) {
        let name = setting.name;
        if HOOKS.contains(&name) {
            if let Kind::Value(_) | Kind::Other(_) = setting.kind {
                let message = "is no function: it would be called";
                self.problems.push(Problem::new(setting.source.clone(), message));
            }
            return;
        }
        if OTHER_HOOKS.contains(&name) {
            return self.note(setting, "nothing would call it");
        }
        let Some(means) = gunicorn::meaning(name) else { return self.take_own(setting) };
        match means {
            Means::Option(option) => self.give(setting, option),
            Means::OptionUnlessZero(option) => {
                if !matches!(setting.kind, Kind::Value(Raw::Integer(0))) {
                    self.give(setting, option);
                } else if option.starts_with("limit") {
                    self.note(setting, "0 would mean no limit, and there is always one");
                }
            }
            Means::WorkerClass => self.worker_class(setting, names),
            Means::Nothing(why) if setting.says_something() => self.note(setting, why),
            Means::Refused(why) if setting.says_something() => {
                self.problems.push(Problem::new(setting.source.clone(), why));
            }
            Means::Nothing(_) | Means::Refused(_) => {}
        }
    }

    /// A name that gunicorn has no setting of.
    fn take_own(&mut self, setting: &Setting<'_>) {
        let Kind::Value(raw) = &setting.kind else { return };
        if self.own
            && let Some(found) = find(setting.name)
        {
            self.put(found, raw.clone(), setting);
        } else if let Some(near) = self.near(setting.name) {
            self.note(setting, &format!("there is no such setting; did you mean `{near}`?"));
        }
    }

    /// The setting that was most likely meant.
    fn near(&self, name: &str) -> Option<String> {
        let settings = gunicorn::SETTINGS.iter().map(|(name, _)| (*name).to_owned());
        let own = crate::options::all().filter(|_| self.own).map(crate::option::Opt::python_name);
        // A short word is near to many others.
        let name = normal(name).replace('-', "_");
        suggest::closest(&name, settings.chain(own)).filter(|near| name.len() > 4 && *near != name)
    }

    fn give(&mut self, setting: &Setting<'_>, option: &str) {
        match (find(option), &setting.kind) {
            (None, _) => self.note(setting, "this version has nothing of the kind"),
            (Some(found), Kind::Value(raw)) => self.put(found, raw.clone(), setting),
            (Some(_), Kind::Other(why)) => {
                self.problems.push(Problem::new(setting.source.clone(), why.clone()));
            }
            (Some(_), Kind::Function) => {
                let message = "is a function, which is no value of an option";
                self.problems.push(Problem::new(setting.source.clone(), message));
            }
        }
    }

    fn put(&mut self, found: Found, raw: Raw, setting: &Setting<'_>) {
        self.contents.given.push(Given::new(found, raw, Rank::Python, setting.source.clone()));
    }

    /// `sync` says that the application is never in two threads at once; `gthread` that it may be. The others are for
    /// coroutines of one kind or another.
    fn worker_class(&mut self, setting: &Setting<'_>, names: &[&str]) {
        match &setting.kind {
            Kind::Value(Raw::Text(class)) if class == "sync" => {
                if !names.contains(&"threads")
                    && let Some(found) = find("threads")
                {
                    self.put(found, Raw::Integer(1), setting);
                }
            }
            Kind::Value(Raw::Text(class)) if class == "gthread" => {}
            Kind::Value(raw) => {
                let why =
                    format!("`{}` has no counterpart: requests run on threads", shown(&raw.to_string()));
                self.note(setting, &why);
            }
            Kind::Function | Kind::Other(_) => self.note(setting, "requests run on threads"),
        }
    }

    /// gunicorn would run one request at a time.
    fn hint_at_threads(&mut self, names: &[&str]) {
        let gunicorns = names.iter().any(|name| gunicorn::meaning(name).is_some());
        if !self.own && gunicorns && !names.contains(&"threads") && !names.contains(&"worker_class") {
            self.contents.notes.push(format!(
                "{}: it sets neither threads nor worker_class: gunicorn would run one request at a time in a worker, \
                 stdserve runs several; write threads = 1 where the application does not stand that",
                self.path.display()
            ));
        }
    }

    fn note(&mut self, setting: &Setting<'_>, why: &str) {
        self.contents.notes.push(format!("{}: {why}", setting.source));
    }
}

impl Setting<'_> {
    /// Whether it is more than a word for "not that".
    fn says_something(&self) -> bool {
        match &self.kind {
            Kind::Value(Raw::Text(text)) => {
                !matches!(text.as_str(), "" | "false" | "off" | "none" | "auto" | "http")
            }
            Kind::Value(Raw::Integer(number)) => *number != 0,
            Kind::Value(Raw::List(list)) => !list.is_empty(),
            Kind::Value(Raw::Table(table)) => !table.is_empty(),
            Kind::Function | Kind::Other(_) => true,
        }
    }
}

/// The file in the folder of the start, if there is one.
pub(crate) fn discover(names: &[&'static str], around: &Surroundings<'_>) -> Option<&'static Path> {
    names.iter().map(|name| Path::new(*name)).find(|name| {
        // One that cannot be read is there.
        !matches!((around.read)(&around.cwd.join(name)), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    })
}
