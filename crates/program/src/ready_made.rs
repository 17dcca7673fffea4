//! The services that need no interpreter, made from the options: folders of files, and of CGI scripts.

use std::io;
use std::sync::Arc;

use stdserve_config::{CgiOptions, ScriptStderr};
use stdserve_server::{Log, cgi};

/// A folder of CGI scripts, whose trouble is told to `log`.
pub(crate) fn cgi(options: &CgiOptions, log: Arc<dyn Log>) -> io::Result<cgi::Cgi> {
    let interpreter = |(extension, command): &(String, String)| {
        (extension.clone(), command.split_ascii_whitespace().map(str::to_owned).collect())
    };
    let number = |number: Option<usize>| number.map(|number| number as u64);
    let limits = &options.limits;
    let default = cgi::Options::default();
    let cgi = cgi::Cgi::new(cgi::Options {
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
    })?;
    Ok(cgi.log(log))
}
