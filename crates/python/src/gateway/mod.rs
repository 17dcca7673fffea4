//! The gateways between the engine and Python's programming interfaces.

pub(crate) mod child;
pub(crate) mod context;
pub(crate) mod draining;
pub(crate) mod handler;
pub(crate) mod report;
pub(crate) mod rpc;
pub(crate) mod running;
pub(crate) mod text;
pub(crate) mod wsgi;
