//! What threads are doing: their Python stacks, read while nothing of Python runs, and put into words afterwards.

use std::collections::HashMap;
use std::fmt::Write as _;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use stdserve_program::Stack;

use crate::gateway::running;

/// So many calls of a stack are shown: the innermost.
const CALLS: usize = 50;

/// One call.
struct Call {
    file: String,
    line: u32,
    function: String,
}

/// The stacks of all threads but the calling one, or of the one that is in `request`.
pub(crate) fn stacks(py: Python<'_>, request: Option<u64>) -> PyResult<Vec<Stack>> {
    let current_frames = py.import("sys")?.getattr("_current_frames")?;
    let mut found = Vec::new();
    // From here on no Python code runs, and so no other thread does, until all is read.
    let mut inside: HashMap<u64, u64> = running::all().into_iter().collect();
    let frames = current_frames.call0()?.cast_into::<PyDict>()?;
    for (ident, frame) in frames.iter() {
        let ident: u64 = ident.extract()?;
        let of = inside.remove(&ident);
        if ident == running::ident() || request.is_some() && of != request {
            continue;
        }
        found.push((ident, of, calls(&frame)?));
    }
    drop(frames);
    // From here on it may.
    let libraries = libraries(py);
    found
        .into_iter()
        .map(|(ident, request, calls)| {
            Ok(Stack {
                request,
                thread: name(py, ident),
                place: place(&calls, &libraries),
                calls: words(py, &calls),
            })
        })
        .collect()
}

/// The calls of a thread, the innermost first. Reads attributes that are built in: no Python code runs.
fn calls(innermost: &Bound<'_, PyAny>) -> PyResult<Vec<Call>> {
    let py = innermost.py();
    let mut calls = Vec::new();
    let mut frame = innermost.clone();
    while !frame.is_none() && calls.len() < CALLS {
        let code = frame.getattr(pyo3::intern!(py, "f_code"))?;
        let text = |name: &Bound<'_, PyString>| -> PyResult<String> {
            Ok(code.getattr(name)?.cast::<PyString>()?.to_string_lossy().into_owned())
        };
        calls.push(Call {
            file: text(pyo3::intern!(py, "co_filename"))?,
            // None while a function is being entered.
            line: frame.getattr(pyo3::intern!(py, "f_lineno"))?.extract().unwrap_or(0),
            function: text(pyo3::intern!(py, "co_qualname"))?,
        });
        frame = frame.getattr(pyo3::intern!(py, "f_back"))?;
    }
    // How a thread begins is the same for all.
    while calls.len() > 1 && calls.last().is_some_and(is_bootstrap) {
        calls.pop();
    }
    Ok(calls)
}

fn is_bootstrap(call: &Call) -> bool {
    let names = ["Thread._bootstrap", "Thread._bootstrap_inner", "Thread.run"];
    call.file.ends_with("/threading.py") && names.contains(&call.function.as_str())
}

/// Where modules stand that are no application: the standard library, installed packages, and this one.
fn libraries(py: Python<'_>) -> Vec<String> {
    let paths = || -> PyResult<Vec<String>> {
        let paths = py.import("sysconfig")?.call_method0("get_paths")?;
        let mut found = Vec::new();
        for name in ["stdlib", "platstdlib", "purelib", "platlib"] {
            found.push(format!("{}/", paths.get_item(name)?.extract::<String>()?));
        }
        let own: String = py.import("stdserve")?.getattr("__path__")?.get_item(0)?.extract()?;
        found.push(format!("{own}/"));
        Ok(found)
    };
    paths().unwrap_or_default()
}

/// The innermost call of the application's own; where there is none, the innermost.
fn place(calls: &[Call], libraries: &[String]) -> String {
    let is_own = |call: &&Call| {
        !call.file.starts_with('<') && !libraries.iter().any(|library| call.file.starts_with(library))
    };
    let call = calls.iter().find(is_own).or(calls.first());
    call.map_or_else(String::new, |call| format!("{}:{}", call.file, call.line))
}

/// The name of a thread, with its number for the kernel. Without the lock of `threading`, which a thread may hold for
/// ever.
fn name(py: Python<'_>, ident: u64) -> String {
    let known = || -> PyResult<String> {
        let thread = py.import("threading")?.getattr("_active")?.get_item(ident)?;
        let name: String = thread.getattr("name")?.extract()?;
        Ok(match thread.getattr("native_id")?.extract::<u32>() {
            Ok(number) => format!("{name} ({number})"),
            Err(_) => name,
        })
    };
    known().unwrap_or_else(|_| format!("{ident:#x}"))
}

/// As a traceback has it, with the lines of source where they can be read.
fn words(py: Python<'_>, calls: &[Call]) -> String {
    let source = py.import("linecache").and_then(|module| module.getattr("getline"));
    let mut text = String::new();
    if calls.len() == CALLS {
        text.push_str("    …\n");
    }
    for call in calls.iter().rev() {
        let _ = writeln!(text, "    File \"{}\", line {}, in {}", call.file, call.line, call.function);
        let line = source.as_ref().ok().and_then(|source| source.call1((&call.file, call.line)).ok());
        let line: Option<String> = line.and_then(|line| line.extract().ok());
        if let Some(line) = line.as_deref().map(str::trim).filter(|line| !line.is_empty()) {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(file: &str, line: u32) -> Call {
        Call { file: file.to_owned(), line, function: "f".to_owned() }
    }

    #[test]
    fn a_place_is_the_innermost_of_the_application() {
        let libraries = vec!["/usr/lib/python3.11/".to_owned()];
        let calls = [
            call("/usr/lib/python3.11/socket.py", 700),
            call("<frozen importlib>", 3),
            call("/srv/app.py", 12),
            call("/srv/main.py", 5),
        ];
        assert_eq!(place(&calls, &libraries), "/srv/app.py:12");
        assert_eq!(place(&calls[..2], &libraries), "/usr/lib/python3.11/socket.py:700");
        assert_eq!(place(&[], &libraries), "");
    }
}
