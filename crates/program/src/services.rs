//! What a worker serves, made from the options.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stdserve_config::{GroupSpec, ServiceKind, ServiceSpec, UsageError};
use stdserve_server::cgi::Cgi;
use stdserve_server::{Builder, Mount, Run, Server, Service, ThreadSource};
use stdserve_sys::listener::Listener;

use crate::error_page::ErrorPage;
use crate::interpreter::{Interpreter, Place};
use crate::ready_made;

/// How long scripts that run when their worker ends may take to end too.
const LAST_SCRIPTS: Duration = Duration::from_secs(1);

/// The services of a group.
pub(crate) struct Services {
    list: Vec<(ServiceSpec, Arc<dyn Service>)>,
    /// Those whose scripts end with the worker.
    scripts: Vec<Arc<Cgi>>,
    /// Where nothing is mounted.
    elsewhere: Arc<dyn Service>,
}

/// In the place of all services: why they cannot be had.
pub(crate) fn page(why: &str) -> Services {
    Services { list: Vec::new(), scripts: Vec::new(), elsewhere: Arc::new(ErrorPage::new(why)) }
}

/// Looks whether a service has what the options name: its folders.
pub(crate) fn check(service: &ServiceSpec, group: &GroupSpec) -> Result<(), UsageError> {
    let folder = |option, folder: &Path| match folder.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(group.refuse(option, format!("{} is no folder", folder.display()))),
        Err(error) => Err(group.refuse(option, format!("{}: {error}", folder.display()))),
    };
    if let ServiceKind::Wsgi { options, .. } = &service.kind {
        options.sendfile_roots.iter().try_for_each(|root| folder("sendfile-root", root))?;
        options.accel_roots.iter().try_for_each(|(_, root)| folder("accel-root", Path::new(root)))?;
    }
    ready_made::check(&service.kind).map_err(|error| {
        // Those beside an application have their path for a name.
        if service.name.starts_with('/') {
            group.refuse("static", error.to_string())
        } else {
            UsageError::new(None, error.to_string(), None)
        }
    })
}

/// Makes the services of a worker. What needs the interpreter has been loaded.
pub(crate) fn make(
    interpreter: &mut dyn Interpreter,
    specs: &[ServiceSpec],
    place: &Place<'_>,
) -> io::Result<Services> {
    let mut services = Services { list: Vec::new(), scripts: Vec::new(), elsewhere: Arc::new(Nothing) };
    for spec in specs {
        let service: Arc<dyn Service> = match &spec.kind {
            ServiceKind::Wsgi { .. }
            | ServiceKind::Rpc { .. }
            | ServiceKind::Stream { .. }
            | ServiceKind::Datagram { .. } => interpreter.service(spec, place)?,
            ServiceKind::Files(options) => Arc::new(ready_made::files(options, Arc::clone(place.log))?),
            ServiceKind::Cgi(options) => {
                let cgi = Arc::new(ready_made::cgi(options, Arc::clone(place.log))?);
                services.scripts.push(Arc::clone(&cgi));
                cgi
            }
        };
        services.list.push((spec.clone(), service));
    }
    Ok(services)
}

impl Services {
    /// The worker ends: nothing that it has started goes on without it.
    pub(crate) fn end(&self) {
        self.scripts.iter().for_each(|cgi| cgi.end_all(LAST_SCRIPTS));
    }

    /// The worker is killed when `left` has passed: the scripts that still run end before it. Does not wait for them.
    pub(crate) fn end_within(&self, left: Duration) {
        for cgi in &self.scripts {
            let cgi = Arc::clone(cgi);
            let end = std::thread::Builder::new().name("stdserve-scripts".to_owned());
            // Without a thread they have to be told to end, and that has to do.
            let _ = end.spawn(move || cgi.end_all(left)).inspect_err(|_| {
                self.scripts.iter().for_each(|cgi| cgi.end_all(Duration::ZERO));
            });
        }
    }

    /// The server of a worker: each service where it is mounted.
    pub(crate) fn build(
        &self,
        mut builder: Builder,
        listeners: Vec<Listener>,
        threads: Arc<dyn ThreadSource>,
    ) -> io::Result<Server> {
        let mut elsewhere = Arc::clone(&self.elsewhere);
        for (spec, service) in &self.list {
            let service = Arc::clone(service);
            // One that does not speak HTTP has its listeners for itself.
            match &spec.kind {
                ServiceKind::Stream { .. } => {
                    return builder.streams(listeners, service).build(elsewhere, threads);
                }
                ServiceKind::Datagram { .. } => {
                    return builder.datagrams(listeners, service).build(elsewhere, threads);
                }
                _ => {}
            }
            if spec.mounts.is_empty() {
                elsewhere = Arc::clone(&service);
            }
            for mount in &spec.mounts {
                let mount = Mount { host: mount.host.clone(), prefix: mount.prefix.clone() };
                builder = builder.mount(mount, Arc::clone(&service));
            }
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
