//! Starting a script: its environment, its pipes, its bounds.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use stdserve_proto::cgi::Environment;
use stdserve_sys::beneath::Folder;
use stdserve_sys::pipes;
use stdserve_sys::process::{Child, Limit, Program, SpawnError, Step, spawn};
use stdserve_sys::users::{self, Account};

use super::input::Input;
use super::options::{Options, Stderr};
use crate::body::Body;

/// Where programs are looked for, where neither the options nor the server's own environment say it.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How often a script is tried that is being written, and the time between.
const BUSY_LOOKS: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What is the same for all scripts.
#[derive(Debug)]
pub(super) struct Launcher {
    /// Program and arguments for each extension that has an interpreter.
    interpreters: Vec<Vec<CString>>,
    /// Variables that every script gets unless the request has them.
    environment: Vec<(Vec<u8>, Vec<u8>)>,
    limits: Vec<(Limit, u64)>,
    account: Option<Account>,
    stderr: Stderr,
}

/// A script that was started, and this process's ends of its streams.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) output: File,
    pub(super) errors: Option<File>,
    pub(super) input: Input,
}

impl Launcher {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let interpreters = options.interpreters.iter();
        let interpreters = interpreters.map(|(extension, command)| interpreter(extension, command));
        let own = options.environment.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
        let mut environment: Vec<(Vec<u8>, Vec<u8>)> = own.collect();
        for name in &options.pass_environment {
            if let Some(value) = std::env::var_os(name) {
                environment.push((name.clone().into(), value.as_bytes().to_vec()));
            }
        }
        environment.push((b"PATH".to_vec(), USUAL_PATH.into()));
        for (name, value) in &environment {
            if !stdserve_proto::cgi::is_variable_name(name) || value.contains(&0) {
                let name = String::from_utf8_lossy(name);
                return Err(invalid(format!("{name:?} cannot be a variable of the environment")));
            }
        }
        let limits = &options.limits;
        let limits = [
            (Limit::Memory, limits.memory),
            (Limit::Cpu, limits.cpu),
            (Limit::Files, limits.files),
            (Limit::Core, limits.core),
            (Limit::FileSize, limits.file_size),
            (Limit::Processes, limits.processes),
        ];
        Ok(Self {
            interpreters: interpreters.collect::<io::Result<_>>()?,
            environment,
            limits: limits.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect(),
            account: users::meant(options.user.as_deref(), options.group.as_deref())?,
            stderr: options.stderr,
        })
    }

    /// Starts the script at `path`, which stands in `folder`. The request's variables come first.
    pub(super) fn start(
        &self,
        path: &CStr,
        interpreter: Option<usize>,
        folder: &Folder,
        mut environment: Environment,
        body: Body,
    ) -> Result<Started, SpawnError> {
        for (name, value) in &self.environment {
            environment.set(name, &[value]);
        }
        let no_pipe = |error| SpawnError { step: Step::Process, error };
        let (output, stdout) = pipes::to_read().map_err(no_pipe)?;
        let (errors, stderr) = match self.stderr {
            Stderr::Log => pipes::to_read().map(|(errors, stderr)| (Some(errors), stderr)),
            Stderr::Discard => pipes::null().map(|null| (None, null)),
            Stderr::Inherit => io::stderr().as_fd().try_clone_to_owned().map(|stderr| (None, stderr)),
        }
        .map_err(no_pipe)?;
        let (stdin, input) = Input::of(body).map_err(no_pipe)?;
        let interpreter = interpreter.and_then(|at| self.interpreters.get(at));
        let arguments: Vec<&CStr> =
            interpreter.into_iter().flatten().map(CString::as_c_str).chain([path]).collect();
        let strings: Vec<&CStr> = environment.strings().collect();
        let program = Program {
            path: arguments.first().copied().unwrap_or(path),
            arguments: &arguments,
            environment: &strings,
            folder: folder.as_fd(),
            streams: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            descriptors: &[],
            session: true,
            limits: &self.limits,
            account: self.account.as_ref(),
        };
        let child = while_busy(|| spawn(&program), thread::sleep)?;
        Ok(Started { child, output, errors, input })
    }
}

/// Executes what may be open for writing at this moment, which the kernel refuses (execve(2), `ETXTBSY`): a script that is
/// put in its place, or was a moment ago, when a child was made that has not yet let go of what its parent had open.
fn while_busy<T>(
    mut execute: impl FnMut() -> Result<T, SpawnError>,
    mut wait: impl FnMut(Duration),
) -> Result<T, SpawnError> {
    for _ in 0..BUSY_LOOKS {
        match execute() {
            Err(SpawnError { error, .. }) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                wait(BUSY_PAUSE);
            }
            result => return result,
        }
    }
    execute()
}

/// The program of an extension's interpreter, found now, with its arguments.
fn interpreter(extension: &str, command: &[String]) -> io::Result<Vec<CString>> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(invalid(format!("the interpreter for .{extension} is empty")));
    };
    let found = find_program(program).ok_or_else(|| {
        let message = format!("the interpreter for .{extension} is not there: {program}");
        io::Error::new(io::ErrorKind::NotFound, message)
    })?;
    let found = CString::new(found.into_os_string().as_bytes());
    let arguments = arguments.iter().map(|argument| CString::new(argument.as_bytes()));
    [found]
        .into_iter()
        .chain(arguments)
        .collect::<Result<_, _>>()
        .map_err(|_| invalid(format!("the interpreter for .{extension} has a NUL character in its command")))
}

/// Where a program stands: as it is named, or in one of the folders of `PATH`.
fn find_program(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return std::path::absolute(program).ok().filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The path of a file beneath `root`, for the kernel and as `SCRIPT_FILENAME`.
pub(super) fn file_path(root: &Path, path: &[u8]) -> Result<CString, SpawnError> {
    let mut bytes = root.as_os_str().as_bytes().to_vec();
    if !bytes.ends_with(b"/") {
        bytes.push(b'/');
    }
    bytes.extend_from_slice(path);
    CString::new(bytes)
        .map_err(|_| SpawnError { step: Step::Execute, error: io::ErrorKind::InvalidInput.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that had just been written was answered with 500, as long as another script's child had its file open.
    #[test]
    fn a_script_that_is_being_written_is_tried_again() {
        let refused = |kind: io::ErrorKind| SpawnError { step: Step::Execute, error: kind.into() };
        let (busy, denied) = (io::ErrorKind::ExecutableFileBusy, io::ErrorKind::PermissionDenied);
        let mut tries = 0;
        let mut waited = Duration::ZERO;
        let started = while_busy(
            || {
                tries += 1;
                if tries <= 3 { Err(refused(busy)) } else { Ok(tries) }
            },
            |time| waited += time,
        );
        assert_eq!((started.unwrap(), waited), (4, 3 * BUSY_PAUSE));
        let kept: Result<(), _> = while_busy(|| Err(refused(busy)), |_| ());
        assert_eq!(kept.unwrap_err().error.kind(), busy);
        let other: Result<(), _> = while_busy(|| Err(refused(denied)), |_| panic!("it is no matter of time"));
        assert_eq!(other.unwrap_err().error.kind(), denied);
    }
}
