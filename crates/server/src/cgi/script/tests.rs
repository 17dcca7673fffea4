//! Which file a path runs, in real folders.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("stdserve-scripts-{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("root/sub/empty")).unwrap();
        for file in
            ["root/a.cgi", "root/b.py", "root/sub/c.cgi", "root/sub/index.cgi", "root/.hidden", "outside"]
        {
            fs::write(path.join(file), "").unwrap();
        }
        symlink("../outside", path.join("root/out.cgi")).unwrap();
        symlink("sub/c.cgi", path.join("root/in.cgi")).unwrap();
        symlink("..", path.join("root/up")).unwrap();
        symlink("loop.cgi", path.join("root/loop.cgi")).unwrap();
        Self(path)
    }

    fn scripts(&self, change: impl FnOnce(&mut Options)) -> Scripts {
        let mut options = Options::default();
        change(&mut options);
        Scripts::new(Root::open(&self.0.join("root")).unwrap(), &options)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn find(scripts: &Scripts, path: &str) -> Result<(String, String), u16> {
    match scripts.find(&CleanPath::parse(path.as_bytes()).unwrap()) {
        Found::Script(script) => {
            Ok((String::from_utf8(script.path).unwrap(), String::from_utf8(script.path_info).unwrap()))
        }
        Found::Folder => Err(301),
        Found::Nothing(status) => Err(status),
    }
}

#[allow(clippy::unnecessary_wraps)] // as it is compared
fn script(path: &str, path_info: &str) -> Result<(String, String), u16> {
    Ok((path.to_owned(), path_info.to_owned()))
}

#[test]
fn the_first_name_that_is_no_folder_is_the_script() {
    let folder = Folder::new();
    let scripts = folder.scripts(|_| {});
    assert_eq!(find(&scripts, "/a.cgi"), script("a.cgi", ""));
    assert_eq!(find(&scripts, "/a.cgi/"), script("a.cgi", "/"));
    assert_eq!(find(&scripts, "/a.cgi/x/y.z"), script("a.cgi", "/x/y.z"));
    assert_eq!(find(&scripts, "/a.cgi/.git/x/"), script("a.cgi", "/.git/x/"));
    assert_eq!(find(&scripts, "//sub//c.cgi//p"), script("sub/c.cgi", "/p"));
    assert_eq!(find(&scripts, "/in.cgi"), script("in.cgi", ""));
    for nothing in ["/nothing", "/sub/nothing/x", "/.hidden", "/A.CGI", "/loop.cgi", "/a.cgi%20"] {
        assert_eq!(find(&scripts, nothing), Err(404), "{nothing}");
    }
}

#[test]
fn links_that_lead_out_are_as_good_as_absent() {
    let folder = Folder::new();
    let scripts = folder.scripts(|_| {});
    for nothing in ["/out.cgi", "/up/outside", "/up/", "/up"] {
        assert_eq!(find(&scripts, nothing), Err(404), "{nothing}");
    }
}

#[test]
fn a_folder_has_an_index_or_nothing() {
    let folder = Folder::new();
    let scripts = folder.scripts(|options| options.index = vec!["none".into(), "index.cgi".into()]);
    assert_eq!(find(&scripts, "/sub/"), script("sub/index.cgi", ""));
    assert_eq!(find(&scripts, "/sub"), Err(301));
    assert_eq!(find(&scripts, "/sub/empty/"), Err(404));
    assert_eq!(find(&scripts, "/"), Err(404));
}

#[test]
fn cve_2011_1015_what_is_not_to_be_run_is_refused() {
    let folder = Folder::new();
    let scripts = folder.scripts(|options| options.extensions = vec!["cgi".into()]);
    assert_eq!(find(&scripts, "/a.cgi"), script("a.cgi", ""));
    assert_eq!(find(&scripts, "/b.py"), Err(404));
    let scripts = folder.scripts(|options| {
        options.executable = ExecutableRule::Never;
        options.interpreters = vec![("py".into(), vec!["python3".into()])];
    });
    assert_eq!(find(&scripts, "/a.cgi"), Err(403));
    assert_eq!(find(&scripts, "/b.py/x"), script("b.py", "/x"));
}
