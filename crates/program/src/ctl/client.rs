//! The client's half of the operations plane: finds the server, asks, and reads what it answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use stdserve_config::{Address, Admin, CtlServer};

use super::Trouble;
use crate::admin;

/// The plane answers within milliseconds; stacks are gathered for three seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// Where a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Unix(PathBuf),
    Inet(String, u16),
}

/// An answer of the plane.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Place {
    /// The place of the server that is meant.
    pub(super) fn find(server: &CtlServer) -> Result<Self, Trouble> {
        match server {
            CtlServer::At(Admin::At(bind)) => match &bind.address {
                Address::Inet { host, port } => Ok(Self::Inet(reachable(host), *port)),
                Address::Unix(path) => Ok(Self::Unix(path.clone())),
                other => {
                    Err(Trouble::usage(&format!("{other} cannot be asked"), "Give HOST:PORT or unix:PATH."))
                }
            },
            CtlServer::At(_) | CtlServer::Only => only(),
            CtlServer::Pid(pid) => of(*pid),
            CtlServer::PidFile(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Trouble::absent(&format!("{}: {error}", path.display()), "Is it the server's --pid?")
                })?;
                let pid = text.trim().parse().map_err(|_| {
                    Trouble::usage(
                        &format!("{} holds no number of a process", path.display()),
                        "Is it the server's --pid?",
                    )
                })?;
                of(pid)
            }
        }
    }

    /// Asks, and waits for the whole answer.
    pub(super) fn ask(&self, method: &str, target: &str) -> Result<Answer, Trouble> {
        let (status, reader) = self.begin(method, target)?;
        let mut body = String::new();
        reader.take(LONGEST).read_to_string(&mut body).map_err(|error| self.trouble(&error))?;
        Ok(Answer { status, body })
    }

    /// Asks for something that is looked at.
    pub(super) fn get(&self, target: &str) -> Result<Value, Trouble> {
        self.ask("GET", target)?.value()
    }

    /// Asks for something that is done.
    pub(super) fn order(&self, target: &str) -> Result<Value, Trouble> {
        self.ask("POST", target)?.value()
    }

    /// Asks for the events: what comes is theirs, for as long as the server runs.
    pub(super) fn follow(&self) -> Result<Box<dyn BufRead + Send>, Trouble> {
        let (status, mut reader) = self.begin("GET", "/events")?;
        if status == 200 {
            return Ok(reader);
        }
        let mut body = String::new();
        reader.read_to_string(&mut body).map_err(|error| self.trouble(&error))?;
        Err(Answer { status, body }.value().err().unwrap_or_else(|| Trouble::failed(body_of(status))))
    }

    /// Sends a request, and reads the head of its answer. HTTP/1.0, so that the end of the body is that of the
    /// connection.
    fn begin(&self, method: &str, target: &str) -> Result<(u16, Box<dyn BufRead + Send>), Trouble> {
        let host = match self {
            Self::Inet(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Self::Inet(host, port) => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        };
        let request = format!("{method} {target} HTTP/1.0\r\nHost: {host}\r\nX-Stdserve: 1\r\n\r\n");
        let asked = || -> io::Result<Box<dyn BufRead + Send>> {
            match self {
                Self::Unix(path) => {
                    let mut socket = UnixStream::connect(path)?;
                    socket.set_read_timeout(Some(PATIENCE))?;
                    socket.write_all(request.as_bytes())?;
                    Ok(Box::new(BufReader::new(socket)))
                }
                Self::Inet(host, port) => {
                    let mut socket = connect(host, *port)?;
                    socket.set_read_timeout(Some(PATIENCE))?;
                    socket.write_all(request.as_bytes())?;
                    Ok(Box::new(BufReader::new(socket)))
                }
            }
        };
        let mut reader = asked().map_err(|error| self.trouble(&error))?;
        let mut line = String::new();
        let mut status = None;
        loop {
            line.clear();
            let count =
                (&mut reader).take(16 << 10).read_line(&mut line).map_err(|error| self.trouble(&error))?;
            if status.is_none() {
                let number = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
                status = Some(number.ok_or_else(|| self.stranger())?);
            } else if line == "\r\n" {
                break;
            }
            if count == 0 {
                return Err(self.stranger());
            }
        }
        Ok((status.unwrap_or_default(), reader))
    }

    fn stranger(&self) -> Trouble {
        Trouble::failed(format!("what listens on {self} is no operations plane of stdserve"))
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Trouble::failed(format!(
                "{self}: {error}\n  The socket is for the user who runs the server, and root."
            )),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Trouble::failed(format!("{self} does not answer"))
            }
            _ => {
                Trouble::absent(&format!("{self}: {error}"), "Does the server run, and is this its --admin?")
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Inet(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Answer {
    /// What it says; what it refuses is trouble.
    fn value(self) -> Result<Value, Trouble> {
        let value: Option<Value> = serde_json::from_str(&self.body).ok();
        match value {
            Some(value) if (200..300).contains(&self.status) => Ok(value),
            Some(value) if value["error"].is_string() => {
                Err(Trouble::failed(value["error"].as_str().unwrap_or_default().to_owned()))
            }
            _ => Err(Trouble::failed(body_of(self.status))),
        }
    }
}

fn body_of(status: u16) -> String {
    format!("the server answers {status}, and nothing that could be read")
}

/// An address that takes every interface is asked here.
fn reachable(host: &str) -> String {
    match host {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "::1".to_owned(),
        host => host.to_owned(),
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The sockets of the servers that run.
fn running() -> Vec<(u32, PathBuf)> {
    let folders = admin::folders().into_iter().filter(|folder| admin::is_safe(folder));
    let answers = |path: &Path| UnixStream::connect(path).is_ok();
    let mut found: Vec<_> = folders
        .flat_map(|folder| admin::sockets(&folder))
        .filter(|path| answers(path))
        .filter_map(|path| Some((admin::pid_of(&path)?, path)))
        .collect();
    found.sort();
    found
}

/// The only server that runs.
fn only() -> Result<Place, Trouble> {
    let mut found = running();
    match found.len() {
        1 => Ok(Place::Unix(found.remove(0).1)),
        0 => Err(Trouble::absent(
            "no server of yours runs here",
            "One of another user, or in a container, is named: --admin ADDRESS.",
        )),
        _ => {
            let list: Vec<_> = found.iter().map(|(pid, _)| format!("  {pid}  {}", name_of(*pid))).collect();
            let text = format!("several servers run:\n{}", list.join("\n"));
            Err(Trouble::usage(&text, "Say which: --pid PID."))
        }
    }
}

fn of(pid: u32) -> Result<Place, Trouble> {
    let place = running().into_iter().find(|(found, _)| *found == pid);
    place.map(|(_, path)| Place::Unix(path)).ok_or_else(|| {
        let text = format!("process {pid} is no server of yours that can be asked");
        Trouble::absent(&text, "It may have ended, be another user's, or have --admin none.")
    })
}

/// The command line of a process, for a list of them.
fn name_of(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(100).collect()
}
