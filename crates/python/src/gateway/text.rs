//! Native strings: str objects of code points up to U+00FF, each standing for one byte (PEP 3333, "Unicode Issues").
//!
//! They are made and read without an encoder: such a str holds its bytes as they are on the wire.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// The str whose code points are `bytes`.
pub(crate) fn native<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    if bytes.is_empty() || !bytes.is_ascii() {
        // SAFETY: we are attached, and the pointer and length are those of a slice. The answer is a new reference
        // to a str, or null with an exception set.
        return unsafe {
            let text =
                ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), bytes.len() as isize, std::ptr::null());
            Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
        };
    }
    // SAFETY: we are attached. A new compact ASCII string has `len` bytes behind its header (PEP 393) which are ours
    // to fill before anyone else sees it.
    unsafe {
        let text = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(bytes.len() as isize, 127))?;
        let data = ffi::PyUnicode_DATA(text.as_ptr()).cast::<u8>();
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
        Ok(text.cast_into_unchecked())
    }
}

/// The bytes that `text` stands for; `None` where it has a code point beyond U+00FF.
pub(crate) fn native_bytes<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    let text = text.as_ptr();
    // SAFETY: `text` is a str that is borrowed for 'a; its buffer lives and does not change as long as it does.
    // Before CPython 3.12 a string may still have to be brought into its canonical form, which only can fail for
    // lack of memory. Strings of kind 1 hold one byte for each code point.
    unsafe {
        if ffi::PyUnicode_READY(text) != 0 {
            ffi::PyErr_Clear();
            return None;
        }
        if ffi::PyUnicode_KIND(text) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        let data = ffi::PyUnicode_DATA(text).cast::<u8>();
        Some(std::slice::from_raw_parts(data, ffi::PyUnicode_GET_LENGTH(text) as usize))
    }
}

/// The object as bytes, where it is bytes.
#[inline]
pub(crate) fn as_bytes<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyBytes>> {
    object.cast::<PyBytes>().ok()
}

/// How many references to `object` there are. While this process holds the interpreter's lock, one means that nobody
/// else can reach it.
pub(crate) fn references<T>(_py: Python<'_>, object: &Py<T>) -> isize {
    // SAFETY: a live object, whose count is read while attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}
