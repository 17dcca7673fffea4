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

/// The names that are looked for, in this order; the first that has our settings is the one that counts.
const NAMES: [&str; 2] = ["stdserve.toml", "pyproject.toml"];

/// Finds the file, named or not, and reads it. Also says which file it was.
pub(crate) fn read(
    named: Option<&Path>,
    by: &Source,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> (Vec<Given>, Option<PathBuf>) {
    if let Some(path) = named {
        if path.extension().is_some_and(|ending| ending == "py") {
            let message = format!("`{}` is a Python file; this version reads TOML only", path.display());
            problems.push(Problem::new(by.clone(), message));
            return (Vec::new(), None);
        }
        return match (around.read)(&around.cwd.join(path)) {
            Ok(text) => (given(path, &text, problems).unwrap_or_default(), Some(path.to_owned())),
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                problems.push(Problem::new(by.clone(), message));
                (Vec::new(), None)
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
                if let Some(given) = given(path, &text, problems) {
                    return (given, Some(path.to_owned()));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(Problem::new(None, format!("{name} cannot be read: {error}"))),
        }
    }
    (Vec::new(), None)
}

/// The values in a file; none where it is a `pyproject.toml` without our table.
fn given(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Option<Vec<Given>> {
    let line = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|&&b| b == b'\n').count();
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let line = line(error.span().map_or(0, |span| span.start));
            let message = format!("{}:{line}: {}", path.display(), error.message());
            problems.push(Problem::new(None, message).hint("The file is not valid TOML.".to_owned()));
            return Some(Vec::new());
        }
    };
    let table = document.get_ref();
    let table = if path.file_name().is_some_and(|name| name == "pyproject.toml") {
        table.get("tool")?.get_ref().as_table()?.get("stdserve")?.get_ref().as_table()?
    } else {
        table
    };
    let mut all = Vec::new();
    for (key, value) in table {
        let source = Source::File {
            path: path.to_owned(),
            line: line(key.span().start),
            key: key.get_ref().clone().into_owned(),
        };
        match (find(key.get_ref()), raw(value)) {
            (None, _) => {
                let hint = if matches!(value.get_ref(), DeValue::Table(_)) {
                    Some("An option stands by itself, not in a table of its own.".to_owned())
                } else {
                    suggest::hint(key.get_ref(), |name| format!("`{name}`"))
                };
                problems.push(Problem::new(source, "there is no such option").hint(hint));
            }
            (_, Err(why)) => problems.push(Problem::new(source, why)),
            (Some(found), Ok(raw)) => all.push(Given::new(found, raw, Rank::File, source)),
        }
    }
    Some(all)
}

fn raw(value: &Spanned<DeValue<'_>>) -> Result<Raw, String> {
    let text = |value: &Spanned<DeValue<'_>>| match scalar(value.get_ref())? {
        Raw::Text(text) => Ok(text),
        other => Err(format!("has the entry {other}; a list here holds texts")),
    };
    match value.get_ref() {
        DeValue::Array(list) => list.iter().map(text).collect::<Result<_, _>>().map(Raw::List),
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
