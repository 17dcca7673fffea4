//! The loop around the machine: signals, children and messages become events, actions become system calls.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::time::{Instant, SystemTime};

use stdserve_sys::channel::Channel;
use stdserve_sys::poller::Poller;
use stdserve_sys::process::{self, Fork, ForkError, Pid};
use stdserve_sys::scoreboard::{self, Scoreboard};
use stdserve_sys::signals::{self, SignalReader};

use crate::autopsy::Autopsies;
use crate::figures::Figures;
use crate::host::{Host, tell_host};
use crate::journal::Journal;
use crate::machine::{
    Action, Event, GroupPlan, Level, Loader, Machine, Policy, Signal, StopHow, TemplateId, WorkerId,
};
use crate::measure::Measure;
use crate::messages::{FromStarted, FromTemplate, FromWorker, Notice, ToTemplate, ToWorker};
use crate::nurses::Nurses;
use crate::plane::{Order, Plane, View};
use crate::seats::TemplateSeat;

const HANDLED: [i32; 10] = [
    signals::SIGCHLD,
    signals::SIGTERM,
    signals::SIGINT,
    signals::SIGQUIT,
    signals::SIGHUP,
    signals::SIGUSR1,
    signals::SIGUSR2,
    signals::SIGTTIN,
    signals::SIGTTOU,
    signals::SIGWINCH,
];

const SIGNALS: usize = 0;

/// Who is at the other end of a channel. Templates and workers take their numbers from one counter, so that a number
/// is a token of the poller too.
#[derive(Debug)]
enum Peer {
    Template(TemplateId),
    Worker(WorkerId),
    /// The server that is to take this one's place.
    Successor,
    /// The server whose place this one takes.
    Predecessor,
}

/// The tokens of the two: those of templates and workers are counted from 1 and never come so far, the plane's are
/// above.
const SUCCESSOR: usize = (1 << 40) - 1;
const PREDECESSOR: usize = (1 << 40) - 2;

struct Runner<'a> {
    machine: Machine,
    signals: SignalReader,
    poller: Poller,
    channels: HashMap<usize, (Peer, Channel)>,
    scoreboard: &'a Scoreboard,
    /// Whose end was seen in this round, and may not have been told to the machine yet.
    reaped: Vec<Pid>,
    nurses: Nurses,
    limits: Measure,
    plane: Option<Plane>,
    journal: Journal,
    autopsies: Autopsies,
    figures: Figures,
    began: Instant,
    /// The level of the log, where an operator has set one.
    log_level: Option<u8>,
}

/// Runs until everything has ended; returns the exit code. The process must have one thread, and becomes the parent
/// of whatever its descendants leave behind.
pub fn run(
    plans: &[GroupPlan],
    policy: Policy,
    scoreboard: &Scoreboard,
    host: &mut dyn Host,
) -> io::Result<i32> {
    process::become_subreaper()?;
    let signals = SignalReader::new(&HANDLED)?;
    let poller = Poller::new(64)?;
    poller.add_readable(&signals, SIGNALS)?;
    let plane = host.plane();
    if let Some(plane) = &plane {
        plane.watch(&poller)?;
    }
    let mut runner = Runner {
        machine: Machine::new(plans, policy),
        signals,
        poller,
        channels: HashMap::new(),
        scoreboard,
        reaped: Vec::new(),
        nurses: Nurses::new(plans),
        limits: Measure::default(),
        plane,
        journal: Journal::default(),
        autopsies: Autopsies::default(),
        figures: Figures::new(scoreboard.rows().len(), SystemTime::now(), scoreboard::now()),
        began: Instant::now(),
        log_level: None,
    };
    if let Some(channel) = host.predecessor() {
        runner.open(PREDECESSOR as u64, Peer::Predecessor, channel)?;
    }
    let mut events = vec![Event::Start];
    loop {
        for event in std::mem::take(&mut events) {
            let reloads =
                matches!(event, Event::Reconfigure | Event::Reload(_) | Event::Signal(Signal::Hangup));
            let actions = runner.handle(event);
            if reloads && !runner.machine.report().draining {
                host.reloading();
            }
            for action in actions {
                if let Action::Exit(code) = action {
                    return Ok(code);
                }
                let Some(answer) = runner.carry_out(action, host) else { continue };
                match answer {
                    Answer::Event(event) => events.push(event),
                    Answer::Child(seat) => {
                        // The child's copies of everything that is the supervisor's.
                        drop(runner);
                        // A mask that is valid is always taken.
                        let _ = signals::unblock_all();
                        host.template(seat);
                    }
                }
            }
        }
        if events.is_empty() {
            let due = host.turn(&runner.machine, Instant::now());
            events = runner.wait(due)?;
            runner.read_autopsies(host);
            runner.serve_plane(&mut events, host);
        }
    }
}

enum Answer {
    Event(Event),
    Child(TemplateSeat),
}

impl Runner<'_> {
    /// Has the machine decide, and tells the templates where a group is to have another number of workers.
    fn handle(&mut self, event: Event) -> Vec<Action> {
        let scales = matches!(
            event,
            Event::Scale { .. } | Event::Signal(Signal::TtyIn | Signal::TtyOut) | Event::WorkerReady(_)
        );
        let before = scales.then(|| self.machine.report());
        let actions = self.machine.handle(event, Instant::now());
        let Some(before) = before else { return actions };
        for (index, (old, new)) in before.groups.iter().zip(self.machine.report().groups).enumerate() {
            if old.wanted != new.wanted
                && let Some(template) = self.nurses.template(index)
            {
                let (before, now) = (old.wanted as u64, new.wanted as u64);
                self.tell_template(template, Notice::Workers { before, now });
            }
        }
        actions
    }

    fn carry_out(&mut self, action: Action, host: &mut dyn Host) -> Option<Answer> {
        match action {
            Action::ForkTemplate { group, template, generation } => {
                Some(match self.fork_template(group, template, generation, host) {
                    Ok(answer) => answer,
                    Err(error) => {
                        Answer::Event(Event::TemplateForkFailed { template, reason: error.to_string() })
                    }
                })
            }
            Action::CloseListeners => {
                host.close_listeners();
                for (peer, channel) in self.channels.values() {
                    if matches!(peer, Peer::Template(_)) {
                        let _ = channel.send(&ToTemplate::Told(Notice::Ending).encode(), None);
                    }
                }
                None
            }
            Action::CloseTemplate(template) => {
                if let Some((_, channel)) = self.channels.get(&(template.0 as usize)) {
                    // What it says until its end is still read. An error means that it has ended.
                    let _ = channel.end_sending();
                }
                None
            }
            Action::Spawn { template, worker, slot, generation } => {
                let error = self.spawn(template, worker, slot, generation).err()?;
                Some(Answer::Event(Event::WorkerForkFailed { worker, reason: error.to_string() }))
            }
            Action::Stop { worker, pid, how } => {
                self.stop(worker, pid, how);
                None
            }
            Action::Terminate(pid) => {
                self.signal(pid, signals::SIGTERM);
                None
            }
            Action::Kill(pid) => {
                self.signal(pid, signals::SIGKILL);
                None
            }
            Action::Forget { worker, slot } => {
                self.close(worker.0);
                if let Some((template, pid)) = self.nurses.ended(worker) {
                    self.tell_template(template, Notice::WorkerEnded { worker: worker.0, pid });
                }
                if let Some(row) = self.scoreboard.row(slot) {
                    self.figures.ended(slot, row);
                    row.clear();
                }
                None
            }
            Action::Tell { worker, message } => {
                if let Some((_, channel)) = self.channels.get(&(worker.0 as usize)) {
                    // One that does not read has its channel full, or closed.
                    let _ = channel.send(&message.encode(), None);
                }
                None
            }
            Action::Reopen => {
                self.reopen(host);
                None
            }
            Action::Log(level, text) => {
                host.log(level, &text);
                self.journal.line(level, &text, SystemTime::now());
                None
            }
            Action::Autopsy { worker, pid } => {
                if self.autopsies.ask(worker, pid, self.scoreboard, Instant::now()) {
                    self.signal(pid, signals::autopsy());
                }
                None
            }
            Action::Configure => {
                let event = match host.configure() {
                    Ok(settings) => Event::Configured(settings),
                    Err(why) => Event::ConfigureFailed(why),
                };
                if let Some(rank) = self.log_level {
                    host.set_log_level(rank);
                }
                Some(Answer::Event(event))
            }
            Action::Execute => Some(Answer::Event(match self.execute(host) {
                Ok(pid) => Event::SuccessorExecuted(pid),
                Err(error) => Event::SuccessorFailed(error.to_string()),
            })),
            other => {
                match (&other, &mut self.plane) {
                    (Action::HandOver, Some(plane)) => plane.leave_files(),
                    (Action::Inherit, Some(plane)) => plane.claim(),
                    _ => {}
                }
                tell_host(&other, host);
                None
            }
        }
    }

    fn fork_template(
        &mut self,
        group: usize,
        template: TemplateId,
        generation: u64,
        host: &mut dyn Host,
    ) -> Result<Answer, ForkError> {
        let (ours, theirs) = Channel::pair()?;
        let supervisor = Pid::this();
        match host.fork()? {
            Fork::Child => {
                drop(ours);
                Ok(Answer::Child(TemplateSeat { group, generation, supervisor, channel: theirs }))
            }
            Fork::Parent(pid) => {
                drop(theirs);
                self.open(template.0, Peer::Template(template), ours)?;
                Ok(Answer::Event(Event::TemplateForked { template, pid }))
            }
        }
    }

    /// Executes a new server beside this one, and listens to it.
    fn execute(&mut self, host: &mut dyn Host) -> io::Result<Pid> {
        for template in self.nurses.templates() {
            self.tell_template(template, Notice::Upgrading);
        }
        let (ours, theirs) = Channel::pair()?;
        let listeners: Vec<_> = self.plane.iter().flat_map(Plane::shareable).collect();
        let pid = host.execute(theirs.as_fd(), &listeners)?;
        // One that has ended, and was not heard to the end, may be there still.
        self.close(SUCCESSOR as u64);
        self.open(SUCCESSOR as u64, Peer::Successor, ours)?;
        Ok(pid)
    }

    fn spawn(
        &mut self,
        template: TemplateId,
        worker: WorkerId,
        slot: usize,
        generation: u64,
    ) -> io::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let order = ToTemplate::Spawn { worker: worker.0, slot: slot as u64, generation };
        let (_, channel) = self.channels.get(&(template.0 as usize)).ok_or(io::ErrorKind::BrokenPipe)?;
        channel.send(&order.encode(), Some(theirs.as_fd()))?;
        self.nurses.asked(template, worker, slot);
        self.open(worker.0, Peer::Worker(worker), ours)
    }

    /// Tells a template what it may want to know. One that does not read misses it.
    fn tell_template(&self, template: TemplateId, notice: Notice) {
        if let Some((_, channel)) = self.channels.get(&(template.0 as usize)) {
            let _ = channel.send(&ToTemplate::Told(notice).encode(), None);
        }
    }

    /// Opens the log files again, here and in the templates. Workers are told one by one.
    fn reopen(&self, host: &mut dyn Host) {
        host.reopen();
        for (peer, _) in self.channels.values() {
            if let Peer::Template(template) = peer {
                self.tell_template(*template, Notice::Reopen);
            }
        }
    }

    fn stop(&mut self, worker: WorkerId, pid: Pid, how: StopHow) {
        let order = match how {
            StopHow::Graceful { within } => ToWorker::Drain(within),
            StopHow::Now => ToWorker::StopNow,
        };
        let told =
            self.channels.get(&(worker.0 as usize)).map(|(_, channel)| channel.send(&order.encode(), None));
        if !matches!(told, Some(Ok(()))) {
            // Its application has closed the channel, or it does not read: SIGTERM is what is left.
            self.signal(pid, signals::SIGTERM);
        }
    }

    /// A child that is not reaped keeps its number; one that is just reaped may have lost it to somebody else.
    fn signal(&self, pid: Pid, signal: i32) {
        if !self.reaped.contains(&pid) {
            let _ = process::kill(pid, signal);
        }
    }

    fn open(&mut self, number: u64, peer: Peer, channel: Channel) -> io::Result<()> {
        self.poller.add_readable(&channel, number as usize)?;
        self.channels.insert(number as usize, (peer, channel));
        Ok(())
    }

    fn close(&mut self, number: u64) {
        if let Some((_, channel)) = self.channels.remove(&(number as usize)) {
            // A child may hold a copy, so that closing alone would not take it out of the poller.
            let _ = self.poller.remove(&channel);
        }
    }

    /// Waits for something to happen, until `due` at the latest.
    fn wait(&mut self, due: Option<Instant>) -> io::Result<Vec<Event>> {
        let now = Instant::now();
        let plane = self.plane.as_ref().map(|plane| plane.deadline(now));
        let others = [plane, self.autopsies.deadline(), self.limits.deadline(&self.machine, now), due];
        let deadline = self.machine.deadline().into_iter().chain(others.into_iter().flatten()).min();
        self.poller.wait(deadline.map(|deadline| deadline.saturating_duration_since(now)))?;
        let (mut events, mut upgrades) = (Vec::new(), Vec::new());
        while let Some(signal) = self.signals.next() {
            match signal {
                signals::SIGCHLD => {}
                signals::SIGTERM => events.push(Event::Signal(Signal::Terminate)),
                signals::SIGINT => events.push(Event::Signal(Signal::Interrupt)),
                signals::SIGQUIT => events.push(Event::Signal(Signal::Quit)),
                signals::SIGHUP => events.push(Event::Signal(Signal::Hangup)),
                signals::SIGUSR1 => events.push(Event::Signal(Signal::User1)),
                // After the ends that have come together with it: the new server before the next may be among them.
                signals::SIGUSR2 => upgrades.push(Event::Signal(Signal::User2)),
                signals::SIGTTIN => events.push(Event::Signal(Signal::TtyIn)),
                signals::SIGTTOU => events.push(Event::Signal(Signal::TtyOut)),
                signals::SIGWINCH => events.push(Event::Signal(Signal::Winch)),
                other => events.push(Event::Signal(Signal::Other(other))),
            }
        }
        // A worker speaks only after its template has announced it, and ends after it has spoken. So they are asked in
        // the order ends, workers, templates, and what was found is told in the opposite one.
        let ended = process::reap();
        self.reaped = ended.iter().map(|(pid, _)| *pid).collect();
        let (templates, workers): (Vec<usize>, Vec<usize>) =
            self.channels.keys().partition(|number| matches!(self.channels[number].0, Peer::Template(_)));
        let mut said = Vec::new();
        for number in workers {
            self.read(number, &mut said);
        }
        for number in templates {
            self.read(number, &mut events);
        }
        events.extend(said);
        events.extend(self.limits.look(&self.machine, self.scoreboard, &mut self.figures, Instant::now()));
        events.extend(ended.into_iter().map(|(pid, exit)| Event::ProcessEnded { pid, exit }));
        events.extend(upgrades);
        events.push(Event::Tick);
        Ok(events)
    }

    /// Autopsies that were asked for by signal go where those go that workers send.
    fn read_autopsies(&mut self, host: &mut dyn Host) {
        for (worker, pid, text) in self.autopsies.take(self.scoreboard, Instant::now()) {
            host.log(Level::Error, &text);
            self.journal.autopsy(worker, Some(pid), &text, SystemTime::now());
        }
    }

    /// The plane answers, and what is ordered there becomes events and actions.
    fn serve_plane(&mut self, events: &mut Vec<Event>, host: &mut dyn Host) {
        let Some(plane) = &mut self.plane else { return };
        let ready: Vec<_> = self.poller.ready().filter(|ready| Plane::owns(ready.token)).collect();
        let now = Instant::now();
        let view = View {
            report: &self.machine.report(),
            board: self.scoreboard,
            journal: &self.journal,
            figures: &self.figures,
            began: self.began,
            now,
            clock: scoreboard::now(),
            options: &|| host.options(),
        };
        for order in plane.serve(&ready, &self.poller, &view, now) {
            match order {
                Order::Event(event) => events.push(event),
                Order::Act(action) => {
                    // Of these none is answered by an event.
                    self.carry_out(action, host);
                }
                Order::LogLevel(rank) => {
                    self.log_level = Some(rank);
                    host.set_log_level(rank);
                    let workers = self.channels.values().filter(|(peer, _)| matches!(peer, Peer::Worker(_)));
                    for (_, channel) in workers {
                        let _ = channel.send(&ToWorker::LogLevel(rank).encode(), None);
                    }
                }
            }
        }
    }

    fn read(&mut self, number: usize, events: &mut Vec<Event>) {
        while let Some((peer, channel)) = self.channels.get(&number) {
            match channel.try_receive() {
                Ok(Some(message)) => events.extend(match *peer {
                    Peer::Template(template) => {
                        let event = from_template(template, &message.bytes);
                        if let Some(Event::WorkerForked { worker, pid }) = event {
                            self.nurses.forked(worker, pid);
                        }
                        event
                    }
                    Peer::Successor => FromStarted::decode(&message.bytes).map(|message| match message {
                        FromStarted::Said(text) => Event::SuccessorSaid(text),
                        FromStarted::Ready => Event::SuccessorReady,
                        // Its exit says so.
                        FromStarted::Ended(_) => Event::Tick,
                    }),
                    // It has nothing to say but that it is there.
                    Peer::Predecessor => None,
                    Peer::Worker(worker) => FromWorker::decode(&message.bytes).map(|message| match message {
                        FromWorker::Ready => {
                            // It has read the options, and knows nothing of what was ordered since.
                            if let Some(rank) = self.log_level {
                                let _ = channel.send(&ToWorker::LogLevel(rank).encode(), None);
                            }
                            Event::WorkerReady(worker)
                        }
                        FromWorker::LoadFailed(why) => Event::LoadFailed { who: Loader::Worker(worker), why },
                        FromWorker::Retire(why) => Event::Retire { worker, why },
                        FromWorker::Changed { configuration, what } => {
                            match self.nurses.changed(worker, &what) {
                                Some(_) if configuration => Event::Reconfigure,
                                Some(group) => Event::Reload(group),
                                // Another worker has said so.
                                None => Event::Tick,
                            }
                        }
                        FromWorker::Autopsy(text) => {
                            let pid = self.machine.pid_of(worker);
                            self.journal.autopsy(worker, pid, &text, SystemTime::now());
                            Event::Tick
                        }
                    }),
                }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The other end is closed: its process ends, or has ended, which is told by its exit.
                Ok(None) | Err(_) => {
                    if matches!(peer, Peer::Predecessor) {
                        events.push(Event::PredecessorEnded);
                    }
                    self.close(number as u64);
                }
            }
        }
    }
}

fn from_template(template: TemplateId, bytes: &[u8]) -> Option<Event> {
    Some(match FromTemplate::decode(bytes)? {
        FromTemplate::Ready => Event::TemplateReady(template),
        FromTemplate::LoadFailed(why) => Event::LoadFailed { who: Loader::Template(template), why },
        FromTemplate::Forked { worker, pid } => Event::WorkerForked { worker: WorkerId(worker), pid },
        FromTemplate::ForkFailed { worker, reason } => {
            Event::WorkerForkFailed { worker: WorkerId(worker), reason }
        }
    })
}
