//! Python's objects, made while a document is read.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyString};
use stdserve_proto::xmlrpc::{Build, Kind, Limits, base64, decode};

use super::errors::Refusal;
use super::types::Types;
use crate::gateway::text::native;

/// What Python types the values are wanted in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// `datetime.datetime` and not `xmlrpc.client.DateTime`.
    pub(crate) date_times: bool,
    /// `bytes` and not `xmlrpc.client.Binary`.
    pub(crate) bytes: bool,
}

/// A document that was read.
pub(crate) struct Loaded<'py> {
    pub(crate) kind: Kind,
    pub(crate) method: Option<String>,
    pub(crate) params: Vec<Bound<'py, PyAny>>,
}

/// Reads a document.
pub(crate) fn load<'py>(
    py: Python<'py>,
    types: &Types,
    text: &str,
    limits: &Limits,
    wishes: Wishes,
) -> Result<Loaded<'py>, Refusal> {
    let mut objects = Objects { py, types, wishes, stack: Vec::new(), names: [const { None }; NAMES] };
    let outcome = decode(text, limits, &mut objects)?;
    Ok(Loaded { kind: outcome.kind, method: outcome.method, params: objects.stack })
}

/// How many names of members are kept. In a list of structs they come again and again, and a str that is used again
/// knows its hash.
const NAMES: usize = 32;

struct Objects<'py, 'a> {
    py: Python<'py>,
    types: &'a Types,
    wishes: Wishes,
    stack: Vec<Bound<'py, PyAny>>,
    names: [Option<Bound<'py, PyString>>; NAMES],
}

type Built = Result<(), Refusal>;

impl<'py> Objects<'py, '_> {
    #[allow(clippy::unnecessary_wraps)] // the end of every method of the trait
    fn put(&mut self, value: Bound<'py, PyAny>) -> Built {
        self.stack.push(value);
        Ok(())
    }

    fn text(&self, text: &str) -> PyResult<Bound<'py, PyString>> {
        if text.is_ascii() { native(self.py, text.as_bytes()) } else { Ok(PyString::new(self.py, text)) }
    }
}

/// `20260102T03:04:05`, and nothing around it.
fn plain_date_time(text: &str) -> Option<[u16; 6]> {
    let bytes: &[u8; 17] = text.as_bytes().try_into().ok()?;
    if [bytes[8], bytes[11], bytes[14]] != *b"T::" {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u16> {
        bytes[from..to].iter().try_fold(0, |number: u16, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
        })
    };
    Some([number(0, 4)?, number(4, 6)?, number(6, 8)?, number(9, 11)?, number(12, 14)?, number(15, 17)?])
}

impl Build for Objects<'_, '_> {
    type Error = Refusal;

    fn nil(&mut self) -> Built {
        self.put(self.py.None().into_bound(self.py))
    }

    fn boolean(&mut self, value: bool) -> Built {
        self.put(PyBool::new(self.py, value).to_owned().into_any())
    }

    fn integer(&mut self, value: i64) -> Built {
        let Ok(value) = value.into_pyobject(self.py);
        self.put(value.into_any())
    }

    fn integer_text(&mut self, text: &str) -> Built {
        self.put(self.py.get_type::<PyInt>().call1((text,))?)
    }

    fn double(&mut self, value: f64) -> Built {
        self.put(PyFloat::new(self.py, value).into_any())
    }

    fn double_text(&mut self, text: &str) -> Built {
        self.put(self.py.get_type::<PyFloat>().call1((text,))?)
    }

    fn decimal(&mut self, text: &str) -> Built {
        self.put(self.types.decimal.bind(self.py).call1((text,))?)
    }

    fn string(&mut self, text: &str) -> Built {
        let text = self.text(text)?;
        self.put(text.into_any())
    }

    fn name(&mut self, text: &str) -> Built {
        let bytes = text.as_bytes();
        let ends = bytes.first().zip(bytes.last()).map_or(0, |(first, last)| usize::from(first ^ last << 2));
        let place = (bytes.len() * 7 + ends) % NAMES;
        let known =
            self.names[place].as_ref().filter(|known| known.to_str().is_ok_and(|known| known == text));
        let name = if let Some(known) = known {
            known.clone()
        } else {
            let name = self.text(text)?;
            self.names[place] = Some(name.clone());
            name
        };
        self.put(name.into_any())
    }

    fn base64(&mut self, text: &str) -> Built {
        let bytes = match base64::decode(text.as_bytes()) {
            Some(bytes) if text.is_ascii() => PyBytes::new(self.py, &bytes).into_any(),
            // It says what is wrong.
            _ => {
                let ascii = PyString::new(self.py, text).call_method1("encode", ("ascii",))?;
                self.types.a2b_base64.bind(self.py).call1((ascii,))?
            }
        };
        if self.wishes.bytes {
            return self.put(bytes);
        }
        let binary = self.types.instance(self.types.binary.bind(self.py), &self.types.data, bytes)?;
        self.put(binary)
    }

    fn date_time(&mut self, text: &str) -> Built {
        let py = self.py;
        if !self.wishes.date_times {
            let value = self.text(text.trim())?.into_any();
            let date_time = self.types.instance(self.types.date_time.bind(py), &self.types.value, value)?;
            return self.put(date_time);
        }
        let plain = plain_date_time(text).and_then(|[year, month, day, hour, minute, second]| {
            let [month, day, hour, minute, second] =
                [month, day, hour, minute, second].map(|part| part as u8);
            PyDateTime::new(py, year.into(), month, day, hour, minute, second, 0, None).ok()
        });
        let date_time = match plain {
            Some(date_time) => date_time.into_any(),
            None => self.types.strptime.bind(py).call1((text, "%Y%m%dT%H:%M:%S"))?,
        };
        self.put(date_time)
    }

    fn array(&mut self, first: usize) -> Built {
        let first = first.min(self.stack.len());
        let list = PyList::new(self.py, self.stack.drain(first..))?;
        self.put(list.into_any())
    }

    fn structure(&mut self, first: usize) -> Built {
        let dict = PyDict::new(self.py);
        let first = first.min(self.stack.len());
        let mut items = self.stack.drain(first..);
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            dict.set_item(name, value)?;
        }
        drop(items);
        self.put(dict.into_any())
    }
}
