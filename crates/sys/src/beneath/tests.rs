//! Files beneath a folder, by the kernel and by the walk: what leads outside is not opened.

use super::*;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

/// A tree with a secret beside the root. Taken away when it is dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Self {
        let top = std::env::temp_dir().join(format!("stdserve-beneath-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(top.join("root/sub/deep")).unwrap();
        fs::create_dir(top.join("root2")).unwrap();
        fs::write(top.join("secret"), "secret").unwrap();
        fs::write(top.join("root2/secret"), "secret").unwrap();
        fs::write(top.join("root/a"), "a").unwrap();
        fs::write(top.join("root/sub/b"), "b").unwrap();
        let tree = Self(top);
        for (target, link) in [
            ("a", "to-a"),
            ("sub", "to-sub"),
            ("../a", "sub/up-to-a"),
            ("sub/../a", "round-to-a"),
            ("to-to-a-2", "to-to-a"),
            ("to-a", "to-to-a-2"),
            ("../secret", "out"),
            ("sub/../../secret", "out-by-sub"),
            ("..", "out-folder"),
            ("/etc", "etc"),
            ("/etc/passwd", "passwd"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("/proc/self/root", "proc"),
        ] {
            symlink(target, tree.root().join(link)).unwrap();
        }
        symlink(tree.root().join("sub/b"), tree.root().join("absolute-to-b")).unwrap();
        symlink(tree.0.join("root2/secret"), tree.root().join("absolute-out")).unwrap();
        symlink(tree.root().join("../secret"), tree.root().join("absolute-out-by-dots")).unwrap();
        tree
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn both(&self) -> [Root; 2] {
        [Root::open(&self.root()).unwrap(), Root::open_walking(&self.root()).unwrap()]
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content(root: &Root, path: &str) -> io::Result<String> {
    let mut text = String::new();
    root.read(path.as_bytes())?.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn what_is_beneath_is_opened_links_too() {
    let tree = Tree::new("inside");
    for root in tree.both() {
        for (path, text) in [
            ("a", "a"),
            ("sub/b", "b"),
            ("./sub//b", "b"),
            ("sub/../a", "a"),
            ("to-a", "a"),
            ("to-sub/b", "b"),
            ("sub/up-to-a", "a"),
            ("to-sub/up-to-a", "a"),
            ("round-to-a", "a"),
            ("to-to-a", "a"),
            ("absolute-to-b", "b"),
        ] {
            assert_eq!(content(&root, path).unwrap(), text, "{path}");
            assert_eq!(root.status(path.as_bytes()).unwrap().kind, Kind::File, "{path}");
        }
        assert_eq!(root.status(b"to-sub").unwrap().kind, Kind::Folder);
        assert_eq!(root.status(b"").unwrap().kind, Kind::Folder);
        assert!(root.folder(b"to-sub").is_ok());
        assert!(root.folder(b"").is_ok());
    }
}

#[test]
fn what_leads_outside_is_not_opened() {
    let tree = Tree::new("outside");
    for root in tree.both() {
        for path in [
            "../secret",
            "sub/../../secret",
            "..",
            "/etc/passwd",
            "out",
            "out-by-sub",
            "out-folder",
            "out-folder/secret",
            "etc/passwd",
            "passwd",
            "absolute-out",
            "absolute-out-by-dots",
            "proc/etc/passwd",
        ] {
            // A path that begins with a slash is one beneath the root for the walk: it finds nothing there.
            let error = content(&root, path).unwrap_err().kind();
            let expected: &[_] = match path {
                "/etc/passwd" => &[io::ErrorKind::NotFound, io::ErrorKind::CrossesDevices],
                _ => &[io::ErrorKind::CrossesDevices],
            };
            assert!(expected.contains(&error), "{path}: {error:?}");
            assert!(root.status(path.as_bytes()).is_err(), "{path}");
            assert!(root.folder(path.as_bytes()).is_err(), "{path}");
        }
    }
}

#[test]
fn errors_are_the_kernels() {
    let tree = Tree::new("errors");
    for root in tree.both() {
        for (path, code) in [
            ("none", libc::ENOENT),
            ("dangling", libc::ENOENT),
            ("a/b", libc::ENOTDIR),
            ("a/", libc::ENOTDIR),
            ("to-a/", libc::ENOTDIR),
            ("loop", libc::ELOOP),
            ("a\0b", libc::EINVAL),
        ] {
            assert_eq!(content(&root, path).unwrap_err().raw_os_error(), Some(code), "{path}");
        }
        assert_eq!(root.read(&[b'x'; 300]).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    }
}

#[test]
fn a_pipe_does_not_hold_the_thread() {
    let tree = Tree::new("pipe");
    let pipe = std::ffi::CString::new(tree.root().join("pipe").into_os_string().into_vec()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for root in tree.both() {
        let file = root.read(b"pipe").unwrap();
        assert_eq!(Status::of(&file).unwrap().kind, Kind::Other);
    }
}

/// Somebody swaps a folder with a link that leads outside, again and again, while files are opened through it.
#[test]
fn race_no_swap_of_folder_and_link_leads_outside() {
    let tree = Tree::new("race");
    fs::create_dir(tree.root().join("x")).unwrap();
    fs::write(tree.root().join("x/secret"), "inside").unwrap();
    symlink(tree.0.join("root2"), tree.root().join("y")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (root, until) = (tree.root(), Arc::clone(&stop));
    let swapper = std::thread::spawn(move || {
        let folder = File::open(root).unwrap();
        let mut swaps = 0_u64;
        while !until.load(Ordering::Relaxed) {
            rustix::fs::renameat_with(&folder, "x", &folder, "y", rustix::fs::RenameFlags::EXCHANGE).unwrap();
            swaps += 1;
        }
        swaps
    });
    let mut inside = 0;
    for root in tree.both() {
        for _ in 0..5000 {
            if let Ok(text) = content(&root, "x/secret") {
                assert_eq!(text, "inside");
                inside += 1;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swapper.join().unwrap() > 0 && inside > 0);
}

#[test]
fn a_root_that_is_moved_stays_the_root() {
    let tree = Tree::new("moved");
    let [root, walking] = tree.both();
    fs::rename(tree.root(), tree.0.join("elsewhere")).unwrap();
    fs::rename(tree.0.join("root2"), tree.root()).unwrap();
    for root in [root, walking] {
        assert_eq!(content(&root, "a").unwrap(), "a");
        assert_eq!(content(&root, "secret").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn a_glance_sees_changes() {
    let tree = Tree::new("glance");
    let root = Root::open(&tree.root()).unwrap();
    let before = Status::of(root.read(b"a").unwrap()).unwrap();
    assert_eq!(root.glance(b"a").unwrap(), before);
    fs::write(tree.root().join("new"), "a").unwrap();
    fs::rename(tree.root().join("new"), tree.root().join("a")).unwrap();
    assert_ne!(root.glance(b"a").unwrap(), before);
}

#[test]
fn entries_of_a_folder() {
    let tree = Tree::new("entries");
    let root = Root::open(&tree.root()).unwrap();
    let folder = root.folder(b"sub").unwrap();
    let mut entries: Vec<_> = folder.entries().unwrap().map(Result::unwrap).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = entries.iter().map(|entry| &entry.name[..]).collect();
    assert_eq!(names, [&b"b"[..], b"deep", b"up-to-a"]);
    assert_eq!(folder.status(b"up-to-a").unwrap().kind, Kind::Link);
    assert_eq!(folder.status(b"b").unwrap().size, 1);
}

#[test]
fn drafts_appear_whole_or_not_at_all() {
    let tree = Tree::new("draft");
    let root = Root::open(&tree.root()).unwrap();
    let folder = root.folder(b"sub/deep").unwrap();
    let count = || folder.entries().unwrap().count();
    let draft = folder.draft().unwrap();
    draft.file().write_all(b"one").unwrap();
    assert_eq!(count(), 1, "under its working name");
    drop(draft);
    assert_eq!(count(), 0, "and gone when it is dropped");

    for (text, replace, fits) in [("one", false, true), ("two", false, false), ("three", true, true)] {
        let draft = folder.draft().unwrap();
        draft.file().write_all(text.as_bytes()).unwrap();
        let published = draft.publish(b"name", replace);
        assert_eq!(
            published.map_err(|error| error.kind()).err(),
            (!fits).then_some(io::ErrorKind::AlreadyExists)
        );
        assert_eq!(count(), 1);
    }
    assert_eq!(content(&root, "sub/deep/name").unwrap(), "three");
    for name in [&b""[..], b".", b"..", b"../x", b"a/b"] {
        assert!(folder.draft().unwrap().publish(name, true).is_err(), "{}", name.escape_ascii());
    }
    assert_eq!(count(), 1);
}
