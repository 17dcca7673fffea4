//! The extension module `stdserve._stdserve`: gateways to Python and the command.
use pyo3::prelude::*;

/// The native half of stdserve.
#[pymodule]
fn _stdserve(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
