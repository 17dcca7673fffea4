//! The command, and `stdserve.run`, which is the command for a program that has its application already.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use stdserve_config::{AppSpec, Serve, Surroundings, UsageError, without_python};
use stdserve_program::Interpreter;
use stdserve_sys::{process, signals};

use crate::embedded;
use crate::interpreter::CPython;

/// Runs the command with these arguments and returns its exit code. What a program under `stdserve run` raises passes.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // what Python calls gets values
pub(crate) fn main(py: Python<'_>, argv: Vec<OsString>) -> PyResult<i32> {
    let mut python = CPython::new(py, None);
    let code = stdserve_program::main(&mut python, &argv);
    python.raised().map_or(Ok(code), Err)
}

/// Runs the command for an application, with options as keywords.
#[pyfunction]
pub(crate) fn run(py: Python<'_>, app: &Bound<'_, PyAny>, options: &Bound<'_, PyDict>) -> PyResult<i32> {
    let usage = |error: UsageError| PyValueError::new_err(error.plain());
    let keywords = embedded::keywords(options)?;
    let around = Surroundings::of_process(&without_python);
    let read = |interpreter: &mut dyn Interpreter, limit| {
        let interpreter = RefCell::new(interpreter);
        let python = |file: &Path| interpreter.borrow_mut().read_configuration(file, limit);
        stdserve_config::parse_run(keywords.clone(), &around.with_python(&python))
    };
    // What is wrong with the options is said first.
    let configuration = read(&mut CPython::new(py, None), None).map_err(usage)?;
    let (spec, object) = match app.cast::<PyString>() {
        Ok(name) => {
            let wrong = |why| PyValueError::new_err(format!("`{name}` {why}"));
            (AppSpec::parse(name.to_str()?).map_err(wrong)?, None)
        }
        Err(_) if app.is_callable() => {
            // It has a name in no module that could be told; this one is not looked at.
            let spec = AppSpec::parse("application").map_err(PyValueError::new_err)?;
            (spec, Some(app.clone().unbind()))
        }
        Err(_) => {
            let message = "the application must be a WSGI callable, or the name of one";
            return Err(PyTypeError::new_err(message));
        }
    };
    process::assert_single_threaded().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let again = |interpreter: &mut dyn Interpreter| {
        Serve::application(spec.clone(), read(interpreter, Some(stdserve_program::SHORT))?)
    };
    let serve = Serve::application(spec.clone(), configuration).map_err(usage)?;
    let code = stdserve_program::start(&mut CPython::new(py, object), serve, &again).map_err(usage);
    // The program goes on, and wants its signals back.
    signals::unblock_all()?;
    code
}
