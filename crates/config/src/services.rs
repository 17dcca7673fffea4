//! What is served, by whom and where: worker groups and their services.

use crate::app_spec::AppSpec;
use crate::bind::Bind;
use crate::error::UsageError;
use crate::layers::Sources;
use crate::service_options::{CgiOptions, FilesOptions, HandlerOptions, RpcOptions, WsgiOptions};
use crate::settings::Settings;

/// One worker group: services on the same listeners, served by the same processes.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupSpec {
    /// Its name in logs and figures: its services' names, joined by `+`.
    pub name: String,
    /// The listeners, at least one. Each one's transport is known.
    pub binds: Vec<Bind>,
    /// Whether nobody gave an address: sockets that a service manager hands over then take the place of `binds`.
    pub default_binds: bool,
    /// What is served: one raw service, or one or more that speak HTTP.
    pub services: Vec<ServiceSpec>,
    /// What its workers keep to.
    pub settings: Settings,
    /// Where those came from.
    pub sources: Sources,
}

impl GroupSpec {
    /// An error about the value of one of the group's options that only shows later, named like the parser's own.
    pub fn refuse(&self, option: &str, message: impl Into<String>) -> UsageError {
        self.sources.refuse(option, message)
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceSpec {
    /// Its name: that of its table in `stdserve.toml`, else the verb.
    pub name: String,
    /// What it is.
    pub kind: ServiceKind,
    /// Where in its group it answers; empty: wherever no other service of the group does.
    pub mounts: Vec<MountSpec>,
}

/// Which requests of a group's listeners a service gets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountSpec {
    /// The host that the request names, in lower case and without its port; none: any.
    pub host: Option<String>,
    /// The start of the path, such as `/static`, without a slash at its end; empty: every path.
    pub prefix: String,
}

/// The kinds of services.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceKind {
    /// A WSGI application.
    Wsgi {
        /// The application.
        app: AppSpec,
        /// What is its own.
        options: WsgiOptions,
    },
    /// A folder of static files.
    Files(FilesOptions),
    /// A folder of CGI scripts.
    Cgi(CgiOptions),
    /// An object whose methods are called by XML-RPC and JSON-RPC.
    Rpc {
        /// The object.
        object: AppSpec,
        /// What is its own.
        options: RpcOptions,
    },
    /// A `socketserver` handler class, for connections.
    Stream {
        /// The handler class.
        handler: AppSpec,
        /// What is its own.
        options: HandlerOptions,
    },
    /// A `socketserver` handler class, for datagrams.
    Datagram {
        /// The handler class.
        handler: AppSpec,
        /// What is its own.
        options: HandlerOptions,
    },
}

impl ServiceKind {
    /// Whether it runs Python: the program without an interpreter refuses it.
    pub fn needs_python(&self) -> bool {
        !matches!(self, Self::Files(_) | Self::Cgi(_))
    }

    /// Whether it speaks HTTP, and so can share its listeners with others.
    pub fn speaks_http(&self) -> bool {
        !matches!(self, Self::Stream { .. } | Self::Datagram { .. })
    }

    /// What it names: a Python object, or a folder.
    pub fn target(&self) -> String {
        match self {
            Self::Wsgi { app: spec, .. }
            | Self::Rpc { object: spec, .. }
            | Self::Stream { handler: spec, .. }
            | Self::Datagram { handler: spec, .. } => spec.to_string(),
            Self::Files(options) => options.directory.display().to_string(),
            Self::Cgi(options) => options.directory.display().to_string(),
        }
    }
}
