//! Where the operations plane listens: the server's own Unix socket, which `stdserve ctl` finds, and the address that
//! the options name.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use stdserve_config::{Address, Admin, Settings};
use stdserve_supervisor::{Hosts, Plane};
use stdserve_sys::listener::{BindAddress, BindError, Inherited, Registry};
use stdserve_sys::process::Pid;
use stdserve_sys::users;

use crate::listen;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// The mode of the plane's sockets: whoever may write to one may give orders.
const MODE: u32 = 0o600;

/// Opens what the options want. An error concerns the address that they name; that the server's own socket cannot be
/// opened keeps nobody from serving, and is returned beside.
pub(crate) fn open(
    options: &Settings,
    inherited: &mut Inherited,
) -> Result<(Option<Plane>, Option<String>), BindError> {
    let operations = &options.operations;
    let named = match &operations.admin {
        Admin::Off => return Ok((None, None)),
        Admin::Own => None,
        Admin::At(bind) => Some(bind),
    };
    let mut names = operations.admin_hosts.clone();
    let mut listeners = Vec::new();
    if let Some(bind) = named {
        if let Address::Inet { host, .. } = &bind.address {
            names.push(host.clone());
        }
        listeners.push(Registry::open_or_adopt(
            &listen::addresses(std::slice::from_ref(bind), MODE),
            BACKLOG,
            inherited,
        )?);
    }
    let mut trouble = None;
    match own() {
        Ok(registry) => listeners.push(registry),
        Err(why) => trouble = Some(why),
    }
    Ok((Some(Plane::new(listeners, Hosts::new(names))), trouble))
}

/// The server's own socket, in the first folder that will do.
fn own() -> Result<Registry, String> {
    let mut reasons = Vec::new();
    for folder in folders() {
        if let Err(error) = prepare(&folder) {
            reasons.push(format!("{}: {error}", folder.display()));
            continue;
        }
        sweep(&folder);
        let path = folder.join(format!("{}.sock", Pid::this()));
        match Registry::open(&[(None, BindAddress::Unix { path, mode: Some(MODE) })], BACKLOG) {
            Ok(registry) => return Ok(registry),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(format!("stdserve ctl will not find this server: {}", reasons.join("; ")))
}

/// Where servers of this user have their sockets, the best first.
pub(crate) fn folders() -> Vec<PathBuf> {
    let runtime =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let mut folders: Vec<_> = runtime.into_iter().map(|folder| folder.join("stdserve")).collect();
    if users::own() == 0 {
        folders.push(PathBuf::from("/run/stdserve"));
    }
    folders.push(std::env::temp_dir().join(format!("stdserve-{}", users::own())));
    folders
}

/// Makes a folder that nobody else can put anything into, or sees that there is one.
fn prepare(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other,
    }
    if is_safe(folder) {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others may write to it, or it is another user's",
        ))
    }
}

/// Whether a folder is ours alone: in a folder for temporary files somebody else could have made it.
pub(crate) fn is_safe(folder: &Path) -> bool {
    fs::symlink_metadata(folder)
        .is_ok_and(|meta| meta.is_dir() && meta.uid() == users::own() && meta.mode() & 0o022 == 0)
}

/// Removes the sockets of servers that were killed.
fn sweep(folder: &Path) {
    for path in sockets(folder) {
        // One that is being started may have its socket, and not listen yet.
        let runs = pid_of(&path).is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if !runs && UnixStream::connect(&path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The process that a socket is named after.
pub(crate) fn pid_of(socket: &Path) -> Option<u32> {
    socket.file_stem()?.to_str()?.parse().ok()
}

/// The sockets in a folder, those of dead servers too.
pub(crate) fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    paths.sort();
    paths
}
