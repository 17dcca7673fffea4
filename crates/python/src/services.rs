//! The services that Python runs: what each names is loaded here, and made into a service by its gateway.

use std::sync::Arc;

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use stdserve_config::{AppSpec, ServiceKind, ServiceSpec};
use stdserve_program::Place;
use stdserve_server::Service;

use crate::app::{self, LoadError};
use crate::gateway::handler::{self, HandlerGateway, Kind};
use crate::gateway::rpc::{self, RpcGateway};
use crate::gateway::wsgi::{Around, Options, SendFile, WsgiGateway};

/// Imports what a service names, and checks that it can be such a service.
pub(crate) fn load(py: Python<'_>, kind: &ServiceKind, spec: &AppSpec) -> Result<Py<PyAny>, LoadError> {
    match kind {
        ServiceKind::Rpc { .. } => {
            let object = app::load_object(py, spec, "object")?;
            match rpc::check(py, &object) {
                Ok(()) => Ok(object),
                Err(why) => Err(LoadError { message: format!("{spec}: {why}") }),
            }
        }
        ServiceKind::Stream { .. } | ServiceKind::Datagram { .. } => {
            let object = app::load_object(py, spec, "handler class")?;
            let datagrams = matches!(kind, ServiceKind::Datagram { .. });
            match handler::check(py, if datagrams { Kind::Datagram } else { Kind::Stream }, &object) {
                Ok(()) => Ok(object),
                Err(why) => Err(LoadError { message: format!("{spec}: {why}") }),
            }
        }
        ServiceKind::Wsgi { .. } | ServiceKind::Files(_) | ServiceKind::Cgi(_) => app::load(py, spec),
    }
}

/// Makes a service out of the object that was loaded for it.
pub(crate) fn service(
    py: Python<'_>,
    service: &ServiceSpec,
    object: Py<PyAny>,
    place: &Place<'_>,
) -> PyResult<Arc<dyn Service>> {
    let workers = &place.settings.workers;
    match &service.kind {
        ServiceKind::Wsgi { options, .. } => {
            let options = Options {
                root_path: options.root_path.clone(),
                multithread: workers.threads > 1,
                multiprocess: place.workers > 1,
                environ: None,
                log: None,
                sendfile: SendFile::new(options, Arc::clone(place.log))?.map(Arc::new),
                around: match place.settings.process.python_file {
                    Some(_) => Around::of_configuration(py)?,
                    None => None,
                },
            };
            Ok(Arc::new(WsgiGateway::new(py, object, options, Arc::clone(place.log))?))
        }
        ServiceKind::Rpc { object: spec, options } => {
            let (name, log) = (spec.to_string(), Arc::clone(place.log));
            Ok(Arc::new(RpcGateway::new(py, &object, &name, options.clone(), log)?))
        }
        ServiceKind::Stream { options, .. } => {
            let log = Arc::clone(place.log);
            Ok(Arc::new(HandlerGateway::new(py, Kind::Stream, object, options.clone(), log)?))
        }
        ServiceKind::Datagram { options, .. } => {
            let log = Arc::clone(place.log);
            Ok(Arc::new(HandlerGateway::new(py, Kind::Datagram, object, options.clone(), log)?))
        }
        ServiceKind::Files(_) | ServiceKind::Cgi(_) => {
            Err(PyNotImplementedError::new_err("it needs no Python"))
        }
    }
}
