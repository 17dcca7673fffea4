//! Writes large request bodies to temporary files, on a thread of its own: a slow disk never holds up the loop.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use crate::crew::Crew;

/// A piece of a body that is to be written.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) token: usize,
    /// `None`: the file has to be made first.
    pub(crate) file: Option<File>,
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) token: usize,
    pub(crate) file: io::Result<File>,
}

/// The way to the spool's thread, which is made with the first job and ends with the loop.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    crew: Weak<Crew>,
    jobs: Option<Sender<Job>>,
}

impl Spool {
    pub(crate) fn new(folder: PathBuf, crew: Weak<Crew>) -> Self {
        Self { folder, crew, jobs: None }
    }

    /// Hands a piece over; the answer comes through the crew.
    pub(crate) fn hand(&mut self, job: Job) -> io::Result<()> {
        if self.jobs.is_none() {
            let (sender, receiver) = channel();
            let (folder, crew) = (self.folder.clone(), Weak::clone(&self.crew));
            let run = move || {
                // Signals are for the main thread; where that cannot be, one of them ends up here as it would without
                // us.
                let _ = stdserve_sys::signals::block_for_crew();
                work(&folder, &crew, &receiver);
            };
            thread::Builder::new().name("stdserve-spool".to_owned()).spawn(run)?;
            self.jobs = Some(sender);
        }
        match &self.jobs {
            Some(jobs) => jobs.send(job).map_err(|_| io::ErrorKind::BrokenPipe.into()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

fn work(folder: &std::path::Path, crew: &Weak<Crew>, jobs: &Receiver<Job>) {
    for job in jobs {
        let file = job.file.map_or_else(|| stdserve_sys::tempfile::unlinked(folder), Ok);
        let file = file.and_then(|file| file.write_all_at(&job.data, job.offset).map(|()| file));
        // Freed before the loop hears of it, so that the budget tells the truth.
        drop(job.data);
        let Some(crew) = crew.upgrade() else { return };
        crew.spooled(Spooled { token: job.token, file });
    }
}
