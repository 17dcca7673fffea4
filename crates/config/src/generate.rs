//! What is generated from the table and kept in the repository: the reference page and the types for Python.
//! A test fails when they are out of date; `UPDATE=1 cargo test -p stdserve-config` writes them anew.

mod python;
mod reference;

pub use python::python_types;
pub use reference::reference_page;
