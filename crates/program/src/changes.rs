//! `--reload`: sees that files have changed, and says so to the supervisor.
//!
//! A thread of each worker looks at the files once in a while. That needs no help of the kernel's, and so works on
//! network disks, in containers, and with editors that put a new file in the place of the old one. What it says of a
//! change is the same text in every worker, so that the supervisor takes it for one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stdserve_config::{GroupSpec, Source};
use stdserve_proto::glob::Glob;
use stdserve_supervisor::WorkerSeat;

/// How long nothing is looked at, after each look.
const PAUSE: Duration = Duration::from_millis(250);

/// A look takes at most this part of a core: one divided by it.
const SHARE: u32 = 10;

/// So often is looked whether a change goes on, before it counts.
const MOST_LOOKS: u32 = 8;

/// So many entries of folders are looked at; what lies beyond is not watched.
const MOST: usize = 50_000;

/// Folders beneath a watched one that hold nothing of the application's own.
const APART: [&str; 3] = ["node_modules", "__pycache__", "site-packages"];

/// What a file was when it was looked at: a change of any of these is one of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: i128,
    size: u64,
    inode: u64,
}

type Stamps = BTreeMap<PathBuf, Stamp>;

/// The files that are watched, and what they were.
#[derive(Debug)]
pub(crate) struct Changes {
    start: PathBuf,
    folders: Vec<PathBuf>,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    configuration: Vec<PathBuf>,
    /// Files of modules, wherever they lie; told as they are imported.
    modules: Modules,
    stamps: Stamps,
}

/// The files of the modules that a worker has imported.
pub(crate) type Modules = Arc<Mutex<Vec<PathBuf>>>;

impl Changes {
    /// Looks at everything for the first time.
    pub(crate) fn new(group: &GroupSpec) -> io::Result<Self> {
        let settings = &group.settings;
        let start = std::env::current_dir()?;
        let pattern = |text: &String| Pattern::new(text);
        let include: Vec<_> = settings.reload.include.iter().filter_map(pattern).collect();
        let folders = settings.process.pythonpath.iter().map(|folder| start.join(folder));
        let wanted = include.iter().filter_map(|pattern| pattern.folder.clone()).map(|one| start.join(one));
        let mut all: Vec<PathBuf> = [start.clone()].into_iter().chain(folders).chain(wanted).collect();
        all.sort();
        // One that lies beneath another is looked at with it.
        all.dedup_by(|later, earlier| later.starts_with(earlier));
        let mut changes = Self {
            folders: all,
            include,
            exclude: settings.reload.exclude.iter().filter_map(pattern).collect(),
            configuration: configuration(group, &start),
            modules: Modules::default(),
            stamps: Stamps::new(),
            start,
        };
        changes.stamps = changes.look();
        Ok(changes)
    }

    /// Where the files of modules are told.
    pub(crate) fn modules(&self) -> Modules {
        Arc::clone(&self.modules)
    }

    /// Watches from now on, in a thread of its own. `says` is told of each change that is sent, in words.
    pub(crate) fn watch(
        mut self,
        seat: Arc<WorkerSeat>,
        says: impl Fn(&str) + Send + 'static,
    ) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("stdserve-reload".to_owned());
        let watch = move || {
            loop {
                let begun = Instant::now();
                let (changed, stamps) = self.next(self.look());
                self.stamps = stamps;
                if !changed.is_empty() {
                    let configuration = changed.iter().any(|path| self.configuration.contains(path));
                    says(&self.names(&changed));
                    if seat.changed(configuration, &self.state(&changed)).is_err() {
                        return;
                    }
                }
                std::thread::sleep(PAUSE.max(begun.elapsed() * SHARE));
            }
        };
        thread.spawn(watch).map(drop)
    }

    /// What has changed, once it changes no more: editors write several files, and some twice.
    fn next(&self, mut now: Stamps) -> (Vec<PathBuf>, Stamps) {
        if self.differ(&now).is_empty() {
            return (Vec::new(), now);
        }
        // Something that is written all the time shall not keep the rest from being seen.
        for _ in 0..MOST_LOOKS {
            std::thread::sleep(PAUSE / 2);
            let later = self.look();
            if later == now {
                break;
            }
            now = later;
        }
        (self.differ(&now), now)
    }

    /// The files that are not what they were. That of a module is new when the module is: no change.
    fn differ(&self, now: &Stamps) -> Vec<PathBuf> {
        let gone = self.stamps.keys().filter(|path| !now.contains_key(*path));
        let changed = now.iter().filter(|(path, stamp)| match self.stamps.get(*path) {
            Some(before) => before != *stamp,
            None => self.is_watched(path),
        });
        changed.map(|(path, _)| path).chain(gone).cloned().collect()
    }

    /// The paths, as short as they are known by.
    fn names(&self, changed: &[PathBuf]) -> String {
        let shown = |path: &PathBuf| path.strip_prefix(&self.start).unwrap_or(path).display().to_string();
        let more = if changed.len() > 3 { ", …" } else { "" };
        format!("{}{more}", changed.iter().take(3).map(shown).collect::<Vec<_>>().join(", "))
    }

    /// The paths and what they are now, the same text from every worker.
    fn state(&self, changed: &[PathBuf]) -> String {
        let mut text = String::new();
        for path in changed {
            let stamp = self.stamps.get(path);
            let (modified, size) = stamp.map_or((0, 0), |stamp| (stamp.modified, stamp.size));
            let _ = writeln!(text, "{} {modified} {size}", path.display());
        }
        text
    }

    fn look(&self) -> Stamps {
        let mut found = Stamps::new();
        let mut left = MOST;
        for folder in &self.folders {
            self.look_into(folder, &mut found, &mut left);
        }
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for path in modules.iter().chain(&self.configuration) {
            if !self.is_excluded(path)
                && let Ok(stamp) = stamp(path)
            {
                found.insert(path.clone(), stamp);
            }
        }
        found
    }

    fn look_into(&self, folder: &Path, found: &mut Stamps, left: &mut usize) {
        let Ok(entries) = folder.read_dir() else { return };
        for entry in entries.flatten() {
            if *left == 0 {
                return;
            }
            *left -= 1;
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            if kind.is_dir() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let apart =
                    name.starts_with('.') || APART.contains(&&*name) || path.join("pyvenv.cfg").exists();
                if !apart && !self.is_excluded(&path) {
                    self.look_into(&path, found, left);
                }
            } else if self.is_watched(&path)
                && let Ok(stamp) = stamp(&path)
            {
                found.insert(path, stamp);
            }
        }
    }

    /// Whether a file in a watched folder is watched.
    fn is_watched(&self, path: &Path) -> bool {
        let python = path.extension().is_some_and(|ending| ending == "py")
            && self.folders.iter().any(|folder| path.starts_with(folder));
        (python || self.include.iter().any(|pattern| pattern.matches(path, &self.start)))
            && !self.is_excluded(path)
    }

    fn is_excluded(&self, path: &Path) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(path, &self.start))
    }
}

/// The files that settings came from.
fn configuration(group: &GroupSpec, start: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = group.settings.process.python_file.iter().cloned().collect();
    for option in stdserve_config::options::all() {
        if let Source::File { path, .. } = group.sources.of(option.name) {
            let path = start.join(path);
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    files
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = path.metadata()?;
    let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    Ok(Stamp { modified, size: meta.len(), inode: meta.ino() })
}

/// A pattern of files: from the folder of the start, or from the root where it begins there.
#[derive(Debug)]
struct Pattern {
    glob: Glob,
    from_root: bool,
    /// The folder outside of the start that it leads to.
    folder: Option<PathBuf>,
}

impl Pattern {
    /// The option has been checked; what is no pattern all the same matches nothing.
    fn new(text: &str) -> Option<Self> {
        let text = text.strip_prefix("./").unwrap_or(text);
        let from_root = text.starts_with('/');
        let folder = from_root.then(|| {
            let plain = text.split(['*', '?', '{', '\\']).next().unwrap_or(text);
            Path::new(plain).parent().unwrap_or(Path::new("/")).to_owned()
        });
        // A folder means all that is in it.
        let text = text.trim_start_matches('/');
        let whole = if text.ends_with('/') { format!("{text}**") } else { text.to_owned() };
        Some(Self { glob: Glob::parse(&whole).ok()?, from_root, folder })
    }

    fn matches(&self, path: &Path, start: &Path) -> bool {
        let from = if self.from_root { Path::new("/") } else { start };
        path.strip_prefix(from).is_ok_and(|path| self.glob.matches(path.as_os_str().as_encoded_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(start: &Path, include: &[&str], exclude: &[&str]) -> Changes {
        let pattern = |text: &&str| Pattern::new(text);
        let mut changes = Changes {
            start: start.to_owned(),
            folders: vec![start.to_owned()],
            include: include.iter().filter_map(pattern).collect(),
            exclude: exclude.iter().filter_map(pattern).collect(),
            configuration: vec![start.join("conf.toml")],
            modules: Modules::default(),
            stamps: Stamps::new(),
        };
        changes.stamps = changes.look();
        changes
    }

    #[test]
    fn what_changes_is_seen_and_what_lies_apart_is_not() {
        let folder = std::env::temp_dir().join(format!("stdserve-changes-{}", std::process::id()));
        for name in [
            "templates/a/b.html",
            "app.py",
            "conf.toml",
            ".git/x.py",
            "env/lib/y.py",
            "notes.txt",
            "old/z.py",
        ] {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "1").expect("written");
        }
        std::fs::write(folder.join("env/pyvenv.cfg"), "").expect("written");
        let mut changes = changes(&folder, &["templates/**"], &["old/"]);
        assert_eq!(changes.stamps.len(), 3, "{:?}", changes.stamps);
        let mut seen = |name: &str| {
            std::fs::write(folder.join(name), "another text").expect("written");
            let (changed, stamps) = changes.next(changes.look());
            changes.stamps = stamps;
            changed
                .iter()
                .map(|path| path.strip_prefix(&folder).expect("ours").to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(seen("app.py"), [Path::new("app.py")]);
        assert_eq!(seen("templates/a/b.html"), [Path::new("templates/a/b.html")]);
        assert_eq!(seen("conf.toml"), [Path::new("conf.toml")]);
        assert_eq!(seen("new.py"), [Path::new("new.py")]);
        for name in ["notes.txt", ".git/x.py", "env/lib/y.py", "old/z.py"] {
            assert!(seen(name).is_empty(), "{name}");
        }
        std::fs::remove_file(folder.join("new.py")).expect("removed");
        assert_eq!(changes.next(changes.look()).0, [folder.join("new.py")]);
        // A module from elsewhere that was just imported has not changed.
        let elsewhere = folder.join("old/z.py");
        changes.modules().lock().expect("whole").push(elsewhere);
        assert_eq!(changes.differ(&changes.look()), [folder.join("new.py")]);
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn patterns_begin_at_the_start_or_at_the_root() {
        let start = Path::new("/srv/shop");
        for (pattern, path, matches) in [
            ("templates/**", "/srv/shop/templates/a/b.html", true),
            ("./templates/", "/srv/shop/templates/a/b.html", true),
            ("*.html", "/srv/shop/x/y.html", true),
            ("*.html", "/srv/other/y.html", false),
            ("/etc/shop.toml", "/etc/shop.toml", true),
            ("etc/shop.toml", "/etc/shop.toml", false),
        ] {
            let found = Pattern::new(pattern).expect("a pattern");
            assert_eq!(found.matches(Path::new(path), start), matches, "{pattern} {path}");
        }
    }
}
