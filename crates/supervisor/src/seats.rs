//! The other ends: what a template and a worker hold to speak with the supervisor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use stdserve_sys::channel::Channel;
use stdserve_sys::process::{self, Fork, ForkHooks, NoHooks, Others, Pid};

use crate::messages::{FromTemplate, FromWorker, Notice, ToTemplate, ToWorker};

/// What a template does besides forking.
pub trait Nursery {
    /// What the host language does around a fork.
    fn hooks(&mut self) -> &mut dyn ForkHooks;

    /// Whether threads that are left behind are no reason not to fork.
    fn leaves_threads(&self) -> bool {
        false
    }

    /// A worker is about to be forked.
    fn forking(&mut self, worker: u64) {
        let _ = worker;
    }

    /// In the template: a worker was forked.
    fn forked(&mut self, worker: u64, pid: Pid) {
        let _ = (worker, pid);
    }

    /// Something has happened.
    fn told(&mut self, notice: Notice) {
        let _ = notice;
    }
}

impl Nursery for NoHooks {
    fn hooks(&mut self) -> &mut dyn ForkHooks {
        self
    }
}

/// A template's place: its channel to the supervisor.
#[derive(Debug)]
pub struct TemplateSeat {
    /// The group, by its place in the plan.
    pub group: usize,
    /// Which load of the application is to be made.
    pub generation: u64,
    /// The supervisor, which will be the workers' parent.
    pub supervisor: Pid,
    pub(crate) channel: Channel,
}

impl TemplateSeat {
    /// Says that the application could not be loaded, and why. The process ends with
    /// [code 4](crate::exit_code::APPLICATION) afterwards.
    pub fn load_failed(&self, why: &str) -> io::Result<()> {
        self.channel.send(&FromTemplate::LoadFailed(why.to_owned()).encode(), None)
    }

    /// Forks workers as the supervisor asks for them, until it closes the channel. Returns `None` then, and in each
    /// worker that worker's own seat; everything of the template's is closed there.
    ///
    /// The process has one thread; where it has more, and `nursery` minds, nothing is forked and the supervisor is told
    /// why.
    pub fn serve(self, nursery: &mut dyn Nursery) -> io::Result<Option<WorkerSeat>> {
        self.channel.send(&FromTemplate::Ready.encode(), None)?;
        while let Some(message) = self.channel.receive()? {
            let (worker, slot, generation, lifeline) =
                match (ToTemplate::decode(&message.bytes), message.descriptor) {
                    (Some(ToTemplate::Spawn { worker, slot, generation }), Some(lifeline)) => {
                        (worker, slot, generation, lifeline)
                    }
                    (Some(ToTemplate::Told(notice)), None) => {
                        nursery.told(notice);
                        continue;
                    }
                    _ => return Err(io::ErrorKind::InvalidData.into()),
                };
            nursery.forking(worker);
            let announce = |pid| self.channel.send(&FromTemplate::Forked { worker, pid }.encode(), None);
            let others = if nursery.leaves_threads() { Others::Left } else { Others::Refused };
            match process::fork_reparented(nursery.hooks(), others, announce) {
                Ok(Fork::Child) => {
                    let (channel, supervisor) = (Channel::from(lifeline), self.supervisor);
                    return Ok(Some(WorkerSeat {
                        worker,
                        slot: slot as usize,
                        generation,
                        supervisor,
                        channel,
                    }));
                }
                Ok(Fork::Parent(pid)) => nursery.forked(worker, pid),
                Err(error) => {
                    let reason = error.to_string();
                    self.channel.send(&FromTemplate::ForkFailed { worker, reason }.encode(), None)?;
                }
            }
        }
        Ok(None)
    }
}

/// A worker's place: its channel to the supervisor, which is its lifeline too.
#[derive(Debug)]
pub struct WorkerSeat {
    /// The supervisor's name for this worker.
    pub worker: u64,
    /// Its row of the scoreboard.
    pub slot: usize,
    /// Which load of the application it serves.
    pub generation: u64,
    /// The supervisor.
    pub supervisor: Pid,
    channel: Channel,
}

impl WorkerSeat {
    /// Says that this worker accepts connections.
    pub fn ready(&self) -> io::Result<()> {
        self.channel.send(&FromWorker::Ready.encode(), None)
    }

    /// Says that the application could not be loaded, and why. The process ends with
    /// [code 4](crate::exit_code::APPLICATION) afterwards.
    pub fn load_failed(&self, why: &str) -> io::Result<()> {
        self.channel.send(&FromWorker::LoadFailed(why.to_owned()).encode(), None)
    }

    /// Asks to be replaced, and says why: see [`FromWorker::Retire`].
    pub fn retire(&self, why: &str) -> io::Result<()> {
        self.channel.send(&FromWorker::Retire(why.to_owned()).encode(), None)
    }

    /// Says what its threads do: see [`FromWorker::Autopsy`].
    pub fn autopsy(&self, text: &str) -> io::Result<()> {
        self.channel.send(&FromWorker::Autopsy(text.to_owned()).encode(), None)
    }

    /// Says that files have changed, `configuration` files among them or not; `what` names them and their state.
    pub fn changed(&self, configuration: bool, what: &str) -> io::Result<()> {
        let what = what.to_owned();
        self.channel.send(&FromWorker::Changed { configuration, what }.encode(), None)
    }

    /// What the supervisor orders, if anything; does not wait. The end of the lifeline is `Err(UnexpectedEof)`.
    pub fn order(&self) -> io::Result<Option<ToWorker>> {
        loop {
            match self.channel.try_receive() {
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
                Ok(Some(message)) => {
                    // A message of a kind that this worker does not know is no reason to stop serving.
                    if let Some(order) = ToWorker::decode(&message.bytes) {
                        return Ok(Some(order));
                    }
                }
            }
        }
    }
}

impl AsFd for WorkerSeat {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl AsRawFd for WorkerSeat {
    /// Readable when there is an order, or the lifeline has ended.
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_raw_fd()
    }
}
