//! What a worker serves, made from the options.

use std::io;
use std::sync::Arc;

use stdserve_config::{ServiceKind, ServiceSpec};
use stdserve_server::{Builder, Run, Server, Service, ThreadSource};
use stdserve_sys::listener::Listener;

use crate::interpreter::{Interpreter, Place};

/// The services of a group.
pub(crate) struct Services {
    list: Vec<(ServiceSpec, Arc<dyn Service>)>,
}

/// Makes the services of a worker. What needs the interpreter has been loaded.
pub(crate) fn make(
    interpreter: &mut dyn Interpreter,
    specs: &[ServiceSpec],
    place: &Place<'_>,
) -> io::Result<Services> {
    let list = specs
        .iter()
        .map(|spec| Ok((spec.clone(), service(interpreter, spec, place)?)))
        .collect::<io::Result<_>>()?;
    Ok(Services { list })
}

fn service(
    interpreter: &mut dyn Interpreter,
    spec: &ServiceSpec,
    place: &Place<'_>,
) -> io::Result<Arc<dyn Service>> {
    match &spec.kind {
        ServiceKind::Wsgi { .. }
        | ServiceKind::Rpc { .. }
        | ServiceKind::Stream { .. }
        | ServiceKind::Datagram { .. } => interpreter.service(spec, place),
        ServiceKind::Files(_) | ServiceKind::Cgi(_) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} is not in this version", spec.name)))
        }
    }
}

impl Services {
    /// The server of a worker: each service where it is mounted.
    pub(crate) fn build(
        self,
        builder: Builder,
        listeners: Vec<Listener>,
        threads: Arc<dyn ThreadSource>,
    ) -> io::Result<Server> {
        let mut elsewhere: Arc<dyn Service> = Arc::new(Nothing);
        for (_, service) in self.list {
            elsewhere = service;
        }
        builder.listeners(listeners).build(elsewhere, threads)
    }
}

/// Where nothing is mounted: every request is answered 404.
struct Nothing;

impl Service for Nothing {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(mut exchange) = run.next() {
            let begun = exchange
                .begin(404, b"Not Found")
                .and_then(|()| exchange.field(b"Content-Type", b"text/plain; charset=utf-8"));
            if begun.is_ok() {
                exchange.complete(b"Not Found\n");
            }
        }
    }
}
