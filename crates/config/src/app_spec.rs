//! The application argument: what it looks like. Finding and importing it needs Python and stands elsewhere.

use std::fmt;
use std::path::PathBuf;

/// `MODULE[:CALLABLE]` or `PATH.py[:CALLABLE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    /// What to import.
    pub target: Target,
    /// What to take from it; none: the names `application`, `app` and `create_app()` are tried in this order.
    pub callable: Option<Callable>,
}

/// Where the application's code is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A module by its dotted name.
    Module(String),
    /// A Python file.
    File(PathBuf),
}

/// What in the module is the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callable {
    /// A name, or a dotted path of names, that is the WSGI application.
    Attribute(String),
    /// A function that returns the application.
    Factory {
        /// The function's name or dotted path.
        name: String,
        /// What stands between the parentheses, trimmed: Python literals, still to be evaluated. Often empty.
        arguments: String,
    },
}

impl AppSpec {
    /// Reads the argument; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (target, callable) = match text.split_once(':') {
            Some((target, callable)) => (target, Some(callable)),
            None => (text, None),
        };
        let target = if target.contains('/') || has_py_ending(target) {
            Target::File(PathBuf::from(target))
        } else if target.is_empty() {
            return Err("names no module before the `:`".into());
        } else if is_dotted_name(target) {
            Target::Module(target.to_owned())
        } else {
            return Err("names neither a module (dotted name) nor a Python file".into());
        };
        Ok(Self { target, callable: callable.map(Callable::parse).transpose()? })
    }

    /// The same application, with its callable taken as a factory (`--factory`).
    #[must_use]
    pub fn as_factory(mut self) -> Self {
        self.callable = Some(match self.callable.take() {
            Some(Callable::Attribute(name)) => Callable::Factory { name, arguments: String::new() },
            Some(factory) => factory,
            None => Callable::Factory { name: "create_app".into(), arguments: String::new() },
        });
        self
    }
}

impl Callable {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (name, arguments) = match text.split_once('(') {
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or("has a `(` without its `)` at the end")?;
                (name.trim_end(), Some(inner.trim()))
            }
            None => (text, None),
        };
        if name.is_empty() {
            return Err("names nothing after the `:`".into());
        }
        if !is_dotted_name(name) {
            return Err(format!("`{name}` is not a Python name"));
        }
        let name = name.to_owned();
        Ok(match arguments {
            Some(arguments) => Self::Factory { name, arguments: arguments.to_owned() },
            None => Self::Attribute(name),
        })
    }
}

fn has_py_ending(text: &str) -> bool {
    std::path::Path::new(text).extension().is_some_and(|ending| ending == "py")
}

/// Close to Python's rule for identifiers (PEP 3131): good enough to tell a typing error from a name.
pub(crate) fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
            && chars.all(|c| c == '_' || c.is_alphanumeric())
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for AppSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)?;
        match &self.callable {
            None => Ok(()),
            Some(Callable::Attribute(name)) => write!(f, ":{name}"),
            Some(Callable::Factory { name, arguments }) => write!(f, ":{name}({arguments})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn module(name: &str) -> Target {
        Target::Module(name.into())
    }

    #[test]
    fn forms() {
        let attribute = |name: &str| Some(Callable::Attribute(name.into()));
        let factory = |name: &str, arguments: &str| {
            Some(Callable::Factory { name: name.into(), arguments: arguments.into() })
        };
        for (text, target, callable) in [
            ("mysite", module("mysite"), None),
            ("mysite.wsgi:application", module("mysite.wsgi"), attribute("application")),
            ("a:b.c", module("a"), attribute("b.c")),
            ("a:create_app()", module("a"), factory("create_app", "")),
            ("a:make('x:y', n=1)", module("a"), factory("make", "'x:y', n=1")),
            ("app.py", Target::File("app.py".into()), None),
            ("path/to/app.py:app", Target::File("path/to/app.py".into()), attribute("app")),
            ("./site", Target::File("./site".into()), None),
            ("café:app", module("café"), attribute("app")),
        ] {
            assert_eq!(AppSpec::parse(text), Ok(AppSpec { target, callable }), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for text in ["", ":app", "a:", "a:()", "a:b(", "a:b:c", "a b", "1a", ".a", "a..b", "a:b-c", "my-app"]
        {
            assert!(AppSpec::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn factory_option() {
        let spec = |text| AppSpec::parse(text).expect(text).as_factory().to_string();
        assert_eq!(spec("a:make"), "a:make()");
        assert_eq!(spec("a:make(1)"), "a:make(1)");
        assert_eq!(spec("a"), "a:create_app()");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_all_reads_back(text in "\\PC*") {
            if let Ok(spec) = AppSpec::parse(&text) {
                prop_assert_eq!(AppSpec::parse(&spec.to_string()), Ok(spec));
            }
        }
    }
}
