//! Files that are brought: by PUT, one at its own address, and by a form, into the folder whose page shows it.
//!
//! A file is written under a working name in its folder and gets its own name when it is whole.

use std::io::{self, Read, Seek, Write};

use stdserve_proto::accept_encoding::Coding;
use stdserve_proto::clean_path::CleanPath;
use stdserve_proto::conditional::{Outcome, Validators};
use stdserve_proto::form_data::{FormEvent, FormReader};
use stdserve_proto::h1::{BodyLength, RequestHead};
use stdserve_sys::beneath::{Draft, Folder, Kind, Status};

use super::Files;
use super::ask::Ask;
use super::decide::What;
use super::find::Trouble;
use crate::body::Body;
use crate::exchange::Exchange;

/// A file to be brought by PUT.
#[derive(Debug)]
pub(super) struct Put {
    folder: Folder,
    path: Vec<u8>,
    name: Vec<u8>,
    location: Vec<u8>,
    /// There is one already, whose place it takes.
    replaces: bool,
}

/// Files to be brought by a form.
#[derive(Debug)]
pub(super) struct Form {
    folder: Folder,
    path: Vec<u8>,
    reader: FormReader,
    /// The folder's page.
    location: Vec<u8>,
}

/// How many parts a form may have.
const MOST_PARTS: usize = 1000;

/// How much is read at once, in bytes.
const STEP: usize = 64 << 10;

fn refuse(status: u16, detail: &'static str) -> What {
    What::Text(status, detail.into())
}

impl Files {
    /// Decides about a request that brings something. Its body is looked at later.
    pub(super) fn bring(
        &self,
        head: &RequestHead,
        mount: &[u8],
        path: &CleanPath,
        ask: &Ask<'_>,
    ) -> Result<What, What> {
        if !self.is_same_site(head, ask) {
            return Err(refuse(403, "Pages of other sites may not bring files."));
        }
        if ask.content_encoding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            return Err(refuse(415, "Files are brought as they are, without Content-Encoding."));
        }
        if ask.content_range {
            return Err(refuse(400, "Files are brought whole, without Content-Range."));
        }
        if path.is_hidden() && !self.rules.hidden {
            return Err(refuse(403, "Names that begin with a dot are not taken."));
        }
        let mut location = Vec::new();
        path.encode_below(mount, path.is_folder(), &mut location);
        if head.method() == b"POST" {
            let reader = ask.content_type.and_then(FormReader::new);
            let reader = reader.ok_or_else(|| refuse(415, "A form is needed: multipart/form-data."))?;
            let folder =
                self.root.folder(path.as_bytes()).map_err(|error| self.no_folder(path.as_bytes(), error))?;
            return Ok(What::Form(Form { folder, path: path.as_bytes().to_vec(), reader, location }));
        }
        if path.is_folder() {
            return Err(refuse(400, "The file needs a name."));
        }
        if matches!(head.body_length(), BodyLength::Length(length) if length > self.rules.upload_limit) {
            return Err(TOO_LARGE.into());
        }
        let bytes = path.as_bytes();
        let name = path.last();
        let parent = bytes[..bytes.len() - name.len()].strip_suffix(b"/").unwrap_or_default();
        let folder = self.root.folder(parent).map_err(|error| self.no_folder(parent, error))?;
        let there = folder.status(name).ok();
        let etag = there.map(|status| self.etag(bytes, &status));
        let now = there
            .zip(etag.as_ref())
            .map(|(status, etag)| Validators { etag: etag.as_bytes(), modified: status.modified.0 });
        if ask.conditions.judge(false, now) != Outcome::Proceed {
            return Err(refuse(412, "The file is not the one that was meant."));
        }
        match there.map(|status| status.kind) {
            None => {}
            Some(Kind::File | Kind::Link) if self.rules.upload_replace => {}
            Some(_) => return Err(TAKEN.into()),
        }
        if self.stands_in(&folder, name) {
            return Err(STANDS_IN.into());
        }
        let replaces = there.is_some();
        Ok(What::Put(Put { folder, path: bytes.to_vec(), name: name.to_vec(), location, replaces }))
    }

    /// Whether a page of this site, or no page at all, has sent the request. Browsers send forms to other sites without
    /// asking, with the credentials that they hold for them.
    fn is_same_site(&self, head: &RequestHead, ask: &Ask<'_>) -> bool {
        let known = |origin: &[u8]| {
            let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
            authority.is_some() && authority == head.host()
                || self.rules.cors.iter().any(|allowed| allowed.as_bytes() == origin)
        };
        match (ask.origin, ask.fetch_site) {
            (Some(origin), _) => known(origin),
            (None, Some(site)) => matches!(site, b"same-origin" | b"none"),
            (None, None) => true,
        }
    }

    /// Whether a file of this name would be sent in place of one that is there, and must not be replaced.
    fn stands_in(&self, folder: &Folder, name: &[u8]) -> bool {
        let is_there = |coding: &Coding| {
            name.strip_suffix(coding.suffix().as_bytes()).is_some_and(|plain| folder.status(plain).is_ok())
        };
        self.rules.precompressed && !self.rules.upload_replace && Coding::ALL.iter().any(is_there)
    }

    pub(super) fn put(&self, exchange: &mut Exchange, put: &Put) -> What {
        self.try_put(exchange, put).unwrap_or_else(|failure| self.failed(&put.path, failure))
    }

    /// The answer to a failure, of which the log is told where an operator can end it.
    fn failed(&self, path: &[u8], failure: Failure) -> What {
        if let Some(error) = &failure.2 {
            self.complain(path, "written", error);
        }
        failure.into()
    }

    /// The answer where the folder for what is brought cannot be opened.
    fn no_folder(&self, path: &[u8], error: io::Error) -> What {
        let trouble = Trouble::from(error);
        self.hear(path, &trouble);
        match trouble {
            Trouble::Missing => refuse(409, "There is no such folder."),
            Trouble::Forbidden(_) => refuse(403, "The server is not allowed to write here."),
            other => other.into(),
        }
    }

    fn try_put(&self, exchange: &mut Exchange, put: &Put) -> Result<What, Failure> {
        let mut body = reader(exchange.take_body())?;
        let draft = put.folder.draft()?;
        let mut left = self.rules.upload_limit;
        let mut buffer = vec![0; STEP];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => write(&draft, &buffer[..count], &mut left)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        draft.file().sync_all()?;
        let etag = self.etag(&put.path, &Status::of(draft.file())?);
        draft.publish(&put.name, put.replaces)?;
        if put.replaces {
            return Ok(What::Replaced { etag });
        }
        Ok(What::Created { location: put.location.clone(), etag })
    }

    pub(super) fn form(&self, exchange: &mut Exchange, form: &Form) -> What {
        self.try_form(exchange, form).unwrap_or_else(|failure| self.failed(&form.path, failure))
    }

    fn try_form(&self, exchange: &mut Exchange, form: &Form) -> Result<What, Failure> {
        let mut body = reader(exchange.take_body())?;
        let mut reader = form.reader.clone();
        let mut buffer: Vec<u8> = Vec::new();
        let mut file: Option<(Draft<'_>, Vec<u8>)> = None;
        let mut left = 0;
        let (mut parts, mut brought) = (0, 0);
        loop {
            let (done, event) =
                reader.read(&buffer).map_err(|_| Failure(400, "The form is not well-formed.", None))?;
            let is_hungry = event == FormEvent::Incomplete;
            match event {
                FormEvent::Part(part) => {
                    parts += 1;
                    if parts > MOST_PARTS {
                        return Err(Failure(413, "The form has too many parts.", None));
                    }
                    // A field without a file chosen has an empty name.
                    if let Some(sent) = part.filename.filter(|name| !name.is_empty()) {
                        let name = self.base_name(&sent)?;
                        if self.stands_in(&form.folder, &name) {
                            return Err(STANDS_IN);
                        }
                        file = Some((form.folder.draft()?, name));
                        left = self.rules.upload_limit;
                    }
                }
                FormEvent::Data { start, len } => {
                    if let Some((draft, _)) = &file {
                        write(draft, &buffer[start..start + len], &mut left)?;
                    }
                }
                FormEvent::PartEnd => {
                    if let Some((draft, name)) = file.take() {
                        draft.file().sync_all()?;
                        draft.publish(&name, self.rules.upload_replace)?;
                        brought += 1;
                    }
                }
                FormEvent::End if brought == 0 => return Err(Failure(400, "The form has no file.", None)),
                FormEvent::End => return Ok(What::SeeOther(form.location.clone())),
                FormEvent::Incomplete => {}
            }
            buffer.drain(..done);
            if is_hungry && fill(&mut body, &mut buffer)? == 0 {
                return Err(CUT_OFF);
            }
        }
    }

    /// The name under which a file of a form is kept: the last one of the path that the client sent.
    fn base_name(&self, sent: &[u8]) -> Result<Vec<u8>, Failure> {
        let name = sent.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
        let is_hidden = name.starts_with(b".");
        if name.is_empty()
            || name.len() > 255
            || name.iter().any(u8::is_ascii_control)
            || matches!(name, b"." | b"..")
            || is_hidden && !self.rules.hidden
        {
            return Err(Failure(400, "A file of the form has a name that is not taken.", None));
        }
        Ok(name.to_vec())
    }
}

/// Why a file could not be brought: the status, a line, and what the operator should hear of.
struct Failure(u16, &'static str, Option<io::Error>);

const TOO_LARGE: Failure = Failure(413, "The file is larger than is taken here.", None);
const TAKEN: Failure = Failure(409, "Something is there under this name already.", None);
const STANDS_IN: Failure = Failure(409, "This would be sent in place of a file that is there already.", None);
const CUT_OFF: Failure = Failure(400, "The request ended too soon.", None);

impl From<Failure> for What {
    fn from(Failure(status, detail, _): Failure) -> Self {
        refuse(status, detail)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::AlreadyExists | K::IsADirectory => TAKEN,
            K::PermissionDenied | K::ReadOnlyFilesystem => {
                Self(403, "The server is not allowed to write here.", Some(error))
            }
            K::StorageFull | K::QuotaExceeded | K::FileTooLarge => {
                Self(507, "There is no room for the file.", Some(error))
            }
            K::InvalidFilename => Self(400, "The name of the file is too long.", None),
            _ => Self(500, "The server could not write the file.", Some(error)),
        }
    }
}

/// Why the body of a request could not be read.
fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::FileTooLarge => TOO_LARGE,
        io::ErrorKind::TimedOut => Failure(408, "The file came too slowly.", None),
        _ => CUT_OFF,
    }
}

fn write(draft: &Draft<'_>, data: &[u8], left: &mut u64) -> Result<(), Failure> {
    *left = left.checked_sub(data.len() as u64).ok_or(TOO_LARGE)?;
    Ok(draft.file().write_all(data)?)
}

/// Reads on behind what is in `buffer`. Returns how much came.
fn fill(body: &mut Box<dyn Read>, buffer: &mut Vec<u8>) -> Result<usize, Failure> {
    let before = buffer.len();
    buffer.resize(before + STEP, 0);
    let count = loop {
        match body.read(&mut buffer[before..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other,
        }
    };
    let count = count.map_err(|error| broken(&error))?;
    buffer.truncate(before + count);
    Ok(count)
}

fn reader(body: Body) -> Result<Box<dyn Read>, Failure> {
    Ok(match body {
        Body::Empty => Box::new(io::empty()),
        Body::Memory(bytes) => Box::new(io::Cursor::new(bytes)),
        Body::File { mut file, .. } => {
            file.rewind()?;
            Box::new(file)
        }
        Body::Stream(incoming) => Box::new(incoming),
    })
}
