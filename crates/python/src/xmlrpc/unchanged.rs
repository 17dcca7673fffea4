//! Whether a program has changed `xmlrpc.client`: asked for every document, and so natively.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

/// What is looked at, as it was found.
struct Found {
    owner: Py<PyAny>,
    name: Py<PyString>,
    /// `None`: it was not there.
    value: Option<Py<PyAny>>,
}

/// A dict, as it was found.
struct Table {
    dict: Py<PyDict>,
    entries: Vec<(Py<PyAny>, Py<PyAny>)>,
}

/// Tells whether attributes and dicts are what they were when this was made, by identity.
///
/// `places`: pairs of an owner, which is a class or the dict of a module, and the names that are looked at. `tables`:
/// dicts whose keys and values are.
#[pyclass(frozen, module = "stdserve._stdserve")]
pub(crate) struct Unchanged {
    found: Vec<Found>,
    tables: Vec<Table>,
}

impl Unchanged {
    /// Whether all is as it was.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<bool> {
        for found in &self.found {
            let now = look(found.owner.bind(py), found.name.bind(py))?;
            let same = match (&found.value, now) {
                (Some(before), Some(now)) => now.is(before),
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        for Table { dict, entries } in &self.tables {
            let table = dict.bind(py);
            if table.len() != entries.len() {
                return Ok(false);
            }
            // In their order too, which costs less than looking them up.
            if !table.iter().zip(entries).all(|((key, value), was)| key.is(&was.0) && value.is(&was.1)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn look<'py>(owner: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match owner.cast::<PyDict>() {
        Ok(names) => names.get_item(name),
        Err(_) => owner.getattr_opt(name),
    }
}

#[pymethods]
impl Unchanged {
    #[new]
    fn new(places: &Bound<'_, PyTuple>, tables: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let mut found = Vec::new();
        for place in places {
            let (owner, names) = place.extract::<(Bound<'_, PyAny>, Bound<'_, PyTuple>)>()?;
            for name in names {
                let name = name.cast_into::<PyString>()?;
                let value = look(&owner, &name)?.map(Bound::unbind);
                found.push(Found { owner: owner.clone().unbind(), name: name.unbind(), value });
            }
        }
        let tables = tables
            .iter()
            .map(|table| {
                let dict = table.cast_into::<PyDict>()?;
                let entries = dict.iter().map(|(key, value)| (key.unbind(), value.unbind())).collect();
                Ok(Table { dict: dict.unbind(), entries })
            })
            .collect::<PyResult<_>>()?;
        Ok(Self { found, tables })
    }

    fn __call__(&self, py: Python<'_>) -> PyResult<bool> {
        self.check(py)
    }
}
