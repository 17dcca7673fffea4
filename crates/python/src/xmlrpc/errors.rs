//! Why a document was not read, as an exception.

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use stdserve_proto::xmlrpc::{DecodeError, Problem};

use super::types::Types;

/// Why a document was not read.
pub(crate) enum Refusal {
    /// It is not XML, or not XML-RPC, or too much of it.
    Document(DecodeError),
    /// A value could not be made.
    Python(PyErr),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Document(error)
    }
}

impl From<PyErr> for Refusal {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Refusal {
    /// The exception that `xmlrpc.client.loads` raises.
    pub(crate) fn into_python(self, py: Python<'_>, types: &Types) -> PyErr {
        let error = match self {
            Self::Document(error) => error,
            Self::Python(error) => return error,
        };
        if let Some(code) = error.problem.expat_code() {
            let message = error.to_string();
            let made = types.expat_error.bind(py).call1((message,)).and_then(|exception| {
                exception.setattr("code", code)?;
                exception.setattr("lineno", error.line)?;
                exception.setattr("offset", error.column)?;
                Ok(exception)
            });
            return made.map_or_else(|failure| failure, PyErr::from_value);
        }
        match error.problem {
            Problem::BadBoolean => PyTypeError::new_err("bad boolean value"),
            Problem::Unpaired => PyIndexError::new_err("list index out of range"),
            Problem::UnknownTag(_) => types.response_error(py, Some(error.problem.to_string())),
            _ => types.response_error(py, None),
        }
    }
}
