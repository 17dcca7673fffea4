//! Requests for handlers of `stdserve.http.server`: the head is read, and the handler's method is called with it.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use stdserve_proto::h1::BodyLength;
use stdserve_server::{Body, Exchange};

use super::peer;
use super::writer::Writer;
use crate::ending;
use crate::gateway::text::native;

/// The driver's methods for requests.
pub(super) struct Requests {
    open: Py<PyAny>,
    serve: Py<PyAny>,
    bytes_io: Py<PyAny>,
    open_file: Py<PyAny>,
    empty: Py<PyString>,
    versions: [Py<PyString>; 2],
}

impl Requests {
    pub(super) fn new(driver: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = driver.py();
        let io = py.import("io")?;
        let intern = |text| PyString::intern(py, text).unbind();
        Ok(Self {
            open: driver.getattr("open")?.unbind(),
            serve: driver.getattr("serve")?.unbind(),
            bytes_io: io.getattr("BytesIO")?.unbind(),
            open_file: io.getattr("open")?.unbind(),
            empty: intern(""),
            versions: [intern("HTTP/1.0"), intern("HTTP/1.1")],
        })
    }

    /// Calls the connection's handler with the request, and sends what it wrote.
    pub(super) fn serve(&self, py: Python<'_>, mut exchange: Exchange) -> PyResult<()> {
        let handler = self.handler(py, &exchange)?;
        let head = exchange.head();
        let version = self.versions[usize::from(head.version().as_str() != "HTTP/1.0")].bind(py).clone();
        let command = native(py, head.method())?;
        let path = native(py, head.target())?;
        let line = [head.method(), b" ", head.target(), b" ", head.version().as_str().as_bytes()].concat();
        let line = native(py, &line)?;
        let fields = PyList::empty(py);
        let (mut connection, mut expect) = (None, None);
        for (name, value) in head.fields() {
            let text = native(py, value)?;
            match name.len() {
                10 if name.eq_ignore_ascii_case(b"connection") => {
                    connection.get_or_insert_with(|| text.clone());
                }
                6 if name.eq_ignore_ascii_case(b"expect") => {
                    expect.get_or_insert_with(|| text.clone());
                }
                _ => {}
            }
            fields.append(PyTuple::new(py, [native(py, name)?, text])?)?;
        }
        let chunked = matches!(head.body_length(), BodyLength::Chunked);
        let body = exchange.take_body();
        let rfile = self.rfile(py, body, chunked)?;
        let empty = || self.empty.bind(py).clone();
        // The engine has answered what was expected.
        let expected = expect.is_some() && rfile.is_none();
        let writer = Bound::new(py, Writer::new(exchange))?;
        let rfile = rfile.map_or_else(|| self.bytes_io.bind(py).call0(), Ok)?;
        let arguments = (
            handler,
            command,
            path,
            version,
            line,
            fields,
            connection.unwrap_or_else(empty),
            if expected { expect.unwrap_or_else(empty) } else { empty() },
            rfile,
            &writer,
        );
        let answer = ending::call(self.serve.bind(py), arguments);
        match answer.and_then(|close| close.is_truthy()) {
            Ok(close) => {
                writer.get().end(!close);
                Ok(())
            }
            Err(error) => {
                writer.get().end(false);
                Err(error)
            }
        }
    }

    /// The handler of the connection, made with its first request.
    fn handler<'py>(&self, py: Python<'py>, exchange: &Exchange) -> PyResult<Bound<'py, PyAny>> {
        if let Some(kept) = exchange.attachment()
            && let Some(handler) = kept.as_ref().and_then(|kept| kept.downcast_ref::<Py<PyAny>>())
        {
            return Ok(handler.bind(py).clone());
        }
        let descriptor = exchange.socket().map_or(-1, |socket| socket.as_fd().as_raw_fd());
        let handler = self.open.bind(py).call1((peer(py, exchange.peer())?, descriptor))?;
        if let Some(mut kept) = exchange.attachment() {
            *kept = Some(Box::new(handler.clone().unbind()));
        }
        Ok(handler)
    }

    /// What the handler reads the body from. `None`: there is none.
    fn rfile<'py>(&self, py: Python<'py>, body: Body, chunked: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        let bytes = match body {
            Body::Memory(bytes) => bytes,
            Body::File { file, len } if chunked => {
                // A handler that reads chunks itself gets them back.
                let mut bytes = vec![0; len as usize];
                std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0)?;
                bytes
            }
            Body::File { mut file, .. } => {
                std::io::Seek::rewind(&mut file)?;
                return self.open_file.bind(py).call1((file.into_raw_fd(), "rb")).map(Some);
            }
            Body::Empty | Body::Stream(_) if chunked => Vec::new(),
            Body::Empty | Body::Stream(_) => return Ok(None),
        };
        let bytes = if chunked { rechunked(&bytes) } else { bytes };
        self.bytes_io.bind(py).call1((PyBytes::new(py, &bytes),)).map(Some)
    }
}

/// A body in one chunk: for handlers, to whom the standard library leaves the reading of chunks.
fn rechunked(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    if !bytes.is_empty() {
        stdserve_proto::h1::encode_chunk_size(&mut out, bytes.len());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
