//! What an application returned becomes an answer (PEP 3333, "Buffering and Streaming", "Handling the
//! Content-Length Header").

use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};
use stdserve_server::{Exchange, Gone};

use super::WsgiGateway;
use super::file_wrapper::FileWrapper;
use super::responder::{Phase, Responder};
use super::sendfile::Handed;
use super::sending::{LARGE, Outgoing};
use crate::gateway::child;
use crate::gateway::report::{self, type_name};
use crate::gateway::running;
use crate::gateway::text::as_bytes;

/// One request of an application, from the call to `close()`.
pub(super) struct Answer<'a, 'py> {
    pub(super) py: Python<'py>,
    pub(super) gateway: &'a WsgiGateway,
    pub(super) responder: &'a Responder,
    /// The request in words, for the log.
    pub(super) request: &'a dyn Fn() -> String,
    /// Its id.
    pub(super) request_id: &'a dyn Fn() -> String,
}

/// What is left to do after a block was sent.
enum Next {
    GoOn,
    /// The client has gone, or has all that Content-Length allows.
    Stop,
}

impl<'py> Answer<'_, 'py> {
    /// Answers with what the call of the application gave, and closes it.
    pub(super) fn give(&self, called: PyResult<Bound<'py, PyAny>>) {
        self.leave_if_forked(&called);
        let returned = match called {
            Ok(returned) => returned,
            Err(error) => return self.fail(&error),
        };
        // Lists and tuples have no close().
        if let Ok(list) = returned.cast_exact::<PyList>() {
            // One block of bytes is by far the most common answer.
            let answered = if list.len() == 1 {
                list.get_item(0).and_then(|block| self.one(&block))
            } else {
                self.several(&list.iter().collect::<Vec<_>>())
            };
            return self.fail_if(answered);
        }
        if let Ok(tuple) = returned.cast_exact::<PyTuple>() {
            let answered = if tuple.len() == 1 {
                tuple.get_item(0).and_then(|block| self.one(&block))
            } else {
                self.several(&tuple.iter().collect::<Vec<_>>())
            };
            return self.fail_if(answered);
        }
        self.fail_if(match returned.cast_exact::<FileWrapper>() {
            Ok(wrapper) => self.file(wrapper),
            Err(_) => self.iterate(&returned),
        });
        self.close(&returned);
    }

    fn one(&self, block: &Bound<'py, PyAny>) -> PyResult<()> {
        let block = block_bytes(block)?;
        if block.as_bytes().len() > LARGE {
            return self.blocks(std::slice::from_ref(block));
        }
        match self.responder.take(Phase::Busy) {
            Phase::Begun(exchange, status) => {
                self.responder.put_back(Phase::Over);
                self.complete(exchange, status, block.as_bytes());
                Ok(())
            }
            other => {
                self.responder.put_back(other);
                self.blocks(std::slice::from_ref(block))
            }
        }
    }

    fn several(&self, blocks: &[Bound<'py, PyAny>]) -> PyResult<()> {
        let blocks = blocks
            .iter()
            .map(|block| block_bytes(block).cloned())
            .collect::<PyResult<Vec<Bound<'py, PyBytes>>>>()?;
        self.blocks(&blocks)
    }

    /// Sends a body that is there as a whole.
    fn blocks(&self, blocks: &[Bound<'py, PyBytes>]) -> PyResult<()> {
        let total: usize = blocks.iter().map(|block| block.as_bytes().len()).sum();
        match self.responder.take(Phase::Busy) {
            Phase::Begun(exchange, status) if total <= LARGE => {
                self.responder.put_back(Phase::Over);
                match blocks {
                    [block] => self.complete(exchange, status, block.as_bytes()),
                    blocks => {
                        let mut body = Vec::with_capacity(total);
                        for block in blocks {
                            body.extend_from_slice(block.as_bytes());
                        }
                        self.complete(exchange, status, &body);
                    }
                }
                return Ok(());
            }
            Phase::Begun(exchange, _) => {
                let outgoing = Outgoing::start(exchange, Some(total as u64));
                self.responder.put_back(Phase::Sending(outgoing));
            }
            Phase::Fresh(exchange) => {
                self.responder.put_back(Phase::Fresh(exchange));
                return Err(not_started());
            }
            other => self.responder.put_back(other),
        }
        for block in blocks {
            if let Next::Stop = self.send(block)? {
                break;
            }
        }
        self.end();
        Ok(())
    }

    fn iterate(&self, returned: &Bound<'py, PyAny>) -> PyResult<()> {
        let blocks = returned.try_iter().map_err(|error| {
            if error.is_instance_of::<PyTypeError>(self.py) {
                let name = type_name(returned);
                PyTypeError::new_err(format!(
                    "the application returned {name}, which is no iterable of bytes"
                ))
            } else {
                error
            }
        })?;
        // A generator may do anything between its last block and its end: the block goes out before that. Other
        // iterators are asked for their end first, so that an answer in one block can join its cohort.
        let may_look_ahead = !is_generator(&blocks);
        while let Some(block) = self.next(&blocks)? {
            let block = block_bytes(&block)?;
            if block.as_bytes().is_empty() {
                continue;
            }
            if may_look_ahead && self.is_all(block) {
                return self.finish_after(&blocks, block);
            }
            if let Next::Stop = self.send(block)? {
                break;
            }
        }
        self.end();
        Ok(())
    }

    /// Whether nothing was sent and `block` is what Content-Length declares.
    fn is_all(&self, block: &Bound<'py, PyBytes>) -> bool {
        let size = block.as_bytes().len();
        size <= LARGE
            && self.responder.look(|phase| {
                matches!(phase, Phase::Begun(exchange, _) if exchange.content_length() == Some(size as u64))
            })
    }

    /// Sends `block` as the whole answer, once the iterator has nothing more.
    fn finish_after(&self, rest: &Bound<'py, PyIterator>, block: &Bound<'py, PyBytes>) -> PyResult<()> {
        let mut body = std::borrow::Cow::Borrowed(block.as_bytes());
        while let Some(more) = self.next(rest)? {
            let more = block_bytes(&more)?.as_bytes();
            if let Some(&first) = more.first() {
                // One byte too many says it: the rest is not needed.
                body.to_mut().push(first);
                break;
            }
        }
        match self.responder.take(Phase::Over) {
            Phase::Begun(exchange, status) => self.complete(exchange, status, &body),
            // Nothing the application does gets here but a failed start_response with exc_info.
            Phase::Fresh(exchange) => {
                self.responder.begin(exchange);
                return Err(not_started());
            }
            Phase::Handed(exchange, handed) => self.hand_over(exchange, &handed),
            other => drop(other),
        }
        Ok(())
    }

    fn file(&self, wrapper: &Bound<'py, FileWrapper>) -> PyResult<()> {
        let is_begun = self.responder.look(|phase| matches!(phase, Phase::Begun(..)));
        let stretch =
            if is_begun { self.gateway.fixed.file_types.stretch(self.py, wrapper.get())? } else { None };
        let Some(stretch) = stretch else { return self.iterate(wrapper.as_any()) };
        match self.responder.take(Phase::Busy) {
            Phase::Begun(exchange, _) => {
                // A Content-Length smaller than the file means its beginning: ranges are answered so.
                let mut outgoing = Outgoing::start(exchange, Some(stretch.length));
                if let Err(Gone) = outgoing.send_file(self.py, stretch.file, stretch.offset, stretch.length) {
                    self.responder.put_back(Phase::Gone);
                    return Ok(());
                }
                self.responder.put_back(Phase::Sending(outgoing));
                self.end();
                Ok(())
            }
            other => {
                self.responder.put_back(other);
                self.iterate(wrapper.as_any())
            }
        }
    }

    /// Sends a block that is not empty, and the head before the first.
    fn send(&self, block: &Bound<'py, PyBytes>) -> PyResult<Next> {
        let mut outgoing = match self.responder.take(Phase::Busy) {
            Phase::Sending(outgoing) => outgoing,
            Phase::Begun(exchange, status) => {
                let no_body = !has_body(&exchange, status);
                let outgoing = Outgoing::start(exchange, None);
                if no_body {
                    self.responder.put_back(Phase::Sending(outgoing));
                    return Ok(Next::Stop);
                }
                outgoing
            }
            Phase::Handed(exchange, handed) => {
                self.responder.put_back(Phase::Over);
                self.hand_over(exchange, &handed);
                return Ok(Next::Stop);
            }
            Phase::Fresh(exchange) => {
                self.responder.put_back(Phase::Fresh(exchange));
                return Err(PyRuntimeError::new_err("a block came before start_response() was called"));
            }
            other => {
                self.responder.put_back(other);
                return Ok(Next::Stop);
            }
        };
        let (phase, next) = match outgoing.send(self.py, block) {
            Ok(()) if outgoing.has_excess() => (Phase::Sending(outgoing), Next::Stop),
            Ok(()) => (Phase::Sending(outgoing), Next::GoOn),
            Err(Gone) => (Phase::Gone, Next::Stop),
        };
        self.responder.put_back(phase);
        Ok(next)
    }

    /// Nothing more will come.
    fn end(&self) {
        match self.responder.take(Phase::Over) {
            Phase::Sending(outgoing) => {
                if let Some(problem) = outgoing.end() {
                    self.complain(problem);
                }
            }
            Phase::Begun(exchange, status) => self.complete(exchange, status, b""),
            Phase::Handed(exchange, handed) => self.hand_over(exchange, &handed),
            Phase::Fresh(exchange) => {
                self.responder.begin(exchange);
                self.fail(&not_started());
            }
            Phase::Over | Phase::Gone | Phase::Busy => {}
        }
    }

    /// Sends a whole answer. Where its length is not as declared, the engine closes the connection after it.
    fn complete(&self, exchange: Exchange, status: u16, body: &[u8]) {
        let declared = exchange.content_length();
        let wrong =
            declared.is_some_and(|declared| declared != body.len() as u64) && has_body(&exchange, status);
        exchange.complete(body);
        if wrong {
            let longer = declared.is_some_and(|declared| declared < body.len() as u64);
            let than = if longer { "longer" } else { "shorter" };
            self.complain(&format!("the body is {than} than its Content-Length"));
        }
    }

    /// The server sends a file in the application's stead, whose body is not looked at any further.
    fn hand_over(&self, exchange: Exchange, handed: &Handed) {
        self.py.detach(|| handed.send(exchange));
    }

    /// The next block.
    fn next(&self, blocks: &Bound<'py, PyIterator>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = blocks.clone().next().transpose();
        self.leave_if_forked(&block);
        block
    }

    fn close(&self, returned: &Bound<'py, PyAny>) {
        let closed = match returned.getattr_opt(pyo3::intern!(self.py, "close")) {
            Ok(None) => return,
            Ok(Some(close)) => close.call0(),
            Err(error) => Err(error),
        };
        self.leave_if_forked(&closed);
        if let Err(error) = closed
            && !running::is_time_out(self.py, &error)
        {
            self.log(&format!("close() failed after {}", (self.request)()), &error);
        }
    }

    fn fail_if(&self, answered: PyResult<()>) {
        if let Err(error) = answered {
            self.fail(&error);
        }
    }

    /// The application failed: 500 where nothing was sent, otherwise the connection is cut.
    fn fail(&self, error: &PyErr) {
        let phase = self.responder.take(Phase::Over);
        // An application that gives up since its client has gone has done right.
        let gave_up = matches!(phase, Phase::Gone) && error.is_instance_of::<PyConnectionError>(self.py);
        if !gave_up && !running::is_time_out(self.py, error) {
            self.log(&format!("error in {}", (self.request)()), error);
        }
        match phase {
            Phase::Fresh(exchange) | Phase::Begun(exchange, _) | Phase::Handed(exchange, _) => {
                answer_500(exchange);
            }
            Phase::Sending(outgoing) => outgoing.abort(),
            Phase::Over | Phase::Gone | Phase::Busy => {}
        }
    }

    fn log(&self, what: &str, error: &PyErr) {
        let text = report::traceback(self.py, error);
        self.gateway.say_of(self.py, &(self.request_id)(), &format!("{what}\n{text}"));
    }

    fn complain(&self, problem: &str) {
        let message = format!("error in {}: {problem}", (self.request)());
        self.gateway.say_of(self.py, &(self.request_id)(), &message);
    }

    /// In a process that the application has forked off, its return is the end.
    fn leave_if_forked<T>(&self, result: &PyResult<T>) {
        if self.gateway.forks.is_forked() {
            child::leave(self.py, result);
        }
    }
}

/// Answers 500 without saying why: that stands in the log.
pub(super) fn answer_500(mut exchange: Exchange) {
    const REASON: &[u8] = b"Internal Server Error";
    let begun = exchange
        .begin(500, REASON)
        .and_then(|()| exchange.field(b"Content-Type", b"text/plain; charset=utf-8"));
    if begun.is_ok() {
        exchange.complete(b"Internal Server Error\n");
    }
}

fn block_bytes<'a, 'py>(block: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    as_bytes(block).ok_or_else(|| {
        PyTypeError::new_err(format!("a block of the response is {}; it must be bytes", type_name(block)))
    })
}

/// Whether the answer has a body at all (RFC 9110 §6.4.1).
fn has_body(exchange: &Exchange, status: u16) -> bool {
    !matches!(status, 204 | 304) && exchange.head().method() != b"HEAD"
}

fn not_started() -> PyErr {
    PyRuntimeError::new_err("the application returned without calling start_response()")
}

fn is_generator(object: &Bound<'_, PyIterator>) -> bool {
    // SAFETY: a live object, whose type is looked at.
    unsafe { pyo3::ffi::PyGen_Check(object.as_ptr()) != 0 }
}
