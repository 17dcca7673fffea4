//! Git over HTTP: `cargo run --release --example git -- /srv/git 127.0.0.1:8000`, then
//! `git clone http://127.0.0.1:8000/git/NAME.git`.
//!
//! The CGI service runs `git http-backend`. To push, `git config http.receivepack true` in the repository: nobody here
//! asks who it is, so do so on 127.0.0.1 only.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::absolute;
use std::sync::Arc;
use std::time::Duration;

use stdserve_server::cgi::{Cgi, Options};
use stdserve_server::{Server, Settings, StdThreads};
use stdserve_sys::listener::{BindAddress, Registry};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let repositories = absolute(arguments.next().unwrap_or_else(|| ".".to_owned()))?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    // The one script. Its name becomes the first part of the address.
    let scripts = std::env::temp_dir().join(format!("stdserve-git-{}", std::process::id()));
    fs::create_dir(&scripts)?;
    fs::write(scripts.join("git"), "#!/bin/sh\nexec git http-backend\n")?;
    fs::set_permissions(scripts.join("git"), fs::Permissions::from_mode(0o755))?;
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = Options {
        root: scripts,
        environment: vec![
            variable("GIT_PROJECT_ROOT", &repositories.to_string_lossy()),
            variable("GIT_HTTP_EXPORT_ALL", "1"),
            variable("HOME", &std::env::var("HOME").unwrap_or_default()),
        ],
        // Large repositories take their time.
        timeout: Some(Duration::from_secs(3600)),
        ..Options::default()
    };
    let service = Cgi::new(options)?;
    let registry = Registry::open(&[(None, BindAddress::Tcp(address.parse()?))], 2048)?;
    let mut listeners = Vec::new();
    for listener in registry.listeners() {
        println!("git clone {}/git/NAME.git", listener.url());
        listeners.push(listener.try_clone()?);
    }
    let builder = Server::builder(Settings::default()).listeners(listeners);
    let server = builder.build(Arc::new(service), Arc::new(StdThreads))?;
    server.start()?;
    server.wait(None);
    Ok(())
}
