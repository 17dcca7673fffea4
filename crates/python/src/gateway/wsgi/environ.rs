//! The environ of a request (PEP 3333, "environ Variables"; RFC 3875 §4.1), built from a prepared template.
//!
//! What is the same in every request of a listener stands in its [`Template`], and so does what was the same in the
//! last request. The template is brought up to date where it differs and then copied, which costs one copy of a
//! table instead of an insertion for each key. Headers go into the copy.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use stdserve_proto::h1::{BodyLength, RequestHead};
use stdserve_server::Exchange;

use super::Fixed;
use super::input::Input;
use super::names::{self, Kind, Names};
use super::template::Template;
use crate::gateway::text::native;

/// Makes environs, one after the other. One for each thread that is in the application.
pub(super) struct EnvironMaker {
    templates: Vec<Template>,
    /// The template that was used last.
    last: usize,
    names: Names,
    /// Counts requests: what a slot of `names` was last met in.
    number: u64,
}

impl EnvironMaker {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        Ok(Self { templates: Vec::new(), last: 0, names: Names::new(py)?, number: 0 })
    }

    /// The environ of `exchange`, whose body has `length` bytes and is read through `input`.
    pub(super) fn make<'py>(
        &mut self,
        py: Python<'py>,
        fixed: &Fixed,
        exchange: &Exchange,
        length: u64,
        input: &Bound<'py, Input>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.select_template(py, fixed, exchange)?;
        let template = &mut self.templates[self.last];
        template.update(py, fixed, exchange, input)?;
        let environ = template.dict(py).copy()?;
        let head = exchange.head();
        if head.host().is_none() && exchange.origin().host.is_none() {
            environ.del_item(fixed.keys.host.bind(py))?;
        }
        match head.body_length() {
            BodyLength::None => {}
            // A body that came in chunks is whole by now, so its length is known (RFC 3875 §4.1.2).
            BodyLength::Length(_) | BodyLength::Chunked => {
                environ.set_item(
                    fixed.keys.content_length.bind(py),
                    native(py, length.to_string().as_bytes())?,
                )?;
            }
        }
        self.add_fields(py, head, &environ)?;
        Ok(environ)
    }

    fn add_fields(
        &mut self,
        py: Python<'_>,
        head: &RequestHead,
        environ: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        self.number += 1;
        for (name, value) in head.fields() {
            let Some(slot) = self.names.slot(py, name)? else {
                let key = names::key(py, name)?;
                add_repeated(environ, &key, native(py, value)?, ",")?;
                continue;
            };
            match slot.kind {
                Kind::Apart => {}
                Kind::TransferEncoding => {
                    // `chunked` is undone; what stands before it is the application's.
                    let codings: Vec<_> = head.transfer_codings().collect();
                    if !codings.is_empty() {
                        environ.set_item(slot.key.bind(py), native(py, &codings.join(&b", "[..]))?)?;
                    }
                }
                Kind::Plain | Kind::Cookie if slot.met != self.number => {
                    slot.met = self.number;
                    let value = slot.value(py, value)?;
                    environ.set_item(slot.key.bind(py), value)?;
                }
                Kind::Plain => add_repeated(environ, slot.key.bind(py), native(py, value)?, ",")?,
                Kind::Cookie => add_repeated(environ, slot.key.bind(py), native(py, value)?, "; ")?,
            }
        }
        Ok(())
    }

    /// How many templates hold `input`, each with one reference.
    pub(super) fn templates_with(&self, input: &Py<Input>) -> isize {
        self.templates.iter().filter(|template| template.holds(input)).count().cast_signed()
    }

    /// What the last request asked for: method and target as sent, for the log.
    pub(super) fn request_line(&self, py: Python<'_>) -> String {
        self.templates.get(self.last).map(|template| template.request_line(py)).unwrap_or_default()
    }

    /// The id of the last request, for the log.
    pub(super) fn request_id(&self, py: Python<'_>) -> String {
        self.templates.get(self.last).map(|template| template.request_id(py)).unwrap_or_default()
    }

    /// Makes `last` the number of the listener's template, which is built when the listener is first met.
    fn select_template(&mut self, py: Python<'_>, fixed: &Fixed, exchange: &Exchange) -> PyResult<()> {
        let listener = exchange.listener();
        if self.templates.get(self.last).is_some_and(|template| template.is_of(listener)) {
            return Ok(());
        }
        if let Some(number) = self.templates.iter().position(|template| template.is_of(listener)) {
            self.last = number;
        } else {
            self.templates.push(Template::new(py, fixed, listener)?);
            self.last = self.templates.len() - 1;
        }
        Ok(())
    }
}

/// Adds a header that may be in the environ already: lines of one name are one list (RFC 9110 §5.3).
fn add_repeated(
    environ: &Bound<'_, PyDict>,
    key: &Bound<'_, PyString>,
    value: Bound<'_, PyString>,
    separator: &str,
) -> PyResult<()> {
    let Some(before) = environ.get_item(key)? else {
        return environ.set_item(key, value);
    };
    let joined = before.add(separator)?.add(value)?;
    environ.set_item(key, joined)
}
