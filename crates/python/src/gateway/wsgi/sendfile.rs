//! Files that an application has the server send in its stead: `X-Sendfile: PATH`, as Apache's `mod_xsendfile` and
//! lighttpd have it, and `X-Accel-Redirect: URI`, as nginx has it.
//!
//! Only what lies beneath a folder that the options name is sent. The fields never reach the client where the options
//! give them a meaning; where they do not, they are an application's own business.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use stdserve_config::WsgiOptions;
use stdserve_proto::percent::decode_path;
use stdserve_server::files::{Files, Handover, Options};
use stdserve_server::{Exchange, Log};

/// The folders beneath which files may be named.
pub(crate) struct SendFile {
    log: Arc<dyn Log>,
    /// For `X-Sendfile`: the start of the path, with a slash at its end.
    roots: Vec<(Vec<u8>, Arc<Files>)>,
    /// For `X-Accel-Redirect`: the start of the path, with a slash at its end; longer ones come first.
    redirects: Vec<(Vec<u8>, Arc<Files>)>,
}

/// What an answer's field says.
#[derive(Debug)]
pub(super) enum Says {
    /// Nothing of this kind.
    Other,
    /// This file is to be sent.
    Send(Named),
    /// A file that may not be sent.
    Forbidden,
}

/// A file beneath one of the folders.
#[derive(Debug)]
pub(super) struct Named {
    files: Arc<Files>,
    path: Vec<u8>,
}

/// An answer that the server gives in the application's stead.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) status: u16,
    pub(super) reason: Vec<u8>,
    /// All fields of the application.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) file: Named,
}

impl SendFile {
    /// As the options say; `None` where they name no folder. Files that may not be sent, or cannot be read, are told to
    /// `log`.
    pub(crate) fn new(options: &WsgiOptions, log: Arc<dyn Log>) -> io::Result<Option<Self>> {
        let mut roots = Vec::new();
        for root in &options.sendfile_roots {
            let files = folder(root, &log)?;
            // An application may name the file by the folder's own path, or by one that links lead along.
            for path in [std::path::absolute(root)?, root.canonicalize()?] {
                roots.push((with_slash(path.as_os_str().as_bytes()), Arc::clone(&files)));
            }
        }
        let mut redirects = Vec::new();
        for (prefix, root) in &options.accel_roots {
            redirects.push((with_slash(prefix.as_bytes()), folder(Path::new(root), &log)?));
        }
        redirects.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let any = !roots.is_empty() || !redirects.is_empty();
        Ok(any.then_some(Self { log, roots, redirects }))
    }

    /// What this field of an answer says.
    pub(super) fn read(&self, name: &[u8], value: &[u8]) -> Says {
        let decoded;
        let (folders, path) = if name.eq_ignore_ascii_case(b"x-sendfile") && !self.roots.is_empty() {
            (&self.roots, value)
        } else if name.eq_ignore_ascii_case(b"x-accel-redirect") && !self.redirects.is_empty() {
            let mut path = Vec::with_capacity(value.len());
            let end = value.iter().position(|byte| *byte == b'?').unwrap_or(value.len());
            decode_path(&value[..end], &mut path);
            decoded = path;
            (&self.redirects, &decoded[..])
        } else {
            return Says::Other;
        };
        let found = folders.iter().find_map(|(start, files)| {
            let path = path.strip_prefix(&start[..])?.to_vec();
            Some(Named { files: Arc::clone(files), path })
        });
        found.map_or(Says::Forbidden, Says::Send)
    }
}

impl SendFile {
    /// Says that a file was named that lies in no folder of the options. It may wait.
    pub(super) fn complain(&self, path: &[u8]) {
        let path = String::from_utf8_lossy(path);
        self.log.error(&format!(
            "the application names {path} for the server to send, which lies beneath no folder of --sendfile-root or \
             --accel-root: the field is left out"
        ));
    }
}

impl std::fmt::Debug for SendFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendFile").field("roots", &self.roots.len()).finish_non_exhaustive()
    }
}

impl Handed {
    /// Sends the file. May wait for a disk, and for the client.
    pub(super) fn send(&self, exchange: Exchange) {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let handover = Handover { status: self.status, reason: &self.reason, fields: &fields };
        self.file.files.send(exchange, &self.file.path, &handover);
    }
}

fn folder(root: &Path, log: &Arc<dyn Log>) -> io::Result<Arc<Files>> {
    let options = Options { root: root.to_owned(), listing: false, ..Options::default() };
    Ok(Arc::new(Files::new(options)?.log(Arc::clone(log))))
}

fn with_slash(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path
}
