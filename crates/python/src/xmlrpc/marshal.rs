//! Python's objects as XML, as `xmlrpc.client.Marshaller` writes them.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple, PyType};
use stdserve_proto::xmlrpc::{Encoder, Header, is_xml};

use super::types::Types;

/// How deeply values may stand in one another: beyond, a list that holds itself would never end.
const DEPTH: usize = 200;

/// Something that is not written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A value that is left to `xmlrpc.client`.
    Value,
    /// A string with a character that XML does not have. `xmlrpc.client` writes it all the same.
    Character,
}

impl From<PyErr> for Unfit {
    /// Whoever writes the value then raises the same again.
    fn from(_: PyErr) -> Self {
        Self::Value
    }
}

type Written = Result<(), Unfit>;

/// What may be written that XML-RPC itself does not have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extensions {
    /// `None` as `<nil/>`.
    pub(crate) nil: bool,
    /// Integers beyond 32 bits as `<i8>`.
    pub(crate) i8: bool,
}

struct Marshaller<'a> {
    types: &'a Types,
    out: Encoder,
    extensions: Extensions,
    /// Whether the document must be one that every reader understands as it was meant.
    careful: bool,
}

/// `xmlrpc.client.dumps`
pub(crate) fn write_document(
    types: &Types,
    params: &Bound<'_, PyAny>,
    method: Option<&Bound<'_, PyAny>>,
    response: bool,
    encoding: Option<&str>,
    nil: bool,
) -> Result<Vec<u8>, Unfit> {
    let py = params.py();
    let mut writer = Marshaller {
        types,
        out: Encoder::default(),
        extensions: Extensions { nil, i8: false },
        careful: false,
    };
    let fault = params.is_instance(types.fault.bind(py))?;
    let method = method.filter(|method| method.is_truthy().unwrap_or(true));
    let method =
        method.map(|method| method.cast_exact::<PyString>().map_err(|_| Unfit::Value)).transpose()?;
    let header = match method {
        Some(method) => Header::Call(method.to_str()?),
        None if fault || response => Header::Response,
        None => Header::None,
    };
    writer.out.begin(header, encoding);
    if fault {
        writer.fault(params)?;
    } else {
        let params = params.cast::<PyTuple>().map_err(|_| Unfit::Value)?;
        if header == Header::Response && params.len() != 1 {
            return Err(Unfit::Value);
        }
        writer.out.begin_params();
        for value in params.iter_borrowed() {
            writer.out.begin_param();
            writer.value(&value, DEPTH)?;
            writer.out.end_param();
        }
        writer.out.end_params();
    }
    Ok(writer.out.finish(header))
}

/// The answer that `value` is, as UTF-8.
pub(crate) fn write_response(
    types: &Types,
    value: &Bound<'_, PyAny>,
    extensions: Extensions,
) -> Result<Vec<u8>, Unfit> {
    let mut writer = Marshaller { types, out: Encoder::default().careful(), extensions, careful: true };
    writer.out.begin(Header::Response, None);
    writer.out.begin_params();
    writer.out.begin_param();
    writer.value(value, DEPTH)?;
    writer.out.end_param();
    writer.out.end_params();
    Ok(writer.out.finish(Header::Response))
}

/// A fault, as UTF-8.
pub(crate) fn write_fault(code: i32, text: &str) -> Vec<u8> {
    let mut out = Encoder::default().careful();
    out.begin(Header::Response, None);
    out.fault(code, text);
    out.finish(Header::Response)
}

impl Marshaller<'_> {
    /// As `dumps` writes a `Fault`: its code and string may be any values.
    fn fault(&mut self, fault: &Bound<'_, PyAny>) -> Written {
        let code = fault.getattr("faultCode")?.cast_into_exact::<PyInt>().map_err(|_| Unfit::Value)?;
        let code = code.extract::<i32>()?;
        let text = fault.getattr("faultString")?.cast_into_exact::<PyString>().map_err(|_| Unfit::Value)?;
        self.out.fault(code, text.to_str()?);
        Ok(())
    }

    fn value(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Written {
        if let Ok(text) = value.cast_exact::<PyString>() {
            let text = self.text(text)?;
            self.out.string(text);
        } else if let Ok(integer) = value.cast_exact::<PyInt>() {
            self.integer(integer)?;
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.dict(dict, depth)?;
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            let depth = depth.checked_sub(1).ok_or(Unfit::Value)?;
            self.out.begin_array();
            let mut at = 0;
            // Its length is asked for each time: an instance in it may run code that changes it.
            while at < list.len() {
                self.value(&list.get_item(at)?, depth)?;
                at += 1;
            }
            self.out.end_array();
        } else if let Ok(number) = value.cast_exact::<PyFloat>() {
            self.out.double(number.value());
        } else if let Ok(boolean) = value.cast_exact::<PyBool>() {
            self.out.boolean(boolean.is_true());
        } else if value.is_none() {
            if !self.extensions.nil {
                return Err(Unfit::Value);
            }
            self.out.nil();
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            let depth = depth.checked_sub(1).ok_or(Unfit::Value)?;
            self.out.begin_array();
            for item in tuple.iter_borrowed() {
                self.value(&item, depth)?;
            }
            self.out.end_array();
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.out.base64(bytes.as_bytes());
        } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
            self.out.base64(&bytes.to_vec());
        } else {
            self.instance(value, depth)?;
        }
        Ok(())
    }

    fn text<'a>(&self, text: &'a Bound<'_, PyString>) -> Result<&'a str, Unfit> {
        let text = text.to_str()?;
        if self.careful && !is_xml(text) { Err(Unfit::Character) } else { Ok(text) }
    }

    fn integer(&mut self, integer: &Bound<'_, PyInt>) -> Written {
        let value = integer.extract::<i64>()?;
        match i32::try_from(value) {
            Ok(value) => self.out.int(value),
            Err(_) if self.extensions.i8 => self.out.i8(value),
            Err(_) => return Err(Unfit::Value),
        }
        Ok(())
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>, depth: usize) -> Written {
        let depth = depth.checked_sub(1).ok_or(Unfit::Value)?;
        let (py, size) = (dict.py(), dict.len());
        self.out.begin_struct();
        let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        loop {
            // SAFETY: we are attached, and `dict` is a dict. What is found is borrowed from it, and held from here on
            // by references of our own, since code of an instance may change the dict.
            let (key, value) = unsafe {
                if ffi::PyDict_Next(dict.as_ptr(), &raw mut at, &raw mut key, &raw mut value) == 0 {
                    break;
                }
                (Bound::from_borrowed_ptr(py, key), Bound::from_borrowed_ptr(py, value))
            };
            let name = key.cast_exact::<PyString>().map_err(|_| Unfit::Value)?;
            let name = self.text(name)?;
            self.out.begin_member(name);
            self.value(&value, depth)?;
            self.out.end_member();
            if dict.len() != size {
                return Err(Unfit::Value);
            }
        }
        self.out.end_struct();
        Ok(())
    }

    /// What is not of Python's plain types.
    fn instance(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Written {
        let py = value.py();
        let class = value.get_type();
        if class.is(&self.types.datetime) {
            return self.datetime(value);
        }
        if class.is(&self.types.date_time) {
            let text =
                value.getattr(&self.types.value)?.cast_into_exact::<PyString>().map_err(|_| Unfit::Value)?;
            self.out.date_time(text.to_str()?);
            return Ok(());
        }
        if class.is(&self.types.binary) {
            let bytes =
                value.getattr(&self.types.data)?.cast_into_exact::<PyBytes>().map_err(|_| Unfit::Value)?;
            self.out.base64(bytes.as_bytes());
            return Ok(());
        }
        if self.is_of_known_type(py, &class)? {
            return Err(Unfit::Value);
        }
        // Any other object is the struct of its attributes.
        let attributes = value.getattr("__dict__")?.cast_into_exact::<PyDict>().map_err(|_| Unfit::Value)?;
        self.dict(&attributes, depth)
    }

    /// Whether the class derives from one that has a notation of its own: such values are not written.
    fn is_of_known_type(&self, py: Python<'_>, class: &Bound<'_, PyType>) -> PyResult<bool> {
        let known = [
            py.get_type::<PyInt>(),
            py.get_type::<PyFloat>(),
            py.get_type::<PyString>(),
            py.get_type::<PyBytes>(),
            py.get_type::<PyByteArray>(),
            py.get_type::<PyTuple>(),
            py.get_type::<PyList>(),
            py.get_type::<PyDict>(),
            self.types.datetime.bind(py).clone(),
            self.types.date_time.bind(py).clone(),
            self.types.binary.bind(py).clone(),
        ];
        for known in &known {
            if class.is_subclass(known)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn datetime(&mut self, value: &Bound<'_, PyAny>) -> Written {
        use pyo3::types::{PyDateAccess as _, PyDateTime, PyTimeAccess as _};

        let value = value.cast::<PyDateTime>().map_err(|_| Unfit::Value)?;
        let text = format!(
            "{:04}{:02}{:02}T{:02}:{:02}:{:02}",
            value.get_year(),
            value.get_month(),
            value.get_day(),
            value.get_hour(),
            value.get_minute(),
            value.get_second()
        );
        self.out.date_time(&text);
        Ok(())
    }
}
