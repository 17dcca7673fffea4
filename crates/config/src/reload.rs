//! A configuration that was read again: what of it counts while the server runs.

use crate::command::Serve;
use crate::option::Opt;
use crate::options::all;
use crate::report::Shown;
use crate::services::GroupSpec;
use crate::settings::Settings;

/// What a configuration that was read again could not change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Options that keep the value that they had at the start.
    pub options: Vec<&'static str>,
    /// Worker groups that the configuration does not have any more, and that go on with their old settings.
    pub gone: Vec<String>,
    /// Worker groups that it has besides, and that are not served.
    pub come: Vec<String>,
}

impl Kept {
    /// What is to be said of it, a sentence each; nothing where everything counts.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.options.is_empty() {
            let names: Vec<_> = self.options.iter().map(|name| format!("--{name}")).collect();
            let names = names.join(", ");
            warnings.push(format!("a reload does not change {names}: a restart does"));
        }
        for name in &self.gone {
            warnings
                .push(format!("{name} is not in the configuration any more: it is served until a restart"));
        }
        for name in &self.come {
            warnings.push(format!("{name} is new in the configuration: a restart serves it"));
        }
        warnings
    }
}

/// Lays a configuration that was read again over the one that is served. The groups, their order and their listeners
/// stay, and so do the options that a reload does not change.
pub fn keep_fixed(before: &Serve, mut read: Serve) -> (Serve, Kept) {
    let mut kept = Kept::default();
    settle(&before.configuration.settings, &mut read.configuration.settings, &mut kept);
    let groups = before.groups.iter().map(|group| {
        let Some(at) = read.groups.iter().position(|found| found.name == group.name) else {
            kept.gone.push(group.name.clone());
            return group.clone();
        };
        let mut found = read.groups.swap_remove(at);
        settle(&group.settings, &mut found.settings, &mut kept);
        GroupSpec { binds: group.binds.clone(), default_binds: group.default_binds, ..found }
    });
    let groups = groups.collect();
    for shown in &mut read.shown {
        let of_old = |old: &&Shown| (old.service.as_ref(), old.name) == (shown.service.as_ref(), shown.name);
        if kept.options.contains(&shown.name)
            && let Some(old) = before.shown.iter().find(of_old)
        {
            *shown = old.clone();
        }
    }
    kept.come.extend(read.groups.into_iter().map(|group| group.name));
    (Serve { groups, ..read }, kept)
}

/// Puts back what a reload does not change.
fn settle(before: &Settings, read: &mut Settings, kept: &mut Kept) {
    let fixed = |opt: &&Opt| !opt.reload && opt.field.show(before) != opt.field.show(read);
    for opt in all().filter(fixed).collect::<Vec<_>>() {
        opt.field.take_over(before, read);
        // `--host` and such have become a `bind`, which is named.
        let short = matches!(opt.name, "host" | "port" | "uds");
        if !short && !kept.options.contains(&opt.name) {
            kept.options.push(opt.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, parse};
    use crate::surroundings::Surroundings;

    fn serve(file: &str, argv: &[&str]) -> Serve {
        let read = |path: &std::path::Path| {
            let ours = path.ends_with("stdserve.toml").then(|| file.to_owned());
            ours.ok_or_else(|| std::io::ErrorKind::NotFound.into())
        };
        let python = crate::without_python;
        let around = Surroundings { env: Vec::new(), cwd: "/srv".into(), read: &read, python: &python };
        match parse(argv.iter().copied(), &around) {
            Ok(Command::Serve(serve)) => *serve,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_fixed_keeps_its_value_and_is_named() {
        let before = serve("app = 'a:b'\nport = 8001\nthreads = 3\nadmin = 'none'\n", &[]);
        let after = serve("app = 'c:d'\nport = 8002\nthreads = 5\nadmin = 'auto'\n", &[]);
        let (serve, kept) = keep_fixed(&before, after);
        let group = &serve.groups[0];
        assert_eq!(group.binds, before.groups[0].binds);
        assert_eq!((group.settings.workers.threads, group.services[0].kind.target().as_str()), (5, "c:d"));
        assert_eq!(group.settings.listen, before.groups[0].settings.listen);
        assert_eq!(serve.configuration.settings.operations, before.configuration.settings.operations);
        assert_eq!(kept, Kept { options: vec!["bind", "admin"], ..Kept::default() });
    }

    #[test]
    fn what_is_the_same_is_not_named() {
        let text = "app = 'a:b'\nbind = ['127.0.0.1:1', 'unix:/x']\nadmin = 'none'\n";
        let (serve, kept) = keep_fixed(&serve(text, &[]), serve(text, &[]));
        assert_eq!((serve.groups.len(), kept), (1, Kept::default()));
    }

    #[test]
    fn groups_stay_in_their_order_and_those_that_come_or_go_are_named() {
        let group = |name: &str, port| {
            format!("[services.{name}]\nfiles = '.'\nbind = '127.0.0.1:{port}'\nworkers = 1\n")
        };
        let before = serve(&(group("a", 1) + &group("b", 2)), &["up"]);
        let after = serve(&(group("c", 3) + &group("b", 2).replace("workers = 1", "workers = 7")), &["up"]);
        let (serve, kept) = keep_fixed(&before, after);
        let names: Vec<_> = serve.groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(serve.groups[1].settings.workers.count, Some(7));
        assert_eq!((kept.gone, kept.come), (vec!["a".to_owned()], vec!["c".to_owned()]));
    }
}
