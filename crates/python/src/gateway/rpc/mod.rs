//! The gateway for remote calls: the public methods of a Python object, by XML-RPC and by JSON-RPC 2.0.
//!
//! [`asking`] says of an HTTP request whether it holds calls, and in which language; [`xml`] and [`json`] read and
//! answer it; [`methods`] knows what may be called, and calls it. What of this only describes (which methods an object
//! has, their help, the page for browsers) is `stdserve/_rpc.py`.

mod asking;
mod json;
mod methods;
mod xml;

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use stdserve_config::RpcOptions;
use stdserve_proto::gzip;
use stdserve_proto::h1::phrase;
use stdserve_proto::xmlrpc::Limits;
use stdserve_server::{Exchange, Log, Run, Service};

use super::context::Contexts;
use super::{child, report, running};
use crate::ending;
use crate::xmlrpc::Types;
use asking::{Asked, Language};
use methods::Methods;

/// An object whose methods may be called, as a service.
pub(crate) struct RpcGateway {
    methods: Methods,
    options: RpcOptions,
    limits: Limits,
    log: Arc<dyn Log>,
    /// Contexts that no thread is in.
    contexts: Mutex<Vec<Contexts>>,
    forks: child::Watch,
}

/// An answer that is not a plain refusal.
struct Answer {
    content_type: &'static [u8],
    body: Vec<u8>,
    /// Whether the client takes gzip.
    gzip: bool,
}

/// Whether `object` can be served: what is wrong with it, in words for the user.
pub(crate) fn check(py: Python<'_>, object: &Py<PyAny>) -> Result<(), String> {
    methods::table(py, object).map(drop).map_err(|error| {
        let is_ours = error.is_instance_of::<pyo3::exceptions::PyValueError>(py);
        if is_ours { error.value(py).to_string() } else { report::traceback(py, &error) }
    })
}

impl RpcGateway {
    /// Readies `object`. What goes wrong with calls is told to `log`.
    pub(crate) fn new(
        py: Python<'_>,
        object: &Py<PyAny>,
        name: &str,
        options: RpcOptions,
        log: Arc<dyn Log>,
    ) -> PyResult<Self> {
        let limits = Limits {
            body: options.max_body,
            string: options.max_body,
            depth: options.max_depth,
            elements: options.max_values,
            ratio: options.max_ratio,
        };
        Types::get(py)?;
        let methods = Methods::new(py, object, name, &options)?;
        Ok(Self { methods, options, limits, log, contexts: Mutex::default(), forks: child::Watch::new(py)? })
    }

    fn serve(&self, py: Python<'_>, contexts: &mut Contexts, mut exchange: Exchange) {
        let asked = match asking::ask(&mut exchange, &self.options, &self.limits) {
            Ok(asked) => asked,
            Err(refusal) => return refusal.answer(exchange),
        };
        let answer = match asked {
            Asked::Page => Answer {
                content_type: b"text/html; charset=utf-8",
                body: self.methods.page().to_vec(),
                gzip: asking::takes_gzip(&exchange),
            },
            Asked::Calls { language, document } => {
                let context = match contexts.enter(py) {
                    Ok(context) => context,
                    Err(error) => {
                        // There was no memory, or next to none.
                        let message = format!("{} cannot be run: {error}", report::request(&exchange));
                        self.log.request_error(exchange.request_id().as_str(), &message);
                        return refuse(exchange, 500, &[]);
                    }
                };
                let body = match language {
                    Language::Xml => Some(self.answer_xml(py, &exchange, &document)),
                    Language::Json => self.answer_json(py, &exchange, &document),
                };
                if self.forks.is_forked() {
                    child::leave(py, &Ok(()));
                }
                if let Err(error) = contexts.exit(context) {
                    self.log.error(&format!("a method left its context: {error}"));
                }
                // Nothing but notifications: nothing to be said (JSON-RPC over HTTP).
                let Some(body) = body else { return refuse(exchange, 204, &[]) };
                Answer { content_type: language.content_type(), body, gzip: asking::takes_gzip(&exchange) }
            }
        };
        py.detach(|| self.send(exchange, answer));
    }

    fn send(&self, mut exchange: Exchange, answer: Answer) {
        let minimum = self.options.gzip_minimum;
        let compress = answer.gzip && minimum.is_some_and(|minimum| answer.body.len() as u64 >= minimum);
        let body = if compress { gzip::gzip(&answer.body) } else { answer.body };
        let begun = exchange.begin(200, b"OK").and_then(|()| {
            exchange.field(b"Content-Type", answer.content_type)?;
            if minimum.is_some() {
                exchange.field(b"Vary", b"Accept-Encoding")?;
            }
            if compress {
                exchange.field(b"Content-Encoding", b"gzip")?;
            }
            if answer.content_type.starts_with(b"text/html") {
                exchange
                    .field(b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'")?;
            }
            Ok(())
        });
        match begun {
            Ok(()) => exchange.complete(&body),
            // No field of these can be refused.
            Err(error) => self.log.error(&format!("{}: {error}", report::request(&exchange))),
        }
    }

    /// Tells the log, which may wait for a disk, without the interpreter's lock.
    fn say(&self, py: Python<'_>, message: &str) {
        py.detach(|| self.log.error(message));
    }
}

/// Answers without calling anything: a status, and what it says in words.
fn refuse(mut exchange: Exchange, status: u16, fields: &[(&[u8], &[u8])]) {
    let reason = phrase(status);
    let begun = exchange.begin(status, reason.as_bytes()).and_then(|()| {
        for (name, value) in fields {
            exchange.field(name, value)?;
        }
        if status == 204 { Ok(()) } else { exchange.field(b"Content-Type", b"text/plain; charset=utf-8") }
    });
    if begun.is_ok() {
        let body = if status == 204 { String::new() } else { format!("{reason}\n") };
        exchange.complete(body.as_bytes());
    }
}

impl Service for RpcGateway {
    fn run(&self, run: &mut Run<'_>) {
        let attached = ending::attach(|py| {
            let spare = self.contexts.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut contexts = spare.unwrap_or_default();
            while let Some(exchange) = run.next() {
                let _inside = running::enter(py, exchange.id());
                self.serve(py, &mut contexts, exchange);
            }
            self.contexts.lock().unwrap_or_else(PoisonError::into_inner).push(contexts);
        });
        if attached.is_none() {
            // The interpreter is ending: what is left is dropped, which cuts the connections.
            while run.next().is_some() {}
        }
    }
}
