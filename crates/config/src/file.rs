//! Values from `stdserve.toml`, or from `[tool.stdserve]` in `pyproject.toml`.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Problem, Source};
use crate::field::Raw;
use crate::layers::{Given, Rank};
use crate::options::find;
use crate::suggest;
use crate::surroundings::Surroundings;

/// The key of the services' tables.
const SERVICES: &str = "services";

/// The names that are looked for, in this order; the first that has our settings is the one that counts.
const NAMES: [&str; 2] = ["stdserve.toml", "pyproject.toml"];

/// What a file holds.
#[derive(Default)]
pub(crate) struct Contents {
    /// The options that stand by themselves.
    pub(crate) given: Vec<Given>,
    /// `[services.NAME]`, in the order of the file.
    pub(crate) services: Vec<Table>,
    /// The file; none where there is none.
    pub(crate) path: Option<PathBuf>,
}

/// A service's table.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) entries: Vec<Entry>,
}

/// A key of a service's table and its value, or what is wrong with it.
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) source: Source,
    pub(crate) raw: Result<Raw, String>,
}

/// Finds the file, named or not, and reads it.
pub(crate) fn read(
    named: Option<&Path>,
    by: &Source,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Contents {
    if let Some(path) = named {
        return match (around.read)(&around.cwd.join(path)) {
            Ok(text) => contents(path, &text, problems).unwrap_or_default(),
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                problems.push(Problem::new(by.clone(), message));
                Contents::default()
            }
        };
    }
    for name in NAMES {
        let path = Path::new(name);
        match (around.read)(&around.cwd.join(name)) {
            Ok(text) => {
                // Somebody else's pyproject.toml need not be our concern, unless it speaks of us.
                if name == "pyproject.toml" && !text.contains("stdserve") {
                    continue;
                }
                if let Some(contents) = contents(path, &text, problems) {
                    return contents;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(Problem::new(None, format!("{name} cannot be read: {error}"))),
        }
    }
    Contents::default()
}

/// What stands in a file; none where it is a `pyproject.toml` without our table.
fn contents(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Option<Contents> {
    let line = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|&&b| b == b'\n').count();
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = line(error.span().map_or(0, |span| span.start));
            let message = format!("{}:{line}: {}", path.display(), error.message());
            problems.push(Problem::new(None, message).hint("The file is not valid TOML.".to_owned()));
            return Some(Contents { path: Some(path.to_owned()), ..Contents::default() });
        }
    };
    let table = document.get_ref();
    let table = if path.file_name().is_some_and(|name| name == "pyproject.toml") {
        table.get("tool")?.get_ref().as_table()?.get("stdserve")?.get_ref().as_table()?
    } else {
        table
    };
    let place =
        |at: usize, key: &str| Source::File { path: path.to_owned(), line: line(at), key: key.to_owned() };
    let mut contents = Contents { path: Some(path.to_owned()), ..Contents::default() };
    for (key, value) in table {
        let name: &str = key.get_ref();
        let source = place(key.span().start, name);
        if name == SERVICES {
            contents.services = services(value, &source, &place, problems);
            continue;
        }
        match (find(name), raw(value)) {
            (None, _) => {
                let table = matches!(value.get_ref(), DeValue::Table(_));
                let hint = if table && suggest::closest(name, [SERVICES.to_owned()]).is_some() {
                    Some(format!("Did you mean [{SERVICES}.NAME]?"))
                } else if table {
                    Some("An option stands by itself, not in a table of its own.".to_owned())
                } else {
                    suggest::hint(name, None, |name| format!("`{name}`"))
                };
                problems.push(Problem::new(source, "there is no such option").hint(hint));
            }
            (_, Err(why)) => problems.push(Problem::new(source, why)),
            (Some(found), Ok(raw)) => contents.given.push(Given::new(found, raw, Rank::File, source)),
        }
    }
    Some(contents)
}

/// The tables below `services`.
fn services(
    value: &Spanned<DeValue<'_>>,
    source: &Source,
    place: &dyn Fn(usize, &str) -> Source,
    problems: &mut Vec<Problem>,
) -> Vec<Table> {
    let hint = "Each service has a table: [services.NAME].";
    let DeValue::Table(table) = value.get_ref() else {
        problems.push(Problem::new(source.clone(), "is not a table").hint(hint.to_owned()));
        return Vec::new();
    };
    let mut services = Vec::new();
    for (key, value) in table {
        let name: &str = key.get_ref();
        let source = place(key.span().start, &format!("{SERVICES}.{name}"));
        let DeValue::Table(table) = value.get_ref() else {
            problems.push(Problem::new(source, "is not a table").hint(hint.to_owned()));
            continue;
        };
        let entries = table.iter().map(|(key, value)| Entry {
            key: key.get_ref().clone().into_owned(),
            source: place(key.span().start, &format!("{SERVICES}.{name}.{}", key.get_ref())),
            raw: raw(value),
        });
        services
            .push((key.span().start, Table { name: name.to_owned(), source, entries: entries.collect() }));
    }
    services.sort_by_key(|(at, _)| *at);
    services.into_iter().map(|(_, table)| table).collect()
}

pub(crate) fn raw(value: &Spanned<DeValue<'_>>) -> Result<Raw, String> {
    let text = |value: &Spanned<DeValue<'_>>| match scalar(value.get_ref())? {
        Raw::Text(text) => Ok(text),
        other => Err(format!("has the entry {other}; a list here holds texts")),
    };
    match value.get_ref() {
        DeValue::Array(list) => list.iter().map(text).collect::<Result<_, _>>().map(Raw::List),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| Ok((key.get_ref().clone().into_owned(), text(value)?)))
            .collect::<Result<_, _>>()
            .map(Raw::Table),
        value => scalar(value),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<Raw, String> {
    Ok(match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Raw::Integer)
            .map_err(|_| format!("{} is too large a number", number.as_str()))?,
        DeValue::Float(number) => Raw::Text(number.as_str().to_owned()),
        DeValue::Boolean(value) => Raw::Text(value.to_string()),
        other => {
            return Err(format!(
                "is a {}; an option takes a text, a number, true or false",
                other.type_str()
            ));
        }
    })
}
