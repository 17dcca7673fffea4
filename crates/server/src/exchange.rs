//! One request and the right to answer it.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Instant, SystemTime};

use stdserve_proto::forwarded::Origin;
use stdserve_proto::h1::{
    BodyFraming, BodySize, Framing, HeadError, RequestHead, ResponseContext, ResponseEncoder,
};

use stdserve_sys::datagrams;

use crate::body::Body;
use crate::crew::{Crew, Done, End};
use crate::datagram::Received;
use crate::incoming::Passage;
use crate::link::{Link, Sent, Tail};
use crate::request::Request;
use crate::request_id::{RequestId, has_field};
use crate::routes::Route;
use crate::stream::{Gone, Stream};
use crate::transport::Transport;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Ip(SocketAddr),
    /// A process of this machine, over a Unix socket.
    Unix,
}

/// The listener on which a connection came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerInfo {
    /// Its name, empty where none was given.
    pub name: String,
    /// The address that it is bound to; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// The address in words: `127.0.0.1:8000`, `unix:/run/app.sock`.
    pub text: String,
}

impl ListenerInfo {
    /// `info`, or that of no listener at all.
    pub(crate) fn or_none(info: Option<&Arc<Self>>) -> &Self {
        static NONE: ListenerInfo = ListenerInfo { name: String::new(), address: None, text: String::new() };
        info.map_or(&NONE, |info| info)
    }
}

/// What came in that is no request.
#[derive(Debug)]
pub(crate) enum Raw {
    /// A connection that a service has to itself, and what was read of it.
    Session(Transport, Vec<u8>),
    /// A datagram.
    Datagram(Received),
}

/// How an exchange ended, for a service that wants to know: see [`Exchange::outcome`].
#[derive(Debug, Default)]
pub struct Outcome {
    status: AtomicU16,
    sent: AtomicU64,
}

impl Outcome {
    /// The status that was answered; 0: none yet, or never.
    pub fn status(&self) -> u16 {
        self.status.load(Ordering::Relaxed)
    }

    /// Bytes of the answer's body.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// All there is of one exchange. Kept in one box, which the loop uses again for a later one.
#[derive(Debug)]
pub(crate) struct Inner {
    /// Shared with whoever watches over the time that it takes.
    pub(crate) request: Arc<Request>,
    pub(crate) body: Body,
    /// The body is read while the service runs.
    pub(crate) passage: Option<Arc<Passage>>,
    /// What came instead of a request.
    pub(crate) raw: Option<Raw>,
    /// The service that it is for, and how much of the path led there.
    pub(crate) mount: Route,
    /// Bytes of the common budget that the body holds.
    pub(crate) reserved: usize,
    /// The answer, or what of it has not been handed on.
    pub(crate) out: Vec<u8>,
    /// The stretch of a file that ends the answer.
    pub(crate) tail: Option<Tail>,
    encoder: Option<ResponseEncoder>,
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) listener: Option<Arc<ListenerInfo>>,
    /// When it is answered 503 if no thread has taken it.
    pub(crate) deadline: Instant,
    /// Whether the connection may be used again: what the client wants and the server allows.
    pub(crate) keep_alive: bool,
    /// Set once for all exchanges of a loop: it has begun to drain since this one was read.
    pub(crate) draining: Option<Arc<AtomicBool>>,
    /// Counted under `concurrency`, where that is limited. Given up before the client can know that it was answered.
    pub(crate) place: Option<Place>,
    pub(crate) route: u8,
    pub(crate) status: u16,
    /// The answer's head, where a record of it is wanted.
    pub(crate) answer: Vec<u8>,
    /// Bytes of the answer's body.
    pub(crate) sent: u64,
    pub(crate) outcome: Option<Arc<Outcome>>,
}

/// A place among the requests that may run or wait at once; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Place {
    /// `None`: there is none left. Only one thread takes places at a time.
    pub(crate) fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        if taken.load(Ordering::Acquire) >= limit {
            return None;
        }
        taken.fetch_add(1, Ordering::Relaxed);
        Some(Self { taken: Arc::clone(taken), limit })
    }
}

impl Place {
    /// Gives it up. True: there was next to no other left, so that somebody may wait for it.
    pub(crate) fn give_up(self) -> bool {
        self.taken.load(Ordering::Acquire) + datagrams::AT_ONCE >= self.limit
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Release);
    }
}

impl Inner {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            request: Arc::new(Request::new(now)),
            body: Body::Empty,
            passage: None,
            raw: None,
            mount: Route::default(),
            reserved: 0,
            out: Vec::new(),
            tail: None,
            encoder: None,
            link: None,
            listener: None,
            deadline: now,
            keep_alive: false,
            draining: None,
            place: None,
            route: 0,
            status: 0,
            answer: Vec::new(),
            sent: 0,
            outcome: None,
        }
    }

    /// The request, to be written: while no other has it, which is until the crew has.
    pub(crate) fn request_mut(&mut self) -> &mut Request {
        Arc::make_mut(&mut self.request)
    }

    /// The answer is complete, or will never be.
    pub(crate) fn tell_outcome(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            outcome.sent.store(self.sent, Ordering::Relaxed);
            outcome.status.store(self.status, Ordering::Relaxed);
        }
    }

    /// Whether the connection may be used again, as far as the request and the server are concerned.
    fn may_keep(&self) -> bool {
        // What is not read of the body would stand before the next request.
        self.keep_alive
            && self.passage.as_ref().is_none_or(|passage| passage.is_whole())
            && !self.draining.as_ref().is_some_and(|draining| draining.load(Ordering::Relaxed))
    }

    /// Sends the complete answer, or queues what the socket does not take. `None`: there is no connection.
    ///
    /// With `end` telling that the connection closes, whoever calls closes or shuts it down at once where all was
    /// sent: until then the kernel may hold the answer back, so that it shares its packet with the end.
    pub(crate) fn send_answer(&mut self, end: End, now: Option<Instant>) -> Option<Result<Sent, Gone>> {
        let link = self.link.as_ref()?;
        Some(match self.tail.take() {
            Some(tail) => link.send_with_file(&mut self.out, tail, now),
            None => link.send_whole(&mut self.out, end == End::Close, now),
        })
    }

    /// Forgets the exchange and keeps its buffers, unless they have grown large.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 64 << 10;
        Request::clear(&mut self.request);
        self.body = Body::Empty;
        self.passage = None;
        self.raw = None;
        self.mount = Route::default();
        self.out.clear();
        if self.out.capacity() > KEPT {
            self.out = Vec::new();
        }
        self.tail = None;
        self.encoder = None;
        self.link = None;
        self.place = None;
        self.listener = None;
        self.status = 0;
        self.answer.clear();
        self.sent = 0;
        self.outcome = None;
    }
}

/// One request, complete but for a body that is read while it runs, and the right to answer it. Dropped unanswered, it
/// cuts the connection.
pub struct Exchange {
    /// Taken out when the exchange ends.
    inner: Option<Box<Inner>>,
    crew: Arc<Crew>,
}

/// What an exchange without its box would mean: nothing reachable, since every end consumes the exchange.
const ENDED: &str = "an exchange is whole until it is ended";

impl Exchange {
    pub(crate) fn new(inner: Box<Inner>, crew: Arc<Crew>) -> Self {
        Self { inner: Some(inner), crew }
    }

    #[allow(clippy::expect_used)] // every method that takes the box consumes the exchange
    fn inner(&self) -> &Inner {
        self.inner.as_ref().expect(ENDED)
    }

    #[allow(clippy::expect_used)] // as above
    fn inner_mut(&mut self) -> &mut Inner {
        self.inner.as_mut().expect(ENDED)
    }

    /// The request's head.
    pub fn head(&self) -> &RequestHead {
        &self.inner().request.head
    }

    /// The request's body, once; empty afterwards.
    pub fn take_body(&mut self) -> Body {
        std::mem::replace(&mut self.inner_mut().body, Body::Empty)
    }

    /// A number of this request, unlike that of any other of this process.
    pub fn id(&self) -> u64 {
        self.inner().request.id
    }

    /// Who is connected. What trusted proxies say of the client stands in [`origin`](Self::origin).
    pub fn peer(&self) -> &Peer {
        &self.inner().request.peer
    }

    /// The request's id: what a trusted peer says, else one that is made of its number.
    pub fn request_id(&self) -> RequestId<'_> {
        self.crew.settings().request_ids.of(&self.inner().request)
    }

    /// What forwarded headers of a trusted peer say.
    pub fn origin(&self) -> &Origin {
        &self.inner().request.origin
    }

    /// The listener that the connection came in on.
    pub fn listener(&self) -> &ListenerInfo {
        ListenerInfo::or_none(self.inner().listener.as_ref())
    }

    /// The raw path behind the mount of the service: all of it where it is mounted at the root; empty where the
    /// request names the mount itself, without a slash.
    pub fn path(&self) -> &[u8] {
        let inner = self.inner();
        inner.request.head.path().get(inner.mount.taken..).unwrap_or_default()
    }

    /// The raw path up to [`path`](Self::path): what led to the service.
    pub fn mount(&self) -> &[u8] {
        let inner = self.inner();
        inner.request.head.path().get(..inner.mount.taken).unwrap_or_default()
    }

    /// When the request was complete and began to wait for a thread.
    pub fn queued_at(&self) -> Instant {
        self.inner().request.queued
    }

    /// By when a thread had to take it: it would have been answered 503 then.
    pub fn deadline(&self) -> Instant {
        self.inner().deadline
    }

    /// What the service keeps with the connection from one exchange to the next. Dropped with the connection, by
    /// whichever thread that is: its end must not wait.
    ///
    /// `None`: the exchange has no connection of its own.
    pub fn attachment(&self) -> Option<MutexGuard<'_, Option<Box<dyn Any + Send>>>> {
        Some(self.inner().link.as_ref()?.attachment())
    }

    /// Where status and size of the answer can be read when the exchange has ended.
    pub fn outcome(&mut self) -> Arc<Outcome> {
        Arc::clone(self.inner_mut().outcome.get_or_insert_default())
    }

    /// The connection's socket, non-blocking, for a look at its options and addresses.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.inner().link.as_ref()?.transport.as_fd())
    }

    /// Whether the connection may be used again after this exchange: what the client wants and the server allows now.
    pub fn may_keep(&self) -> bool {
        self.inner().may_keep()
    }

    /// Whether the client has gone, so that an answer would reach nobody.
    pub fn is_gone(&self) -> bool {
        self.inner().link.as_ref().is_none_or(|link| link.is_gone())
    }

    /// Begins the head of the answer: status and reason, checked and put into the connection's protocol. A head that
    /// was begun before and has not been sent is thrown away.
    pub fn begin(&mut self, status: u16, reason: &[u8]) -> Result<(), HeadError> {
        let inner = self.inner_mut();
        inner.out.clear();
        inner.encoder = None;
        let context = ResponseContext {
            version: inner.request.head.version(),
            head_only: inner.request.head.method() == b"HEAD",
            keep_alive: inner.may_keep(),
        };
        inner.status = status;
        inner.encoder = Some(ResponseEncoder::begin(&mut inner.out, context, status, reason)?);
        Ok(())
    }

    /// Adds a field to the head. After an error the head is unusable: begin again.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let inner = self.inner_mut();
        match &mut inner.encoder {
            Some(encoder) => encoder.field(&mut inner.out, name, value),
            None => Err(HeadError::NotBegun),
        }
    }

    /// The Content-Length that was set by [`field`](Self::field).
    pub fn content_length(&self) -> Option<u64> {
        self.inner().encoder.as_ref().and_then(ResponseEncoder::content_length)
    }

    /// Sends the whole answer: the head that was begun, and `body`. It ends the exchange. Where the head declares
    /// another Content-Length than `body` has, no more than declared goes out and the connection is closed.
    pub fn complete(mut self, body: &[u8]) {
        let Some(mut inner) = self.inner.take() else { return };
        let declared = inner.encoder.as_ref().and_then(ResponseEncoder::content_length);
        let Some(framing) = finish_head(&mut inner, BodySize::Known(body.len() as u64), &self.crew) else {
            self.crew.ended(Done { inner, end: End::Abort });
            return;
        };
        let mut keep = framing.keep_alive;
        if framing.body.is_some() {
            let sent = declared.map_or(body.len(), |declared| declared.min(body.len() as u64) as usize);
            keep &= declared.is_none_or(|declared| declared == body.len() as u64);
            inner.out.extend_from_slice(&body[..sent]);
            inner.sent = sent as u64;
        }
        let end = if keep { End::Keep } else { End::Close };
        self.crew.publish(Done { inner, end });
    }

    /// Sends `bytes` as they are, head and body of the service's own making, and ends the exchange. `keep`: they
    /// delimit themselves, and the connection may be used again.
    pub fn complete_verbatim(mut self, status: u16, bytes: Vec<u8>, keep: bool) {
        let Some(mut inner) = self.inner.take() else { return };
        inner.status = status;
        inner.sent = bytes.len() as u64;
        inner.out = bytes;
        let end = if keep && inner.may_keep() { End::Keep } else { End::Close };
        self.crew.publish(Done { inner, end });
    }

    /// Goes on in pieces that are sent as they are, head and body of the service's own making. Finish it with
    /// [`Stream::end`] where they delimit themselves, else with [`Stream::end_and_close`].
    pub fn start_verbatim(mut self, status: u16) -> Stream {
        let mut inner = self.inner.take().unwrap_or_else(|| Box::new(Inner::new(Instant::now())));
        self.crew.write_published();
        inner.status = status;
        inner.out.clear();
        let framing = Framing { body: BodyFraming::UntilClose, keep_alive: inner.may_keep() };
        Stream::new(inner, Arc::clone(&self.crew), framing)
    }

    /// Sends the whole answer: the head that was begun, and a stretch of `file` by sendfile(2). It ends the exchange.
    /// The file's position is neither used nor moved.
    ///
    /// Whoever runs the loop sends it. Where the file may have to be read from the disk, have a
    /// [stream](Self::start) send it, so that nobody waits for the disk but this thread.
    pub fn complete_file(mut self, file: File, offset: u64, length: u64) {
        let Some(mut inner) = self.inner.take() else { return };
        let Some(framing) = finish_head(&mut inner, BodySize::Known(length), &self.crew) else {
            self.crew.ended(Done { inner, end: End::Abort });
            return;
        };
        let mut keep = framing.keep_alive;
        if let BodyFraming::Length(declared) = framing.body {
            let left = length.min(declared);
            keep &= left == declared;
            inner.sent = left;
            inner.tail = Some(Tail { file: Arc::new(file), offset, left });
        }
        let end = if keep { End::Keep } else { End::Close };
        self.crew.publish(Done { inner, end });
    }

    /// Goes on in pieces, of which `size` bytes will come in all, where that is known. What earlier requests of the
    /// cohort have answered is written first, since this one may take long.
    pub fn start(mut self, size: Option<u64>) -> Stream {
        let mut inner = self.inner.take().unwrap_or_else(|| Box::new(Inner::new(Instant::now())));
        self.crew.write_published();
        let size = size.map_or(BodySize::Unknown, BodySize::Known);
        let framing = finish_head(&mut inner, size, &self.crew).unwrap_or_default();
        Stream::new(inner, Arc::clone(&self.crew), framing)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            self.crew.ended(Done { inner, end: End::Abort });
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// Completes the head; `None` where none was begun.
fn finish_head(inner: &mut Inner, size: BodySize, crew: &Crew) -> Option<Framing> {
    let mut encoder = inner.encoder.take()?;
    let settings = crew.settings();
    if let Some(name) = &settings.request_id_field
        && !has_field(&inner.out, name)
    {
        let id = settings.request_ids.of(&inner.request);
        // The name was checked, and so was the id.
        let _ = encoder.field(&mut inner.out, name.as_bytes(), id.as_str().as_bytes());
    }
    let server = settings.server_name.as_deref().map(str::as_bytes);
    let framing = with_date(|date| encoder.finish(&mut inner.out, size, date, server));
    if settings.record_answer {
        inner.answer.clone_from(&inner.out);
    }
    Some(framing)
}

/// Calls `use_date` with the time as RFC 9110 §5.6.7 writes it, put into words once a second and thread.
pub fn with_date<R>(use_date: impl FnOnce(&[u8]) -> R) -> R {
    thread_local! {
        static DATE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    let second = stdserve_sys::clock::unix_seconds();
    DATE.with_borrow_mut(|(of, text)| {
        if *of != second {
            *of = second;
            *text = httpdate::fmt_http_date(SystemTime::now());
        }
        use_date(text.as_bytes())
    })
}
