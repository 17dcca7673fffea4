//! Sending an answer in pieces: what `write` and the blocks of an iterable have in common.

use pyo3::exceptions::{PyConnectionResetError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stdserve_proto::h1::BodyFraming;
use stdserve_server::{Exchange, Gone, Stream};

use super::responder::{Phase, Responder};

/// Bytes from which a block is sent without the interpreter's lock. A smaller one goes into the socket in less time
/// than it takes to get the lock back.
pub(super) const LARGE: usize = 64 << 10;

/// An answer whose head has been sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: Stream,
    /// More came than Content-Length declares.
    excess: bool,
}

impl Outgoing {
    /// Sends what earlier requests have answered; the head of this answer goes with its first block. `size` is the
    /// length of the body, where it is known.
    ///
    /// None of the sends waits, so the interpreter's lock is kept: where threads contend for it, getting it back
    /// takes longer than all of them.
    pub(super) fn start(exchange: Exchange, size: Option<u64>) -> Self {
        let size = exchange.content_length().or(size);
        Self { stream: exchange.start(size), excess: false }
    }

    /// Sends a block. It may wait for the client, if that has a full buffer ahead of it, without the interpreter's
    /// lock.
    pub(super) fn send(&mut self, py: Python<'_>, block: &Bound<'_, PyBytes>) -> Result<(), Gone> {
        let bytes = block.as_bytes();
        if self.is_delimited() && bytes.len() as u64 > self.stream.owed() {
            self.excess = true;
        }
        let stream = &mut self.stream;
        if bytes.len() > LARGE {
            return py.detach(|| {
                let mut sent = stream.send(bytes)?;
                while sent < bytes.len() {
                    stream.wait()?;
                    sent += stream.send(&bytes[sent..])?;
                }
                Ok(())
            });
        }
        let mut sent = stream.send(bytes)?;
        while sent < bytes.len() {
            py.detach(|| stream.wait())?;
            sent += stream.send(&bytes[sent..])?;
        }
        Ok(())
    }

    pub(super) fn send_file(
        &mut self,
        py: Python<'_>,
        file: std::fs::File,
        offset: u64,
        length: u64,
    ) -> Result<(), Gone> {
        // Without a body (HEAD, 304) there is nothing to do; any other answer with a file declares its length.
        if self.is_delimited() { py.detach(|| self.stream.send_file(file, offset, length)) } else { Ok(()) }
    }

    fn is_delimited(&self) -> bool {
        matches!(self.stream.framing().body, BodyFraming::Length(_))
    }

    /// More was to be sent than Content-Length declares.
    pub(super) fn has_excess(&self) -> bool {
        self.excess
    }

    /// Ends the answer. Says what is wrong with its length, in which case the connection is not used again.
    pub(super) fn end(self) -> Option<&'static str> {
        let owed = self.stream.owed();
        let delimited = self.is_delimited();
        let Self { stream, excess } = self;
        if excess {
            stream.end_and_close();
            return Some("the body is longer than its Content-Length");
        }
        stream.end();
        (delimited && owed > 0).then_some("the body is shorter than its Content-Length")
    }

    /// Cuts the connection, so that the client can tell that the answer is not whole.
    pub(super) fn abort(self) {
        self.stream.abort();
    }
}

/// `write()`.
pub(super) fn write(py: Python<'_>, responder: &Responder, block: &Bound<'_, PyBytes>) -> PyResult<()> {
    if responder.home.is_left() {
        return Err(PyRuntimeError::new_err(
            "this process was forked off while a request ran: it cannot answer it",
        ));
    }
    let mut outgoing = match responder.take(Phase::Busy) {
        Phase::Begun(exchange, status) if block.as_bytes().is_empty() => {
            responder.put_back(Phase::Begun(exchange, status));
            return Ok(());
        }
        Phase::Begun(exchange, _) => Outgoing::start(exchange, None),
        Phase::Sending(outgoing) => outgoing,
        // The body is the file's.
        handed @ Phase::Handed(..) => {
            responder.put_back(handed);
            return Ok(());
        }
        other => {
            let error = match &other {
                Phase::Gone => PyConnectionResetError::new_err("the client has gone"),
                Phase::Busy => PyRuntimeError::new_err("another thread is in write() for this request"),
                Phase::Fresh(_) => PyRuntimeError::new_err("write() was called before start_response()"),
                _ => PyRuntimeError::new_err("write() was called after the request was over"),
            };
            responder.put_back(other);
            return Err(error);
        }
    };
    if let Err(Gone) = outgoing.send(py, block) {
        responder.put_back(Phase::Gone);
        return Err(PyConnectionResetError::new_err("the client has gone"));
    }
    responder.put_back(Phase::Sending(outgoing));
    Ok(())
}
