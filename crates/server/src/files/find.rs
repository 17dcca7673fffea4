//! Which file a path stands for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use stdserve_proto::accept_encoding::Coding;
use stdserve_proto::clean_path::CleanPath;
use stdserve_proto::gzip::gzip;
use stdserve_proto::media_type;
use stdserve_sys::beneath::{Folder, Kind, Status};
use stdserve_sys::clock::unix_seconds;

use super::Files;
use super::ask::Ask;
use super::kept::{Facts, Form, Item};

/// A file that can be sent: what is said of it, and its content, in memory or open.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) item: Arc<Item>,
    /// Where the content was not read.
    pub(super) file: Option<File>,
    /// Other clients may be sent another form of it: `Vary: Accept-Encoding`.
    pub(super) varies: bool,
}

/// What stands at a path.
#[derive(Debug)]
pub(super) enum Target {
    File(Found),
    /// A folder that was asked for as if it were a file.
    Unslashed,
    /// A folder without index file.
    Folder(Folder),
}

/// Why nothing can be sent.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not there, or nobody's business.
    Missing,
    /// The file system does not let us read it.
    Forbidden(io::Error),
    /// Out of descriptors or memory.
    Busy(io::Error),
    /// The disk fails.
    Failed(io::Error),
}

impl Trouble {
    /// What the operator should hear of.
    pub(super) fn error(&self) -> Option<&io::Error> {
        match self {
            Self::Missing => None,
            Self::Forbidden(error) | Self::Busy(error) | Self::Failed(error) => Some(error),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::PermissionDenied => Self::Forbidden(error),
            K::NotFound
            | K::NotADirectory
            | K::IsADirectory
            | K::InvalidFilename
            | K::InvalidInput
            | K::CrossesDevices => Self::Missing,
            K::OutOfMemory => Self::Busy(error),
            _ if stdserve_sys::beneath::is_no_file(&error) => Self::Missing,
            _ if stdserve_sys::beneath::is_out_of_descriptors(&error) => Self::Busy(error),
            _ => Self::Failed(error),
        }
    }
}

/// How long a file must have been left alone before what was read of it is kept, in seconds. The kernel's clock for
/// files ticks every 10 ms at most; file systems over the network may be off by more.
const SETTLED: i64 = 2;

enum Fetched {
    File(Arc<Item>, Option<File>),
    Folder,
}

impl Files {
    /// What `path` stands for, for a client that asks so.
    pub(super) fn find(&self, path: &CleanPath, ask: &Ask<'_>) -> Result<Target, Trouble> {
        if path.is_hidden() && !self.rules.hidden {
            return Err(Trouble::Missing);
        }
        if !path.is_folder() {
            return Ok(self.find_file(path.as_bytes(), ask)?.map_or(Target::Unslashed, Target::File));
        }
        let mut at = path.as_bytes().to_vec();
        if !at.is_empty() {
            at.push(b'/');
        }
        let stem = at.len();
        for index in &self.rules.index {
            at.extend_from_slice(index);
            match self.find_file(&at, ask) {
                Ok(Some(found)) => return Ok(Target::File(found)),
                Ok(None) | Err(Trouble::Missing) => at.truncate(stem),
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(Target::Folder(self.root.folder(path.as_bytes())?))
    }

    /// The file at `path` in the form that suits the client best. `None`: a folder is there.
    pub(super) fn find_file(&self, path: &[u8], ask: &Ask<'_>) -> Result<Option<Found>, Trouble> {
        let Fetched::File(plain, file) = self.fetch(path, Form::Plain)? else { return Ok(None) };
        let size = plain.facts.size;
        let makes =
            self.rules.compressed_sizes.contains(&size) && media_type::is_text(&plain.facts.content_type);
        let varies = makes || self.rules.precompressed && !plain.facts.packed;
        if !varies || ask.encodings.is_none() {
            return Ok(Some(Found { item: plain, file, varies }));
        }
        if self.rules.precompressed && !plain.facts.packed {
            for coding in ask.encodings.best() {
                match self.fetch(path, Form::Beside(coding)) {
                    Ok(Fetched::File(item, file)) => return Ok(Some(Found { item, file, varies })),
                    Ok(Fetched::Folder) => {}
                    // One that cannot be read is as good as none: the plain file can.
                    Err(trouble) => self.hear(&[path, coding.suffix().as_bytes()].concat(), &trouble),
                }
            }
        }
        // Parts are those of the plain file.
        if makes && ask.encodings.takes(Coding::Gzip) && !ask.conditions.has_range() {
            let made = self.make(path, &plain, file.as_ref())?;
            return Ok(Some(Found { item: made, file: None, varies }));
        }
        Ok(Some(Found { item: plain, file, varies }))
    }

    /// Tells the log of trouble that an operator can end.
    pub(super) fn hear(&self, path: &[u8], trouble: &Trouble) {
        if let Some(error) = trouble.error() {
            self.complain(path, "read", error);
        }
    }

    /// The file at `path` as it is.
    pub(super) fn find_plain(&self, path: &[u8]) -> Result<Found, Trouble> {
        match self.fetch(path, Form::Plain)? {
            Fetched::File(item, file) => Ok(Found { item, file, varies: false }),
            Fetched::Folder => Err(Trouble::Missing),
        }
    }

    /// Opens, and reads if it is small, one form of the file at `path`; or takes it from memory.
    fn fetch(&self, path: &[u8], form: Form) -> Result<Fetched, Trouble> {
        let coding = if let Form::Beside(coding) = form { Some(coding) } else { None };
        let beside = coding.map(|coding| [path, coding.suffix().as_bytes()].concat());
        let at = beside.as_deref().unwrap_or(path);
        if let Some(item) = self.kept.get(path, form)
            && self.root.glance(at).is_ok_and(|now| now == item.status)
        {
            return Ok(Fetched::File(item, None));
        }
        let file = self.root.read(at)?;
        let status = Status::of(&file)?;
        match status.kind {
            Kind::File => {}
            Kind::Folder => return Ok(Fetched::Folder),
            Kind::Link | Kind::Other => return Err(Trouble::Missing),
        }
        let mut facts = self.facts(path, &status, coding);
        if status.size > self.rules.small_file {
            return Ok(Fetched::File(Arc::new(Item { status, facts, content: None }), Some(file)));
        }
        let content = read(&file, status.size)?;
        facts.size = content.len() as u64;
        let item = Arc::new(Item { status, facts, content: Some(content) });
        if is_settled(&status, unix_seconds()) {
            self.kept.put(path, form, Arc::clone(&item));
        }
        Ok(Fetched::File(item, None))
    }

    /// Compresses the file at `path`, or takes it from memory.
    fn make(&self, path: &[u8], plain: &Item, file: Option<&File>) -> Result<Arc<Item>, Trouble> {
        if let Some(item) = self.kept.get(path, Form::Made)
            && item.status == plain.status
        {
            return Ok(item);
        }
        let read_here;
        let content = match (&plain.content, file) {
            (Some(content), _) => content,
            (None, Some(file)) => {
                read_here = read(file, plain.facts.size)?;
                &read_here
            }
            (None, None) => return Err(Trouble::Failed(io::Error::other("it was not opened"))),
        };
        let content = gzip(content);
        let mut facts = self.facts(path, &plain.status, Some(Coding::Gzip));
        facts.size = content.len() as u64;
        facts.made_here = true;
        // Another version of the compressor may make other bytes of the same file: a weak tag (RFC 9110 §8.8.1).
        facts.etag = format!("W/{}", plain.facts.etag);
        let item = Arc::new(Item { status: plain.status, facts, content: Some(content) });
        if is_settled(&plain.status, unix_seconds()) {
            self.kept.put(path, Form::Made, Arc::clone(&item));
        }
        Ok(item)
    }

    /// The entity tag of a file in this state.
    pub(super) fn etag(&self, path: &[u8], status: &Status) -> String {
        self.facts(path, status, None).etag
    }

    fn facts(&self, path: &[u8], status: &Status, coding: Option<Coding>) -> Facts {
        let name = last_name(path);
        let content_type = self.rules.media_type(name);
        let (seconds, nanoseconds) = status.modified;
        Facts {
            size: status.size,
            modified: seconds,
            etag: match coding {
                None => format!("\"{seconds:x}.{nanoseconds:x}-{:x}\"", status.size),
                // Two forms of a file must not share a strong tag (RFC 9110 §8.8.3.3).
                Some(coding) => {
                    format!("\"{seconds:x}.{nanoseconds:x}-{:x}-{}\"", status.size, coding.name())
                }
            },
            last_modified: http_date(seconds),
            packed: media_type::is_packed(&content_type),
            content_type,
            coding,
            made_here: false,
            cache_rule: self.rules.cache_rule(path),
        }
    }
}

/// The last name of a path.
pub(super) fn last_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Whether a further change of the file would show in its status, at this time in seconds since 1970.
fn is_settled(status: &Status, now: i64) -> bool {
    now - status.changed.0 > SETTLED
}

/// As RFC 9110 §5.6.7 has it. What does not fit its four digits of the year becomes the first or the last that does.
pub(super) fn http_date(seconds: i64) -> String {
    const LAST: i64 = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.clamp(0, LAST) as u64))
}

/// At most `size` bytes from the start; fewer where the file has become shorter.
fn read(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; size as usize];
    let mut done = 0;
    while done < content.len() {
        match file.read_at(&mut content[done..], done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(done);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    /// A folder that is taken away when it is dropped.
    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A file `a`, read and kept, however new it is.
    fn kept(name: &str) -> (Place, Files, Arc<Item>) {
        let place = Place(std::env::temp_dir().join(format!("stdserve-find-{name}-{}", std::process::id())));
        fs::create_dir_all(&place.0).unwrap();
        fs::write(place.0.join("a"), "one").unwrap();
        fs::write(place.0.join("b"), "two").unwrap();
        let files = Files::new(Options { root: place.0.clone(), ..Options::default() }).unwrap();
        let Ok(Fetched::File(item, None)) = files.fetch(b"a", Form::Plain) else { panic!("not read") };
        files.kept.put(b"a", Form::Plain, Arc::clone(&item));
        (place, files, item)
    }

    fn same(files: &Files, item: &Arc<Item>) -> bool {
        matches!(files.fetch(b"a", Form::Plain), Ok(Fetched::File(now, None)) if Arc::ptr_eq(&now, item))
    }

    /// Waits for the tick of the clock that many kernels take the times of files from, of which that status is.
    fn until_a_change_shows(place: &Path, status: &Status) {
        let changed = || {
            fs::write(place.join("c"), "").unwrap();
            let of_it = fs::metadata(place.join("c")).unwrap();
            (of_it.ctime(), of_it.ctime_nsec() as u32)
        };
        while changed() <= status.changed {
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_kept_is_sent_as_long_as_nothing_has_changed() {
        let (_place, files, item) = kept("same");
        assert!(same(&files, &item));
        assert!(same(&files, &item));
    }

    #[test]
    fn every_change_is_seen() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 6] = [
            ("written", |place| fs::write(place.join("a"), "new").unwrap()),
            ("replaced", |place| fs::rename(place.join("b"), place.join("a")).unwrap()),
            ("removed", |place| fs::remove_file(place.join("a")).unwrap()),
            ("linked", |place| {
                fs::remove_file(place.join("a")).unwrap();
                std::os::unix::fs::symlink("b", place.join("a")).unwrap();
            }),
            ("a folder", |place| {
                fs::remove_file(place.join("a")).unwrap();
                fs::create_dir(place.join("a")).unwrap();
            }),
            ("shorter", |place| fs::write(place.join("a"), "").unwrap()),
        ];
        for (name, change) in changes {
            let (place, files, item) = kept(name);
            until_a_change_shows(&place.0, &item.status);
            change(&place.0);
            assert!(!same(&files, &item), "{name}");
        }
    }

    #[test]
    fn what_was_changed_just_now_is_not_kept() {
        let (_place, files, item) = kept("new");
        let now = unix_seconds();
        for (ago, settled) in [(0, false), (1, false), (SETTLED, false), (SETTLED + 1, true)] {
            assert_eq!(is_settled(&Status { changed: (now - ago, 0), ..item.status }, now), settled, "{ago}");
        }
        let Ok(Fetched::File(other, None)) = files.fetch(b"b", Form::Plain) else { panic!("not read") };
        assert!(files.kept.get(b"b", Form::Plain).is_none());
        assert_eq!(other.content.as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn dates_that_no_date_has_are_the_nearest() {
        assert_eq!(http_date(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
