//! XML-RPC in plain Rust: `cargo run --release --example xmlrpc -- 127.0.0.1:8000`, and then, in Python,
//! `xmlrpc.client.ServerProxy("http://127.0.0.1:8000").add(2, 3)`.

use std::error::Error;
use std::sync::Arc;

use stdserve_proto::xmlrpc::{Call, Fault, Limits, Response, Value};
use stdserve_server::{Body, Run, Server, Service, Settings, StdThreads};
use stdserve_sys::listener::{BindAddress, Registry};

struct Calculator;

impl Calculator {
    fn answer(document: &[u8]) -> Response {
        let call = match Call::decode(document, &Limits::default()) {
            Ok(call) => call,
            Err(error) => return Response::Fault(Fault { code: -32700, text: error.to_string() }),
        };
        let fault = |code, text: &str| Response::Fault(Fault { code, text: text.to_owned() });
        match (&*call.method, &*call.params) {
            ("add", [Value::Integer(x), Value::Integer(y)]) => match x.checked_add(*y) {
                Some(sum) => Response::Value(Value::Integer(sum)),
                None => fault(1, "the sum is too large"),
            },
            ("add", _) => fault(-32602, "add takes two integers"),
            _ => fault(-32601, "there is no such method"),
        }
    }
}

impl Service for Calculator {
    fn run(&self, run: &mut Run<'_>) {
        while let Some(mut exchange) = run.next() {
            // Larger bodies come in a file; a call of two numbers is none of them.
            let document = match exchange.take_body() {
                Body::Memory(document) => document,
                _ => Vec::new(),
            };
            let answer = Self::answer(&document).encode();
            let begun = exchange.begin(200, b"OK");
            if begun.and_then(|()| exchange.field(b"Content-Type", b"text/xml")).is_ok() {
                exchange.complete(&answer);
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    let mut listeners = Vec::new();
    for listener in registry.listeners() {
        println!("listening on {}", listener.url());
        listeners.push(listener.try_clone()?);
    }
    let builder = Server::builder(Settings::default()).listeners(listeners);
    let server = builder.build(Arc::new(Calculator), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
