//! What can be chosen of a service for remote calls: `stdserve rpc MODULE:OBJECT`.

use stdserve_proto::xmlrpc::Limits;

/// The options of one service. `crates/config` has one of each; the names of the fields are those of the options.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // switches that have nothing to do with one another
pub(crate) struct Options {
    /// The paths, behind the mount, at which calls are taken; others are answered 404. Empty: every path.
    /// Default: `/` and `/RPC2`, those of `xmlrpc.server`.
    pub(crate) rpc_paths: Vec<String>,
    /// JSON-RPC 2.0 for requests of `Content-Type: application/json`. Default: on. Off: such requests are
    /// answered 415.
    pub(crate) json_rpc: bool,
    /// `system.listMethods`, `system.methodHelp` and `system.methodSignature`, and the documentation page that GET
    /// answers. Default: on. Off: GET is answered 405.
    pub(crate) introspection: bool,
    /// `system.multicall`. Default: on.
    pub(crate) multicall: bool,
    /// How many calls a `system.multicall`, or a batch of JSON-RPC, may hold. Default: 1000, at least 1.
    pub(crate) max_calls: usize,
    /// Answers may hold `None`, as `<nil/>`, and integers beyond 32 bits, as `<i8>`: extensions that old clients do
    /// not know. Default: on. Off: such an answer is a fault.
    pub(crate) extensions: bool,
    /// dateTime.iso8601 and base64 reach the object as `datetime.datetime` and `bytes`. Default: on. Off: as
    /// `xmlrpc.client.DateTime` and `xmlrpc.client.Binary`.
    pub(crate) builtin_types: bool,
    /// Faults name the type and the message of the exception. Default: on. Off: they say "internal error" and the
    /// number under which the log has the traceback. No fault ever holds a traceback.
    pub(crate) error_messages: bool,
    /// The smallest answer, in bytes, that is compressed for clients that accept gzip. Default: 1400, as in
    /// `xmlrpc.server`. `None`: nothing is compressed.
    pub(crate) gzip_minimum: Option<usize>,
    /// Bounds of a request: `max_rpc_body` (bytes, inflated; default 20 MiB), `max_rpc_depth` (arrays and structs in
    /// one another; default 200), `max_rpc_values` (values in one request; default 2,000,000), `max_rpc_ratio` (how
    /// many times its size a gzip body may grow, once it is past 1 MiB; default 200).
    pub(crate) limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rpc_paths: vec!["/".to_owned(), "/RPC2".to_owned()],
            json_rpc: true,
            introspection: true,
            multicall: true,
            max_calls: 1000,
            extensions: true,
            builtin_types: true,
            error_messages: true,
            gzip_minimum: Some(1400),
            limits: Limits::default(),
        }
    }
}
