//! python/stdserve/_options.py: the keywords of `stdserve.run` and `stdserve.Server`, as types.

use std::fmt::Write;

use crate::field::Field;
use crate::option::Opt;
use crate::options::all;
use crate::verb::Verb;

const HEAD: &str = r#""""The options of `stdserve.run` and `stdserve.Server`, as types.

Made from the option table in crates/config by UPDATE=1 cargo test -p stdserve-config: do not edit.

Times are seconds, or texts such as "500ms", "30s", "5m"; sizes are bytes, or texts such as "64KiB", "512MiB".
docs/options.md says more of each option.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

Path: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = int | str
Time: TypeAlias = float | str
Pairs: TypeAlias = str | Sequence[str] | Mapping[str, str]

__all__ = ["Pairs", "Path", "RunOptions", "ServerOptions", "Size", "Time"]
"#;

/// The module's text.
pub fn python_types() -> String {
    let mut text = HEAD.to_owned();
    text.push_str(
        "\n\nclass ServerOptions(TypedDict, total=False):\n    \
         \"\"\"Keywords of `stdserve.Server`; `stdserve.run` takes them too.\"\"\"\n\n",
    );
    for opt in keywords().filter(|opt| opt.embedded) {
        keyword(&mut text, opt);
    }
    text.push_str(
        "\n\nclass RunOptions(ServerOptions, total=False):\n    \"\"\"Keywords of `stdserve.run`.\"\"\"\n\n    \
         #: Read this file instead of stdserve.toml or pyproject.toml.\n    config: Path\n",
    );
    for opt in keywords().filter(|opt| !opt.embedded) {
        keyword(&mut text, opt);
    }
    text
}

/// The application is the functions' first argument, not a keyword.
fn keywords() -> impl Iterator<Item = &'static Opt> {
    all().filter(|opt| !opt.positional && opt.is_for(Verb::Serve))
}

fn keyword(text: &mut String, opt: &Opt) {
    let default = match opt.default_text() {
        "" => String::new(),
        default => format!(" Default: {default}"),
    };
    // A switch's line of help may speak of its opposite; its documentation does not.
    let what = if opt.field.is_switch() { opt.doc.to_owned() } else { format!("{}.", opt.help) };
    let mut line = String::from("    #:");
    for word in format!("{what}{default}").split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            let _ = writeln!(text, "{line}");
            "    #:".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}\n    {}: {}", opt.python_name(), annotation(&opt.field));
}

fn annotation(field: &Field) -> String {
    match field {
        Field::Switch(_) => "bool".into(),
        Field::SwitchOr(words, ..) => {
            let quoted: Vec<_> = words.iter().skip(2).map(|word| format!("\"{word}\"")).collect();
            format!("bool | Literal[{}]", quoted.join(", "))
        }
        Field::MaybeCount(_, word, ..) if !matches!(*word, "" | "0") => format!("int | Literal[\"{word}\"]"),
        Field::Count(..) | Field::MaybeCount(..) | Field::Number(_) => "int".into(),
        Field::Mode(_) | Field::MaybeMode(_) => "int | str".into(),
        Field::Memory(..) | Field::Size(_) | Field::MaybeSize(_) | Field::MaybeMemory(_) => "Size".into(),
        Field::Time(..) | Field::MaybeTime(..) => "Time".into(),
        Field::Text(..) | Field::MaybeText(..) | Field::App(..) | Field::Access(_) | Field::Admin(_) => {
            "str".into()
        }
        Field::Choice(words, ..) => {
            let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("Literal[{}]", quoted.join(", "))
        }
        Field::MaybePath(_) | Field::Log(_) => "Path".into(),
        Field::Paths(_) => "Sequence[Path]".into(),
        Field::Binds(_) | Field::Peers(_) | Field::Texts(..) => "str | Sequence[str]".into(),
        Field::Pairs(..) => "Pairs".into(),
    }
}
