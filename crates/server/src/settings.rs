//! What a server is told: plain values, each with its unit and default.

use std::path::PathBuf;
use std::time::Duration;

use stdserve_proto::forwarded::Trust;
use stdserve_proto::h1::HeadLimits;

use crate::request_id::RequestIds;

/// How long each thing may take. A client that takes longer is answered 408 where that can be, and closed.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From the first byte of a request, or from accepting, to the end of its head. 30 s.
    pub head: Duration,
    /// From one answer to the first byte of the next request. 5 s.
    pub keep_alive: Duration,
    /// A body must bring `body_rate` bytes a second, judged over each such period. 10 s.
    pub body_period: Duration,
    /// The least rate of a body, in bytes a second; 0: any. 240.
    pub body_rate: u64,
    /// How long a client may take nothing of an answer. 30 s.
    pub write: Duration,
    /// How long after a refusal what the client still sends is read and thrown away. 2 s.
    pub linger: Duration,
    /// How long a request waits for a free thread before it is answered 503. 30 s.
    pub queue: Duration,
    /// How long an idle kept-alive connection is kept when draining, so that a request under way is not cut. 1 s.
    pub drain_idle: Duration,
}

impl Timeouts {
    /// The bytes that a body must bring in each period.
    pub(crate) fn least_of_body(&self) -> u64 {
        ((self.body_rate as f64 * self.body_period.as_secs_f64()) as u64).max(1)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            body_period: Duration::from_secs(10),
            body_rate: 240,
            write: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            queue: Duration::from_secs(30),
            drain_idle: Duration::from_secs(1),
        }
    }
}

/// How long a request may be in the application before something is done about it. Times count from when a thread
/// takes the request; zero: for ever.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    /// Its client is told 504, or is cut off where the answer has begun, and a [`Coroner`](crate::Coroner) is told.
    /// What the service answers later reaches nobody. Zero.
    pub timeout: Duration,
    /// A [`Coroner`](crate::Coroner) is told; nothing else happens. Zero.
    pub slow: Duration,
    /// All threads have been inside for so long: a [`Coroner`](crate::Coroner) is told. Zero.
    pub stuck: Duration,
}

/// How requests wait for a thread.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    /// How many may wait while no thread is free; more are answered 503 at once. `None`: as many as there are
    /// connections.
    pub size: Option<usize>,
    /// In an overload the newest request is taken first: its client is the likeliest to wait still. No.
    pub newest_first: bool,
}

/// How much is run back to back before what is complete is written.
#[derive(Debug, Clone)]
pub struct CohortLimits {
    /// Requests. 64.
    pub requests: usize,
    /// Time, when no other thread is in the application. 4 ms.
    pub alone: Duration,
    /// Time, when others are. 1 ms.
    pub shared: Duration,
}

impl Default for CohortLimits {
    fn default() -> Self {
        Self { requests: 64, alone: Duration::from_millis(4), shared: Duration::from_millis(1) }
    }
}

/// All that a server is told. `Settings::default()` is fit for the open network.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bounds on a request's head.
    pub head: HeadLimits,
    /// The largest body in bytes; a larger one is refused with 413 before it is read. 1 GiB.
    pub max_body: u64,
    /// How much of a body is kept in memory, in bytes; the rest goes to a temporary file. 1 MiB.
    pub body_buffer: usize,
    /// Bound on all buffers of the server together, in bytes. 256 MiB.
    pub buffer_total: usize,
    /// How much of one answer is kept for a client that is slower than the application, in bytes. 16 MiB.
    pub response_buffer: usize,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How many requests may be in the application at once. 16.
    pub threads: usize,
    /// How many connections are held; past it no more are accepted until one ends. 15,000.
    pub connections: usize,
    /// How many requests may run or wait; past it the answer is 503. No limit.
    pub concurrency: Option<usize>,
    /// A client that has closed its sending half is treated as gone: its request is not run. No.
    pub half_close_is_gone: bool,
    /// From whom forwarded headers are believed.
    pub trust: Trust,
    /// The `Server` header, unless the application sets one. `stdserve`.
    pub server_name: Option<String>,
    /// Keep each answer's head for the [`Record`](crate::Record) of its exchange. No.
    pub record_answer: bool,
    /// Where a request head is refused, the service gets the connection as a [`Session`](crate::Session), with what was
    /// read of the head, in place of an answer of the engine's. For services that understand more than the engine. No.
    pub hand_over_refused: bool,
    /// Where temporary files stand. The system's folder for them.
    pub temporary: PathBuf,
    /// Bounds on a cohort.
    pub cohort: CohortLimits,
    /// How requests wait for a thread.
    pub queue: Queue,
    /// How long a request may be in the application.
    pub deadlines: Deadlines,
    /// Where the ids of requests come from.
    pub request_ids: RequestIds,
    /// The field in which an answer tells the request's id, unless the application sets one; a valid field name. None.
    /// Not in answers that are sent as they are.
    pub request_id_field: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            max_body: 1 << 30,
            body_buffer: 1 << 20,
            buffer_total: 256 << 20,
            response_buffer: 16 << 20,
            timeouts: Timeouts::default(),
            threads: 16,
            connections: 15_000,
            concurrency: None,
            half_close_is_gone: false,
            trust: Trust::default(),
            server_name: Some("stdserve".to_owned()),
            record_answer: false,
            hand_over_refused: false,
            temporary: std::env::temp_dir(),
            cohort: CohortLimits::default(),
            queue: Queue::default(),
            deadlines: Deadlines::default(),
            request_ids: RequestIds::new(Trust::default()),
            request_id_field: None,
        }
    }
}
