//! Finds the application, or another object, that was named and imports it. What can go wrong is told apart, since each
//! has its own remedy: a module that is not there, one that fails, a name that it lacks, a value that is no WSGI
//! application.

use std::fmt::Write as _;
use std::path::Path;

use pyo3::exceptions::{PyAttributeError, PyModuleNotFoundError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyModule, PyString};
use stdserve_config::{AppSpec, Callable, Target};

use crate::gateway::report::{self, type_name};

/// What is tried where no name is given: attributes, then a factory.
const USUAL: [&str; 2] = ["application", "app"];
const USUAL_FACTORY: &str = "create_app";

/// Why an application could not be loaded: a sentence, then what helps, or the application's own traceback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadError {
    /// Lines for the user.
    pub(crate) message: String,
}

impl LoadError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// For failures of the machinery itself, which are next to impossible.
    #[allow(clippy::needless_pass_by_value)] // for map_err
    fn internal(error: PyErr) -> Self {
        Self::new(error.to_string())
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LoadError {}

/// Imports a WSGI application. Without a name in its module the usual ones are tried.
pub(crate) fn load(py: Python<'_>, spec: &AppSpec) -> Result<Py<PyAny>, LoadError> {
    let module = import_target(py, spec)?;
    let (application, name) = match &spec.callable {
        Some(callable) => find_named(&module, callable, spec)?,
        None => find_usual(&module, spec)?,
    };
    check(&application, &format!("{}:{name}", spec.target), spec)?;
    Ok(application.unbind())
}

/// Imports an object of any kind, which has to be named; `what` says what it is to be, as in "handler class".
pub(crate) fn load_object(py: Python<'_>, spec: &AppSpec, what: &str) -> Result<Py<PyAny>, LoadError> {
    let module = import_target(py, spec)?;
    let Some(callable) = &spec.callable else {
        let mut message =
            format!("{spec} names a module, and not the {what} in it; write {}:NAME", spec.target);
        message.push_str(&listed(&callables(&module).unwrap_or_default()));
        return Err(LoadError::new(message));
    };
    Ok(find_named(&module, callable, spec)?.0.unbind())
}

/// Imports the module. The current directory comes first in `sys.path`, as for `python -m`.
fn import_target<'py>(py: Python<'py>, spec: &AppSpec) -> Result<Bound<'py, PyModule>, LoadError> {
    match &spec.target {
        Target::Module(name) => {
            put_first_on_path(py, &current_directory()).map_err(LoadError::internal)?;
            import(py, name, spec)
        }
        Target::File(path) => import_file(py, path, spec),
    }
}

/// What the module has under this name, or what a factory of this name makes; with the name in words.
fn find_named<'py>(
    module: &Bound<'py, PyModule>,
    callable: &Callable,
    spec: &AppSpec,
) -> Result<(Bound<'py, PyAny>, String), LoadError> {
    match callable {
        Callable::Attribute(name) => Ok((find(module, name, spec)?, name.clone())),
        Callable::Factory { name, arguments } => {
            let made = make(&find(module, name, spec)?, name, arguments, spec)?;
            Ok((made, format!("{name}({arguments})")))
        }
    }
}

fn current_directory() -> String {
    std::env::current_dir().map_or_else(|_| ".".to_owned(), |directory| directory.display().to_string())
}

fn put_first_on_path(py: Python<'_>, directory: &str) -> PyResult<()> {
    let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
    if path.get_item(0).is_ok_and(|first| first.eq(directory).unwrap_or(false)) {
        return Ok(());
    }
    path.insert(0, directory)
}

fn import<'py>(py: Python<'py>, name: &str, spec: &AppSpec) -> Result<Bound<'py, PyModule>, LoadError> {
    let imported =
        py.import("importlib").and_then(|importlib| importlib.call_method1("import_module", (name,)));
    match imported {
        Ok(module) => module.cast_into().map_err(|error| LoadError::internal(error.into())),
        Err(error) if is_about(py, &error, name) => Err(LoadError::new(no_module(py, name, &error))),
        Err(error) => Err(failed(py, &error, &format!("`{name}` failed while it was imported"), spec)),
    }
}

/// Whether the module that is missing is the one that was asked for, or a package that it would be in, and not one
/// that it imports itself.
fn is_about(py: Python<'_>, error: &PyErr, name: &str) -> bool {
    error.is_instance_of::<PyModuleNotFoundError>(py)
        && error.value(py).getattr("name").and_then(|missing| missing.extract::<String>()).is_ok_and(
            |missing| {
                name == missing || name.strip_prefix(&missing).is_some_and(|rest| rest.starts_with('.'))
            },
        )
}

fn no_module(py: Python<'_>, name: &str, error: &PyErr) -> String {
    let directory = current_directory();
    let missing = error
        .value(py)
        .getattr("name")
        .and_then(|missing| missing.extract::<String>())
        .unwrap_or_else(|_| name.to_owned());
    let mut message = format!("there is no module `{missing}` in {directory} or on Python's path");
    let (parent, last) = missing.rsplit_once('.').unwrap_or(("", &missing));
    let near = modules_beside(py, parent, &directory).and_then(|names| close(py, last, &names));
    if let Ok(Some(near)) = near {
        let rest = name.strip_prefix(&missing).unwrap_or_default();
        let dot = if parent.is_empty() { "" } else { "." };
        let _ = write!(message, "\nhint: did you mean `{parent}{dot}{near}{rest}`?");
    } else if missing == name && has(py, parent, last).unwrap_or(false) {
        let _ = write!(message, "\nhint: did you mean `{parent}:{last}`?");
    } else if parent.is_empty() {
        message.push_str(
            "\nhint: start the command in the directory that holds it, or name the file: path/to/file.py",
        );
    }
    message
}

/// Whether a module, which was imported on the way to one within it, has an attribute of this name.
fn has(py: Python<'_>, module: &str, name: &str) -> PyResult<bool> {
    py.import("sys")?.getattr("modules")?.get_item(module)?.hasattr(name)
}

/// The modules in a package, or in the current directory.
fn modules_beside(py: Python<'_>, parent: &str, directory: &str) -> PyResult<Vec<String>> {
    let path = if parent.is_empty() {
        PyList::new(py, [directory])?.into_any()
    } else {
        py.import("importlib")?.call_method1("import_module", (parent,))?.getattr("__path__")?
    };
    let found = py.import("pkgutil")?.call_method1("iter_modules", (path,))?;
    found.try_iter()?.map(|module| module?.getattr("name")?.extract()).collect()
}

/// The name that is most like `name`, if any is alike.
fn close(py: Python<'_>, name: &str, names: &[String]) -> PyResult<Option<String>> {
    let matches = py.import("difflib")?.call_method1("get_close_matches", (name, names.to_vec(), 1))?;
    matches.try_iter()?.next().map(|found| found?.extract()).transpose()
}

/// Imports a file: under its dotted name where it lies in a package, so that relative imports work.
fn import_file<'py>(py: Python<'py>, path: &Path, spec: &AppSpec) -> Result<Bound<'py, PyModule>, LoadError> {
    let path = if path.is_dir() { path.join("__main__.py") } else { path.to_path_buf() };
    let file = path.canonicalize().map_err(|error| {
        LoadError::new(match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("there is no file {} (in {})", path.display(), current_directory())
            }
            _ => format!("{} cannot be read: {error}", path.display()),
        })
    })?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut names = if stem == "__init__" { Vec::new() } else { vec![stem.clone()] };
    let mut root = file.parent().unwrap_or(Path::new("/"));
    while root.join("__init__.py").is_file() {
        names.insert(0, root.file_name().unwrap_or_default().to_string_lossy().into_owned());
        root = root.parent().unwrap_or(Path::new("/"));
    }
    put_first_on_path(py, &current_directory()).map_err(LoadError::internal)?;
    put_first_on_path(py, &root.to_string_lossy()).map_err(LoadError::internal)?;
    let name = names.join(".");
    // A file named like a module that is there already (`site.py`, `code.py`) is imported as what it is, not found.
    if names.len() > 1 || !is_taken(py, &name).map_err(LoadError::internal)? {
        let module = import(py, &name, spec)?;
        let origin = module.getattr("__file__").and_then(|origin| origin.extract::<std::path::PathBuf>());
        if origin.ok().and_then(|origin| origin.canonicalize().ok()).is_some_and(|origin| origin == file) {
            return Ok(module);
        }
    }
    import_by_location(py, &format!("stdserve_application_{stem}"), &file).map_err(|error| {
        failed(py, &error, &format!("{} failed while it was imported", path.display()), spec)
    })
}

fn is_taken(py: Python<'_>, name: &str) -> PyResult<bool> {
    let sys = py.import("sys")?;
    Ok(sys.getattr("modules")?.contains(name)? || sys.getattr("stdlib_module_names")?.contains(name)?)
}

fn import_by_location<'py>(py: Python<'py>, name: &str, file: &Path) -> PyResult<Bound<'py, PyModule>> {
    let util = py.import("importlib.util")?;
    let loader =
        py.import("importlib.machinery")?.getattr("SourceFileLoader")?.call1((name, file.as_os_str()))?;
    let spec = util.call_method1("spec_from_loader", (name, &loader))?;
    let module = util.call_method1("module_from_spec", (&spec,))?;
    let modules = py.import("sys")?.getattr("modules")?;
    modules.set_item(name, &module)?;
    if let Err(error) = loader.call_method1("exec_module", (&module,)) {
        modules.del_item(name)?;
        return Err(error);
    }
    Ok(module.cast_into()?)
}

fn find<'py>(
    module: &Bound<'py, PyModule>,
    name: &str,
    spec: &AppSpec,
) -> Result<Bound<'py, PyAny>, LoadError> {
    let py = module.py();
    let mut object = module.as_any().clone();
    for part in name.split('.') {
        object = match object.getattr(part) {
            Ok(object) => object,
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {
                return Err(LoadError::new(no_attribute(module, part, name)));
            }
            Err(error) => return Err(failed(py, &error, &format!("`{name}` cannot be had"), spec)),
        };
    }
    Ok(object)
}

fn no_attribute(module: &Bound<'_, PyModule>, part: &str, name: &str) -> String {
    let py = module.py();
    let mut message = format!("{} has no `{name}`", describe(module));
    let names = callables(module).unwrap_or_default();
    if let Ok(Some(near)) = close(py, part, &names) {
        let _ = write!(message, "\nhint: did you mean `{near}`?");
    } else {
        message.push_str(&listed(&names));
    }
    message
}

fn describe(module: &Bound<'_, PyModule>) -> String {
    let name = module.name().map_or_else(|_| "?".to_owned(), |name| name.to_string_lossy().into_owned());
    match module.getattr("__file__").and_then(|file| file.extract::<String>()) {
        Ok(file) => format!("the module `{name}` ({file})"),
        Err(_) => format!("the module `{name}`"),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "\nhint: it has nothing that can be called".to_owned();
    }
    let some = names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > 8 { ", …" } else { "" };
    format!("\nhint: what can be called there: {some}{more}")
}

/// The public callables of a module; what it only imports comes last.
fn callables(module: &Bound<'_, PyModule>) -> PyResult<Vec<String>> {
    let own_name = module.name()?;
    let (mut own, mut imported) = (Vec::new(), Vec::new());
    for (name, value) in module.dict() {
        let name: String = name.extract()?;
        if name.starts_with('_') || !value.is_callable() {
            continue;
        }
        // Instances have the `__module__` of their class: an application object made here is made here.
        let has_name = value.hasattr("__qualname__")?;
        let is_own =
            !has_name || value.getattr("__module__").is_ok_and(|of| of.eq(&own_name).unwrap_or(false));
        if is_own { own.push(name) } else { imported.push(name) }
    }
    own.append(&mut imported);
    Ok(own)
}

fn find_usual<'py>(
    module: &Bound<'py, PyModule>,
    spec: &AppSpec,
) -> Result<(Bound<'py, PyAny>, String), LoadError> {
    for name in USUAL {
        if module.hasattr(name).unwrap_or(false) {
            return Ok((find(module, name, spec)?, name.to_owned()));
        }
    }
    if module.hasattr(USUAL_FACTORY).unwrap_or(false) {
        let factory = find(module, USUAL_FACTORY, spec)?;
        return Ok((make(&factory, USUAL_FACTORY, "", spec)?, format!("{USUAL_FACTORY}()")));
    }
    let mut message = format!(
        "{} has none of the usual names: `application`, `app`, `create_app()`; name yours: {}:NAME",
        describe(module),
        spec.target
    );
    message.push_str(&listed(&callables(module).unwrap_or_default()));
    Err(LoadError::new(message))
}

/// Calls a factory. Its arguments are literals, as in `create_app("production", debug=False)`.
fn make<'py>(
    factory: &Bound<'py, PyAny>,
    name: &str,
    arguments: &str,
    spec: &AppSpec,
) -> Result<Bound<'py, PyAny>, LoadError> {
    let py = factory.py();
    if !factory.is_callable() {
        let kind = type_name(factory);
        return Err(LoadError::new(format!(
            "`{name}` is {kind} and cannot be called to make the application"
        )));
    }
    let (positional, named) = literals(py, arguments).map_err(|_| {
        LoadError::new(format!(
            "the arguments `({arguments})` of `{name}` must be literals, like (\"production\", 4)"
        ))
    })?;
    let positional = pyo3::types::PyTuple::new(py, positional).map_err(LoadError::internal)?;
    factory
        .call(positional, Some(&named))
        .map_err(|error| failed(py, &error, &format!("`{name}({arguments})` failed"), spec))
}

fn literals<'py>(py: Python<'py>, arguments: &str) -> PyResult<(Vec<Bound<'py, PyAny>>, Bound<'py, PyDict>)> {
    let ast = py.import("ast")?;
    let named = PyDict::new(py);
    let call =
        ast.call_method1("parse", (format!("f({arguments}\n)"), "<arguments>", "eval"))?.getattr("body")?;
    let value = |node: Bound<'py, PyAny>| ast.call_method1("literal_eval", (node,));
    let positional =
        call.getattr("args")?.try_iter()?.map(|node| value(node?)).collect::<PyResult<Vec<_>>>()?;
    for keyword in call.getattr("keywords")?.try_iter()? {
        let keyword = keyword?;
        named
            .set_item(keyword.getattr("arg")?.cast_into::<PyString>()?, value(keyword.getattr("value")?)?)?;
    }
    Ok((positional, named))
}

/// Whether it can be a WSGI application.
fn check(application: &Bound<'_, PyAny>, name: &str, spec: &AppSpec) -> Result<(), LoadError> {
    let py = application.py();
    if !application.is_callable() {
        let kind = type_name(application);
        let came_from_call = matches!(spec.callable, Some(Callable::Factory { .. })) || name.ends_with(')');
        return Err(LoadError::new(if came_from_call {
            format!("`{name}` returned {kind}, which is no WSGI application: it cannot be called")
        } else {
            format!("`{name}` is {kind}, which is no WSGI application: it cannot be called")
        }));
    }
    let asks = |question: &str, of: &Bound<'_, PyAny>| -> PyResult<bool> {
        py.import("inspect")?.call_method1(question, (of,))?.is_truthy()
    };
    let is_async = asks("iscoroutinefunction", application).unwrap_or(false)
        || (!asks("isclass", application).unwrap_or(false)
            && application
                .get_type()
                .getattr("__call__")
                .and_then(|call| asks("iscoroutinefunction", &call))
                .unwrap_or(false));
    if is_async {
        return Err(LoadError::new(format!(
            "`{name}` is asynchronous, as ASGI applications are; stdserve serves WSGI\nhint: an adapter such as \
             a2wsgi.ASGIMiddleware makes one of the other"
        )));
    }
    if can_be_called(application, 2) == Some(false) {
        return Err(LoadError::new(if can_be_called(application, 0) == Some(true) {
            format!(
                "`{name}` takes no arguments, and a WSGI application takes two\nhint: if it makes the application, \
                 write `{name}()`"
            )
        } else {
            format!(
                "`{name}` cannot be called as WSGI applications are, with two arguments: environ and start_response"
            )
        }));
    }
    Ok(())
}

/// Whether it takes so many positional arguments; `None` where it does not say what it takes. What a decorator has put
/// in a function's place is what is called, so the signature of the one that it wraps says nothing.
pub(crate) fn can_be_called(object: &Bound<'_, PyAny>, arguments: usize) -> Option<bool> {
    let py = object.py();
    let named = PyDict::new(py);
    named.set_item("follow_wrapped", false).ok()?;
    let signature = py.import("inspect").ok()?.call_method("signature", (object,), Some(&named)).ok()?;
    let positional = pyo3::types::PyTuple::new(py, (0..arguments).map(|_| py.None())).ok()?;
    Some(signature.call_method1("bind", positional).is_ok())
}

/// The application's own traceback, without the frames of the import machinery that stand above it.
fn failed(py: Python<'_>, error: &PyErr, what: &str, spec: &AppSpec) -> LoadError {
    if error.is_instance_of::<PySystemExit>(py) {
        let code = error.value(py).getattr("code").map_or_else(|_| String::new(), |code| code.to_string());
        let traceback = report::traceback(py, &trimmed(py, error));
        return LoadError::new(format!("{spec}: {what}: it called sys.exit({code})\n{traceback}"));
    }
    LoadError::new(format!("{spec}: {what}\n{}", report::traceback(py, &trimmed(py, error))))
}

/// The same exception, its traceback beginning where the application's code begins.
fn trimmed(py: Python<'_>, error: &PyErr) -> PyErr {
    let value = error.value(py);
    let first = error.traceback(py).map_or_else(|| py.None().into_bound(py), Bound::into_any);
    match without_machinery(first).and_then(|first| value.setattr("__traceback__", first)) {
        Ok(()) => PyErr::from_value(value.clone().into_any()),
        Err(_) => error.clone_ref(py),
    }
}

fn without_machinery(mut traceback: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let importlib: String = traceback.py().import("importlib")?.getattr("__file__")?.extract()?;
    while !traceback.is_none() {
        let code = traceback.getattr("tb_frame")?.getattr("f_code")?;
        let file: String = code.getattr("co_filename")?.extract()?;
        if file != importlib && !file.starts_with("<frozen importlib") {
            break;
        }
        traceback = traceback.getattr("tb_next")?;
    }
    Ok(traceback)
}
