//! The services that need no interpreter, made from the options: folders of files, and of CGI scripts.

use std::io;
use std::sync::Arc;

use stdserve_config::{CgiOptions, FilesOptions, ScriptStderr, ServiceKind};
use stdserve_server::{Log, cgi, files};

/// What is wrong with a service, before any process is started for it.
pub(crate) fn check(kind: &ServiceKind) -> io::Result<()> {
    match kind {
        ServiceKind::Files(options) => files::Files::new(files_options(options)).map(drop),
        ServiceKind::Cgi(options) => cgi::Cgi::new(cgi_options(options)).map(drop),
        _ => Ok(()),
    }
}

/// What is probably wrong with a service, though it may be mended while it serves: pages that are not there (yet).
pub(crate) fn doubts(kind: &ServiceKind) -> Vec<String> {
    let ServiceKind::Files(options) = kind else { return Vec::new() };
    let pages = [("spa", &options.fallback), ("not-found", &options.not_found)];
    let named = pages.into_iter().filter_map(|(option, page)| Some((option, page.as_ref()?)));
    let paths = named.map(|(option, page)| (option, options.directory.join(page.trim_start_matches('/'))));
    let missing = paths.filter(|(_, path)| !path.is_file());
    missing.map(|(option, path)| format!("--{option}: {} is not there", path.display())).collect()
}

/// A folder of files, whose trouble is told to `log`.
pub(crate) fn files(options: &FilesOptions, log: Arc<dyn Log>) -> io::Result<files::Files> {
    Ok(files::Files::new(files_options(options))?.log(log))
}

fn files_options(options: &FilesOptions) -> files::Options {
    let cache = |(pattern, value): &(String, String)| files::CacheRule {
        pattern: pattern.clone(),
        value: value.clone(),
    };
    let user =
        |(name, password): &(String, String)| files::User { name: name.clone(), password: password.clone() };
    files::Options {
        root: options.directory.clone(),
        index: options.index.clone(),
        listing: options.listing,
        listing_limit: options.listing_limit,
        hidden: options.hidden,
        precompressed: options.precompressed,
        compress: options.compress,
        compress_from: options.compress_from,
        compress_to: options.compress_to,
        not_found: options.not_found.clone(),
        fallback: options.fallback.clone(),
        headers: options.headers.clone(),
        cors: options.cors.clone(),
        cache_control: options.cache_control.iter().map(cache).collect(),
        users: options.users.iter().map(user).collect(),
        realm: options.realm.clone(),
        types: options.types.clone(),
        default_type: options.default_type.clone(),
        charset: options.charset.clone(),
        ranges: options.ranges,
        small_file: options.small_file,
        memory: options.memory,
        upload: options.upload,
        upload_limit: options.upload_limit,
        upload_replace: options.upload_replace,
    }
}

/// A folder of CGI scripts, whose trouble is told to `log`.
pub(crate) fn cgi(options: &CgiOptions, log: Arc<dyn Log>) -> io::Result<cgi::Cgi> {
    Ok(cgi::Cgi::new(cgi_options(options))?.log(log))
}

fn cgi_options(options: &CgiOptions) -> cgi::Options {
    let interpreter = |(extension, command): &(String, String)| {
        (extension.clone(), command.split_ascii_whitespace().map(str::to_owned).collect())
    };
    let number = |number: Option<usize>| number.map(|number| number as u64);
    let limits = &options.limits;
    let default = cgi::Options::default();
    cgi::Options {
        root: options.directory.clone(),
        interpreters: options.interpreters.iter().map(interpreter).collect(),
        extensions: options.extensions.clone(),
        executable: if options.executable { cgi::ExecutableRule::Bit } else { cgi::ExecutableRule::Never },
        index: options.index.clone(),
        max_processes: options.processes,
        queue: options.queue,
        timeout: options.timeout,
        head_timeout: options.head_timeout,
        grace: options.grace,
        max_head: options.max_head,
        environment: options.environment.clone(),
        pass_environment: options.pass_environment.clone(),
        pass_authorization: options.pass_authorization,
        buffer_bodies: options.buffer_bodies,
        nph: options.nph,
        limits: cgi::ResourceLimits {
            memory: limits.memory,
            cpu: number(limits.cpu),
            files: number(limits.files),
            core: limits.core,
            file_size: limits.file_size,
            processes: number(limits.processes),
        },
        user: options.user.clone(),
        group: options.group.clone(),
        stderr: match options.stderr {
            ScriptStderr::Log => cgi::Stderr::Log,
            ScriptStderr::Discard => cgi::Stderr::Discard,
            ScriptStderr::Inherit => cgi::Stderr::Inherit,
        },
        server_software: options.server_software.clone().unwrap_or(default.server_software),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the options say of themselves is what the services do.
    #[test]
    fn the_defaults_are_those_of_the_services() {
        let settings = stdserve_config::Settings::default();
        let files = FilesOptions { directory: ".".into(), ..settings.files };
        assert_eq!(format!("{:?}", files_options(&files)), format!("{:?}", files::Options::default()));
        let cgi = CgiOptions { directory: ".".into(), ..settings.cgi };
        assert_eq!(format!("{:?}", cgi_options(&cgi)), format!("{:?}", cgi::Options::default()));
    }

    #[test]
    fn a_page_that_is_not_there_is_told() {
        let kind = |fallback: &str| {
            let (directory, fallback) = (env!("CARGO_MANIFEST_DIR").into(), Some(fallback.to_owned()));
            ServiceKind::Files(FilesOptions { directory, fallback, ..FilesOptions::default() })
        };
        assert!(doubts(&kind("Cargo.toml")).is_empty() && doubts(&kind("/src/lib.rs")).is_empty());
        for page in ["nosuch.html", "src"] {
            let told = doubts(&kind(page)).concat();
            assert!(
                told.starts_with("--spa: ") && told.ends_with(&format!("/{page} is not there")),
                "{told}"
            );
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let directory = std::path::PathBuf::from("/nonexistent/folder");
        let files =
            ServiceKind::Files(FilesOptions { directory: directory.clone(), ..FilesOptions::default() });
        let cgi = ServiceKind::Cgi(CgiOptions { directory, ..CgiOptions::default() });
        for kind in [files, cgi] {
            let error = check(&kind).expect_err("refused").to_string();
            assert!(error.contains("/nonexistent/folder"), "{error}");
        }
    }
}
