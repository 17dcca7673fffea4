//! The WSGI gateway (PEP 3333): runs a Python application for the engine.
//!
//! [`environ`] and [`template`] build what the application is given, [`input`] and [`errors`] are its streams,
//! [`responder`] takes its status and headers, [`response`] what it returns, and [`sending`] puts that on
//! its way; [`sendfile`] is for what the server sends in the application's stead.
//! Nothing that Python can reach points into a thread's stack or into a borrowed value: an application may swap stacks
//! (greenlets), keep any object, and call it late from anywhere.

mod around;
mod environ;
mod errors;
mod file_wrapper;
mod input;
mod names;
mod responder;
mod response;
mod sendfile;
mod sending;
mod template;

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};
use stdserve_server::{Exchange, Log, Outcome, Peer, Run, Service};

use super::context::Contexts;
use super::draining::Draining;
use super::text::{native, references};
use super::{child, report, running};
use crate::ending;
pub(crate) use around::Around;
use around::Told;
use environ::EnvironMaker;
use errors::ErrorStream;
use file_wrapper::{FileTypes, FileWrapper};
use input::Input;
use responder::{Callables, Phase};
use response::Answer;
pub(crate) use sendfile::SendFile;

/// What an application is told of the server that it runs in.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// `SCRIPT_NAME`: the path that the application is mounted at, without a slash at its end; empty: the root.
    pub(crate) root_path: String,
    /// `wsgi.multithread`: several threads may be in the application at once.
    pub(crate) multithread: bool,
    /// `wsgi.multiprocess`: other processes serve the application too.
    pub(crate) multiprocess: bool,
    /// What else stands in every environ, where nothing of the request says otherwise.
    pub(crate) environ: Option<Py<PyDict>>,
    /// Called after each answer with the client's address, the request line, the status and the number of bytes.
    pub(crate) log: Option<Py<PyAny>>,
    /// The folders whose files it may have the server send.
    pub(crate) sendfile: Option<Arc<SendFile>>,
    /// What is called around each request.
    pub(crate) around: Option<Around>,
}

/// What all requests share.
struct Fixed {
    options: Options,
    keys: Keys,
    errors: Py<ErrorStream>,
    file_wrapper: Py<PyType>,
    file_types: FileTypes,
    /// `stdserve.draining`, as the loop and as the application see it.
    draining: (Draining, Py<Draining>),
}

/// Keys that are set in a way of their own.
struct Keys {
    host: Py<PyString>,
    input: Py<PyString>,
    content_length: Py<PyString>,
}

/// A WSGI application as a service.
pub(crate) struct WsgiGateway {
    application: Py<PyAny>,
    fixed: Fixed,
    log: Arc<dyn Log>,
    /// Desks that no thread sits at.
    #[allow(clippy::vec_box)] // a desk is large, and moves twice in every cohort
    desks: Mutex<Vec<Box<Desk>>>,
    forks: child::Watch,
}

/// What a thread needs to run requests, kept from one to the next. It has one only while it is in the application.
struct Desk {
    environ: EnvironMaker,
    contexts: Contexts,
    callables: Callables,
    input: Py<Input>,
}

impl WsgiGateway {
    /// Readies `application`. What goes wrong with requests is told to `log`.
    pub(crate) fn new(
        py: Python<'_>,
        application: Py<PyAny>,
        options: Options,
        log: Arc<dyn Log>,
    ) -> PyResult<Self> {
        let key = |name| PyString::intern(py, name).unbind();
        let draining = Draining::new()?;
        let fixed = Fixed {
            options,
            keys: Keys {
                host: key("HTTP_HOST"),
                input: key("wsgi.input"),
                content_length: key("CONTENT_LENGTH"),
            },
            errors: Py::new(py, ErrorStream::default())?,
            file_wrapper: py.get_type::<FileWrapper>().unbind(),
            file_types: FileTypes::new(py)?,
            draining: (draining.clone(), Py::new(py, draining)?),
        };
        Ok(Self { application, fixed, log, desks: Mutex::default(), forks: child::Watch::new(py)? })
    }

    fn take_desk(&self, py: Python<'_>) -> PyResult<Box<Desk>> {
        let desk = self.desks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        desk.map_or_else(|| Desk::new(py, self).map(Box::new), Ok)
    }

    fn put_desk(&self, desk: Box<Desk>) {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk);
    }

    /// Tells the log, which may wait for a disk, without the interpreter's lock.
    fn say(&self, py: Python<'_>, message: &str) {
        py.detach(|| self.log.error(message));
    }

    /// As [`say`](Self::say), of the request with this id.
    fn say_of(&self, py: Python<'_>, request_id: &str, message: &str) {
        py.detach(|| self.log.request_error(request_id, message));
    }

    fn tell(&self, py: Python<'_>, log: &Py<PyAny>, logged: &Logged) {
        let told = native(py, &logged.line).and_then(|line| {
            log.call1(py, (&logged.address, line, logged.outcome.status(), logged.outcome.sent()))
        });
        if let Err(error) = told {
            self.say(py, &report::traceback(py, &error));
        }
    }

    /// Runs one request.
    fn serve(&self, py: Python<'_>, desk: &mut Desk, mut exchange: Exchange) {
        let logged = self.fixed.options.log.as_ref().map(|log| (log, Logged::of(&mut exchange)));
        let body = exchange.take_body();
        let length = body.len();
        let input = desk.input.bind(py).clone();
        let made = desk
            .environ
            .make(py, &self.fixed, &exchange, length, &input)
            .and_then(|environ| Ok((environ, desk.contexts.enter(py)?)));
        let (environ, context) = match made {
            Ok(made) => made,
            Err(error) => {
                // There was no memory, or next to none.
                let message = format!("{} cannot be run: {error}", report::request(&exchange));
                self.log.request_error(exchange.request_id().as_str(), &message);
                return response::answer_500(exchange);
            }
        };
        let told = match &self.fixed.options.around {
            None => None,
            Some(around) => match around.before(&environ, &mut exchange) {
                Ok(told) => told,
                Err(error) => {
                    let request = report::request(&exchange);
                    self.say(
                        py,
                        &format!("{request}: pre_request failed\n{}", report::traceback(py, &error)),
                    );
                    let _ = desk.contexts.exit(context);
                    return response::answer_500(exchange);
                }
            },
        };
        input.get().begin(body);
        desk.callables.responder().begin(exchange);
        let called =
            ending::call_with_two(self.application.bind(py), &environ, desk.callables.start_response(py));
        let answer = Answer {
            py,
            gateway: self,
            responder: desk.callables.responder(),
            request: &|| desk.environ.request_line(py),
            request_id: &|| desk.environ.request_id(py),
        };
        answer.give(called);
        drop(environ);
        if let Err(error) = desk.contexts.exit(context) {
            self.log.error(&format!("the application left its context: {error}"));
        }
        desk.callables.responder().take(Phase::Over);
        if let Some(Err(error)) = told.map(Told::after) {
            self.say(py, &report::traceback(py, &error));
        }
        if let Some((log, logged)) = logged {
            self.tell(py, log, &logged);
        }
        input.get().end();
        drop(input);
        desk.renew_what_was_kept(py, self);
    }

    /// What the application may have the server send.
    fn sender(&self) -> Option<Arc<SendFile>> {
        self.fixed.options.sendfile.clone()
    }
}

/// What a line of a log says of a request.
struct Logged {
    address: String,
    line: Vec<u8>,
    outcome: Arc<Outcome>,
}

impl Logged {
    fn of(exchange: &mut Exchange) -> Self {
        let head = exchange.head();
        let line = [head.method(), head.target(), head.version().as_str().as_bytes()].join(&b' ');
        let address = match exchange.peer() {
            Peer::Ip(address) => address.ip().to_canonical().to_string(),
            Peer::Unix => String::new(),
        };
        Self { address, line, outcome: exchange.outcome() }
    }
}

impl Desk {
    fn new(py: Python<'_>, gateway: &WsgiGateway) -> PyResult<Self> {
        Ok(Self {
            environ: EnvironMaker::new(py)?,
            contexts: Contexts::default(),
            callables: Callables::new(py, gateway.sender())?,
            input: Py::new(py, Input::new())?,
        })
    }

    /// An object that the application has kept stays with the request that it was made for.
    fn renew_what_was_kept(&mut self, py: Python<'_>, gateway: &WsgiGateway) {
        if !self.callables.are_ours(py)
            && let Ok(callables) = Callables::new(py, gateway.sender())
        {
            self.callables = callables;
        }
        // The desk holds it, and so does the template.
        if references(py, &self.input) > 1 + self.environ.templates_with(&self.input)
            && let Ok(input) = Py::new(py, Input::new())
        {
            self.input = input;
        }
    }
}

impl Service for WsgiGateway {
    fn draining(&self) {
        self.fixed.draining.0.set();
    }

    fn run(&self, run: &mut Run<'_>) {
        let attached = ending::attach(|py| {
            let mut desk = match self.take_desk(py) {
                Ok(desk) => desk,
                Err(error) => {
                    self.log.error(&format!("no request can be run: {error}"));
                    while let Some(exchange) = run.next() {
                        response::answer_500(exchange);
                    }
                    return;
                }
            };
            while let Some(exchange) = run.next() {
                let _inside = running::enter(py, exchange.id());
                self.serve(py, &mut desk, exchange);
            }
            self.put_desk(desk);
        });
        if attached.is_none() {
            // The interpreter is ending: what is left is dropped, which cuts the connections.
            while run.next().is_some() {}
        }
    }
}
