//! Who is in the application, and since when: what takes too long. Time comes from outside.
//!
//! A request costs a store when it begins and one when it ends. The seats are looked at only when the earliest moment
//! has come at which one of them may be late; as requests end in the meantime, that moment is mostly found to have
//! moved on.

use std::time::{Duration, Instant};

use super::baton::Member;
use crate::service::Timing;

/// How long a request may take before something is done about it; `None`: for ever.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// It is ended.
    pub(crate) timeout: Option<Duration>,
    /// It is told of.
    pub(crate) slow: Option<Duration>,
    /// All threads have been inside for so long: that is told.
    pub(crate) stuck: Option<Duration>,
}

impl Limits {
    fn least(&self) -> Option<Duration> {
        [self.timeout, self.slow, self.stuck].into_iter().flatten().min()
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// This one is slow.
    Slow(Member),
    /// This one's time is over.
    TimedOut(Member),
    /// All threads are inside, and none has come out for long.
    AllStuck,
}

/// A thread in the application. `W`: what it is doing there.
#[derive(Debug)]
pub(crate) struct Seat<W> {
    pub(crate) what: W,
    pub(crate) started: Instant,
    timing: Timing,
    told_slow: bool,
    timed_out: bool,
    /// Its answer had begun when its time was over, and was cut off.
    cut: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch<W> {
    limits: Limits,
    least: Option<Duration>,
    /// How many requests may be in the application at once.
    threads: usize,
    seats: Vec<Option<Seat<W>>>,
    /// Nothing can be late before.
    look_at: Option<Instant>,
    /// That all are stuck was told, and none has come out since.
    told_stuck: bool,
}

impl<W> Seat<W> {
    /// Whether its answer was cut off.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }
}

impl<W> Watch<W> {
    pub(crate) fn new(limits: Limits, threads: usize) -> Self {
        let least = limits.least();
        Self { limits, least, threads, seats: Vec::new(), look_at: None, told_stuck: false }
    }

    /// A thread begins something.
    pub(crate) fn begin(&mut self, member: Member, what: W, timing: Timing, now: Instant) {
        let place = usize::from(member);
        if self.seats.len() <= place {
            self.seats.resize_with(place + 1, || None);
        }
        self.seats[place] =
            Some(Seat { what, started: now, timing, told_slow: false, timed_out: false, cut: false });
        if let Some(at) = self.least.and_then(|least| now.checked_add(least))
            && self.look_at.is_none_or(|before| at < before)
        {
            self.look_at = Some(at);
        }
    }

    /// A thread is through with what it began, if it began anything.
    pub(crate) fn end(&mut self, member: Member) {
        if let Some(seat) = self.seats.get_mut(usize::from(member))
            && seat.take().is_some()
        {
            self.told_stuck = false;
        }
    }

    /// What a thread is doing.
    pub(crate) fn seat(&self, member: Member) -> Option<&Seat<W>> {
        self.seats.get(usize::from(member))?.as_ref()
    }

    /// Notes that the answer of what a thread is doing was cut off.
    pub(crate) fn cut(&mut self, member: Member) {
        if let Some(seat) = self.seats.get_mut(usize::from(member)).and_then(Option::as_mut) {
            seat.cut = true;
        }
    }

    /// All that is done now, in the order of the threads.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Member, &Seat<W>)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(member, seat)| Some((member as Member, seat.as_ref()?)))
    }

    /// How long until somebody may be late.
    pub(crate) fn until_next(&self, now: Instant) -> Option<Duration> {
        Some(self.look_at?.saturating_duration_since(now))
    }

    /// What has become late since the last look; each is told once.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.look_at.is_none_or(|at| at > now) {
            return found;
        }
        let mut next = None;
        let mut later =
            |started: Instant, limit: Option<Duration>| match limit.map(|limit| started.checked_add(limit)) {
                Some(Some(at)) if at <= now => true,
                Some(Some(at)) => {
                    next = Some(next.map_or(at, |next: Instant| next.min(at)));
                    false
                }
                _ => false,
            };
        let (mut requests, mut youngest) = (0, None);
        for (member, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat else { continue };
            if seat.timing == Timing::Own {
                continue;
            }
            if !seat.timed_out && later(seat.started, self.limits.timeout) {
                seat.timed_out = true;
                seat.told_slow = true;
                found.push(Finding::TimedOut(member as Member));
            }
            if seat.timing == Timing::Request {
                requests += 1;
                youngest = youngest.max(Some(seat.started));
                if !seat.told_slow && later(seat.started, self.limits.slow) {
                    seat.told_slow = true;
                    found.push(Finding::Slow(member as Member));
                }
            }
        }
        if requests >= self.threads
            && !self.told_stuck
            && let Some(youngest) = youngest
            && later(youngest, self.limits.stuck)
        {
            self.told_stuck = true;
            found.push(Finding::AllStuck);
        }
        self.look_at = next;
        found
    }

    /// How many threads are in a request whose time was over `grace` ago: nobody waits for them any more.
    pub(crate) fn given_up(&self, grace: Duration, now: Instant) -> usize {
        let Some(timeout) = self.limits.timeout else { return 0 };
        let over = timeout.saturating_add(grace);
        let is_over = |seat: &Seat<W>| seat.timed_out && now.saturating_duration_since(seat.started) >= over;
        self.all().filter(|(_, seat)| is_over(seat)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const LIMITS: Limits = Limits {
        timeout: Some(Duration::from_secs(10)),
        slow: Some(Duration::from_secs(3)),
        stuck: Some(Duration::from_secs(6)),
    };

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_request_is_slow_once_and_times_out_once() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMITS, 2);
        watch.begin(1, "a", Timing::Request, start);
        assert_eq!(watch.until_next(start), Some(Duration::from_secs(3)));
        assert_eq!(watch.look(after(start, 2)), []);
        assert_eq!(watch.look(after(start, 3)), [Finding::Slow(1)]);
        assert_eq!(watch.look(after(start, 4)), []);
        assert_eq!(watch.look(after(start, 10)), [Finding::TimedOut(1)]);
        assert_eq!(watch.until_next(start), None);
        assert_eq!(watch.given_up(Duration::from_secs(1), after(start, 10)), 0);
        assert_eq!(watch.given_up(Duration::from_secs(1), after(start, 11)), 1);
        watch.end(1);
        assert_eq!(watch.given_up(Duration::from_secs(1), after(start, 11)), 0);
    }

    #[test]
    fn a_request_that_is_late_for_both_is_told_of_once() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMITS, 2);
        watch.begin(0, "a", Timing::Request, start);
        assert_eq!(watch.look(after(start, 20)), [Finding::TimedOut(0)]);
    }

    #[test]
    fn that_all_threads_are_stuck_is_told_once_until_one_comes_out() {
        let start = Instant::now();
        let mut watch = Watch::new(Limits { timeout: None, slow: None, ..LIMITS }, 2);
        watch.begin(0, "a", Timing::Request, start);
        assert_eq!(watch.look(after(start, 7)), []);
        watch.begin(1, "b", Timing::Request, after(start, 7));
        assert_eq!(watch.look(after(start, 12)), []);
        assert_eq!(watch.look(after(start, 13)), [Finding::AllStuck]);
        assert_eq!(watch.look(after(start, 30)), []);
        watch.end(1);
        watch.begin(1, "c", Timing::Request, after(start, 31));
        assert_eq!(watch.look(after(start, 37)), [Finding::AllStuck]);
    }

    #[test]
    fn a_session_may_last_and_what_has_times_of_its_own_is_let_be() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMITS, 2);
        watch.begin(0, "session", Timing::Session, start);
        watch.begin(1, "script", Timing::Own, start);
        assert_eq!(watch.look(after(start, 9)), []);
        assert_eq!(watch.look(after(start, 99)), [Finding::TimedOut(0)]);
    }

    proptest! {
        /// However requests begin and end, whoever looks when it is told to finds each late one in time, once, and no
        /// other.
        #[test]
        fn whoever_looks_in_time_finds_each_late_one_once(
            steps in proptest::collection::vec((0_u16..4, 0_u64..9), 1..120),
        ) {
            let mut now = Instant::now();
            let mut watch = Watch::new(Limits { stuck: None, ..LIMITS }, 4);
            let mut running: HashMap<Member, (u32, Instant)> = HashMap::new();
            let mut found: HashMap<u32, Vec<(bool, Duration)>> = HashMap::new();
            let mut lasted: HashMap<u32, Duration> = HashMap::new();
            let mut number = 0;
            for (member, pause) in steps {
                let until = now + Duration::from_secs(pause);
                while let Some(wait) = watch.until_next(now).filter(|wait| now + *wait <= until) {
                    now += wait;
                    for finding in watch.look(now) {
                        let (who, out) = match finding {
                            Finding::Slow(who) => (who, false),
                            Finding::TimedOut(who) => (who, true),
                            Finding::AllStuck => unreachable!(),
                        };
                        let (id, since) = running[&who];
                        found.entry(id).or_default().push((out, now - since));
                    }
                }
                now = until;
                if let Some((id, since)) = running.remove(&member) {
                    lasted.insert(id, now - since);
                    watch.end(member);
                } else {
                    number += 1;
                    running.insert(member, (number, now));
                    watch.begin(member, number, Timing::Request, now);
                }
            }
            for (id, lasted) in lasted {
                let mut expected = Vec::new();
                if lasted >= Duration::from_secs(3) {
                    expected.push((false, Duration::from_secs(3)));
                }
                if lasted >= Duration::from_secs(10) {
                    expected.push((true, Duration::from_secs(10)));
                }
                prop_assert_eq!(found.remove(&id).unwrap_or_default(), expected);
            }
        }
    }
}
