//! A request's way through a script, and the script's output as the answer.

use std::io;
use std::time::{Duration, Instant};

use stdserve_proto::cgi::{BodyReader, Form, Head, HeadReader, Length, Redirect, Request, environment};
use stdserve_proto::clean_path::CleanPath;
use stdserve_proto::forwarded::{Scheme, is_forwarding_field};
use stdserve_proto::h1::{BodyLength, HeadError, phrase};
use stdserve_proto::percent::decode_path;
use stdserve_sys::process::{Exit, SpawnError, Step};

use super::Cgi;
use super::conversation::{Conversation, Heard, PIECE};
use super::error_lines::ErrorLines;
use super::launch::file_path;
use super::script::{Found, Script, is_exhaustion};
use crate::body::Body;
use crate::exchange::{Exchange, Peer};
use crate::observe::printable;
use crate::stream::{Gone, Stream};

/// How many local redirects one request may take.
const LOCAL_REDIRECTS: usize = 10;

/// How long the end of a short answer is awaited, so that it goes out whole, with its length, and not in chunks.
const GATHER: Duration = Duration::from_millis(10);

/// How long the end of a script is awaited when its output is at its end: whether a signal has cut it short is to be
/// known before the answer's end is sent.
const AFTER_OUTPUT: Duration = Duration::from_millis(100);

/// What is asked for: the request itself, or where a script has sent it on to.
struct Asked {
    /// `None`: the request's own.
    target: Option<Vec<u8>>,
}

/// What came of running one script.
enum Outcome {
    Answered,
    /// It is to be answered as if that target had been asked for.
    SentOn(Exchange, Vec<u8>),
}

impl Cgi {
    /// Answers one exchange: the whole of the service, for those who hand requests on to it. Takes as long as the
    /// script does.
    pub fn answer(&self, mut exchange: Exchange) {
        let mut asked = Asked { target: None };
        for _ in 0..=LOCAL_REDIRECTS {
            match self.answer_once(exchange, &asked) {
                Outcome::Answered => return,
                Outcome::SentOn(back, target) => {
                    exchange = back;
                    asked.target = Some(target);
                }
            }
        }
        self.log.error("cgi: more than 10 local redirects for one request");
        refuse(exchange, 500, None);
    }

    fn answer_once(&self, mut exchange: Exchange, asked: &Asked) -> Outcome {
        let head = exchange.head();
        if matches!(head.method(), b"CONNECT" | b"TRACE") {
            return refuse(exchange, 405, None);
        }
        if head.transfer_codings().any(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
            // Nobody has undone it, and the script cannot be told of it.
            return refuse(exchange, 501, None);
        }
        let mount = exchange.mount();
        let (path, query) = match &asked.target {
            None => (Some(exchange.path()), head.query()),
            Some(target) => {
                let (path, query) = split_target(target);
                (path.strip_prefix(mount).filter(|path| path.starts_with(b"/")), query)
            }
        };
        if path == Some(b"") && asked.target.is_none() {
            let location = folder_location(&exchange, &CleanPath::default(), query);
            return refuse(exchange, 301, Some((b"Location", &location)));
        }
        let Some(path) = path else { return self.elsewhere(exchange, asked, 404) };
        let Ok(path) = CleanPath::parse(path) else { return refuse(exchange, 400, None) };
        let script = match self.scripts.find(&path) {
            Found::Script(script) => script,
            Found::Folder => {
                let location = folder_location(&exchange, &path, query);
                return refuse(exchange, 301, Some((b"Location", &location)));
            }
            Found::Nothing(404) => return self.elsewhere(exchange, asked, 404),
            Found::Nothing(status) => return refuse(exchange, status, None),
        };
        let Some(place) = self.places.take(self.options.queue) else {
            self.log.debug("cgi: all processes are taken: answered 503");
            return refuse(exchange, 503, Some((b"Retry-After", b"5")));
        };
        // While it waited the client may have left.
        if exchange.is_gone() {
            return Outcome::Answered;
        }
        let body = if asked.target.is_none() { exchange.take_body() } else { Body::Empty };
        let label = format!("cgi: /{}", printable(&script.path));
        let began = Instant::now();
        let outcome = match self.start(&exchange, asked, &script, body) {
            Ok(started) => {
                let lines = ErrorLines::new(&*self.log, &label);
                let conversation = Conversation::new(started, &self.places, lines);
                Talk { cgi: self, label: &label, began, conversation }.run(exchange, &script)
            }
            Err(error) => {
                let status = match (error.step, error.error.kind()) {
                    (Step::Execute, io::ErrorKind::PermissionDenied) => 403,
                    _ if is_exhaustion(&error.error) => 503,
                    _ => 500,
                };
                self.log.error(&format!("{label}: {error}{}", hint(&error)));
                refuse(exchange, status, None)
            }
        };
        drop(place);
        outcome
    }

    /// There is no such script. Where another script has sent the request here, the client may find what it means
    /// elsewhere: on another part of the site.
    fn elsewhere(&self, exchange: Exchange, asked: &Asked, status: u16) -> Outcome {
        match &asked.target {
            Some(target) => {
                self.log.debug("cgi: a local redirect to what is no script: the client is sent there");
                refuse(exchange, 302, Some((b"Location", target)))
            }
            None => refuse(exchange, status, None),
        }
    }

    fn start(
        &self,
        exchange: &Exchange,
        asked: &Asked,
        script: &Script,
        body: Body,
    ) -> Result<super::launch::Started, SpawnError> {
        let head = exchange.head();
        let origin = exchange.origin();
        let file = file_path(self.scripts.root(), &script.path)?;
        let mut name = origin.prefix.clone().unwrap_or_default();
        decode_path(exchange.mount(), &mut name);
        name.push(b'/');
        name.extend_from_slice(&script.path);
        let (method, target, query) = match &asked.target {
            None => (head.method(), head.target(), head.query()),
            Some(target) => (
                if head.method() == b"HEAD" { &b"HEAD"[..] } else { b"GET" },
                &target[..],
                split_target(target).1,
            ),
        };
        let (client, client_port) = match (origin.address, exchange.peer()) {
            (Some(address), _) => (Some(address), origin.port),
            (None, Peer::Ip(peer)) => (Some(peer.ip()), Some(peer.port())),
            (None, Peer::Unix) => (None, None),
        };
        let length = match (&body, head.body_length()) {
            _ if asked.target.is_some() => Length::NoBody,
            (Body::Empty, BodyLength::None) => Length::NoBody,
            (Body::Stream(incoming), _) => incoming.length().map_or(Length::ToTheEnd, Length::Known),
            (body, _) => Length::Known(body.len()),
        };
        let fields: Vec<_> =
            head.fields().filter(|(name, _)| !(origin.strip && is_forwarding_field(name))).collect();
        let request = Request {
            method,
            target,
            script_name: &name,
            path_info: &script.path_info,
            query,
            script_file: file.as_bytes(),
            root: std::os::unix::ffi::OsStrExt::as_bytes(self.scripts.root().as_os_str()),
            version: head.version(),
            scheme: origin.scheme.unwrap_or(Scheme::Http),
            host: origin.host.as_deref().map(str::as_bytes).or_else(|| head.host()),
            listener: exchange.listener().address.map(|address| (address.ip(), address.port())),
            client,
            client_port,
            length,
            software: self.options.server_software.as_bytes(),
            authorization: self.options.pass_authorization,
        };
        let variables = environment(&request, &fields);
        let folder =
            self.scripts.folder_of(script).map_err(|error| SpawnError { step: Step::Folder, error })?;
        self.launcher.start(&file, script.interpreter, &folder, variables, body)
    }
}

/// What often lies behind an error of execve(2).
fn hint(error: &SpawnError) -> &'static str {
    // ENOENT, EACCES, ENOEXEC.
    match (error.step, error.error.raw_os_error()) {
        (Step::Execute, Some(2)) => ": is the program of its #! line there?",
        (Step::Execute, Some(13)) => ": is its executable bit set, and its #! program's?",
        (Step::Execute, Some(8)) => ": it has no #! line, and its extension no interpreter",
        _ => "",
    }
}

/// A script that was started for a request.
struct Talk<'a> {
    cgi: &'a Cgi,
    label: &'a str,
    began: Instant,
    conversation: Conversation<'a>,
}

/// Why a script gets no further.
enum Failure {
    /// It is answered with this status; the log says why.
    Answer(u16, String),
    /// Nobody waits for an answer.
    Gone,
}

impl Talk<'_> {
    fn until(&self) -> Option<Instant> {
        self.cgi.options.timeout.and_then(|timeout| self.began.checked_add(timeout))
    }

    fn run(mut self, mut exchange: Exchange, script: &Script) -> Outcome {
        let nph = self.cgi.options.nph && script.name().starts_with(b"nph-");
        let form = if nph { Form::Nph } else { Form::Parsed };
        let mut output = Vec::new();
        let head = match self.read_head(form, &mut output, &exchange) {
            Ok(head) => head,
            Err(failure) => return self.fail(exchange, failure),
        };
        if let Redirect::Local(target) = head.redirect() {
            let target = target.to_vec();
            // What else it writes is nobody's business (RFC 3875 §6.2.2), but it may go on with its work.
            self.finish();
            return Outcome::SentOn(exchange, target);
        }
        if let Err(error) = put_head(&mut exchange, &head) {
            return self.fail(exchange, Failure::Answer(502, format!("its answer cannot be sent: {error}")));
        }
        let mut body = BodyReader::of(&head);
        let gathered = self.gather(&mut output, &mut body, &exchange);
        match gathered {
            Err(failure) => self.fail(exchange, failure),
            Ok(true) => {
                exchange.complete(&output);
                self.finish();
                Outcome::Answered
            }
            Ok(false) => self.stream(exchange, &output, body),
        }
    }

    fn read_head(&mut self, form: Form, output: &mut Vec<u8>, exchange: &Exchange) -> Result<Head, Failure> {
        let of_head = self.cgi.options.head_timeout.and_then(|timeout| self.began.checked_add(timeout));
        let until = self.until().into_iter().chain(of_head).min();
        let mut reader = HeadReader::new(form, self.cgi.options.max_head);
        loop {
            match self.conversation.listen(output, until, &|| exchange.is_gone()) {
                Ok(Heard::Output) => {}
                Ok(Heard::Gone) => return Err(Failure::Gone),
                Ok(Heard::Unfinished(why)) => return Err(unfinished(why)),
                Ok(Heard::Nothing) => {
                    return Err(Failure::Answer(504, "it took too long to answer, and is ended".to_owned()));
                }
                Ok(Heard::End) => {
                    self.conversation.wait_for_end(Some(Instant::now() + AFTER_OUTPUT));
                    let begun =
                        if reader.is_empty() { "before it answered" } else { "within its answer's head" };
                    return Err(Failure::Answer(502, format!("it ended {begun}")));
                }
                Err(error) => return Err(Failure::Answer(502, format!("cannot read its output: {error}"))),
            }
            match reader.feed(output) {
                Ok(None) => output.clear(),
                Ok(Some((consumed, head))) => {
                    output.drain(..consumed);
                    return Ok(head);
                }
                Err(bad) => return Err(Failure::Answer(502, bad.to_string())),
            }
        }
    }

    /// Reads on as long as the answer may still be a short one. True: it is whole.
    fn gather(
        &mut self,
        output: &mut Vec<u8>,
        body: &mut BodyReader,
        exchange: &Exchange,
    ) -> Result<bool, Failure> {
        let not_chunked = |bad| Failure::Answer(502, format!("{bad}"));
        body.decode(output).map_err(not_chunked)?;
        let until = Some(Instant::now() + GATHER);
        let mut piece = Vec::new();
        while output.len() < PIECE {
            if exchange.content_length().is_some_and(|length| length <= output.len() as u64) {
                return Ok(true);
            }
            match self.conversation.listen(&mut piece, until, &|| false) {
                Ok(Heard::Output) => {
                    body.decode(&mut piece).map_err(not_chunked)?;
                    output.append(&mut piece);
                }
                Ok(Heard::End) => {
                    self.conversation.wait_for_end(Some(Instant::now() + AFTER_OUTPUT));
                    if !body.is_whole() {
                        return Err(Failure::Answer(502, "it ended within its answer".to_owned()));
                    }
                    // A signal that ended it is found out before the answer goes out.
                    return self
                        .conversation
                        .was_cut_short()
                        .map_or(Ok(true), |how| Err(Failure::Answer(502, how)));
                }
                Ok(Heard::Nothing) => return Ok(false),
                Ok(Heard::Gone) => return Err(Failure::Gone),
                Ok(Heard::Unfinished(why)) => return Err(unfinished(why)),
                Err(error) => return Err(Failure::Answer(502, format!("cannot read its output: {error}"))),
            }
        }
        Ok(false)
    }

    /// Sends the answer as it comes.
    fn stream(mut self, exchange: Exchange, output: &[u8], mut body: BodyReader) -> Outcome {
        let until = self.until();
        let mut stream = exchange.start(None);
        let mut result = send(&mut stream, output).map_err(|Gone| None);
        let mut piece = Vec::new();
        while result.is_ok() {
            piece.clear();
            // Asked where nothing has come for a while: what is queued for the client then keeps it waiting, no longer
            // than the write time-out.
            let heard = self.conversation.listen(&mut piece, until, &|| stream.wait().is_err());
            result = match heard {
                Ok(Heard::Output) => match body.decode(&mut piece) {
                    Ok(()) => send(&mut stream, &piece).map_err(|Gone| None),
                    Err(bad) => Err(Some(bad.to_string())),
                },
                Ok(Heard::End) => break,
                Ok(Heard::Gone) => Err(None),
                Ok(Heard::Unfinished(_)) => {
                    Err(Some("the request's body broke off; its answer is cut".to_owned()))
                }
                Ok(Heard::Nothing) => {
                    Err(Some("it took too long, and is ended; its answer is cut".to_owned()))
                }
                Err(error) => Err(Some(format!("cannot read its output: {error}"))),
            };
        }
        if result.is_ok() {
            self.conversation.wait_for_end(Some(Instant::now() + AFTER_OUTPUT));
            if !body.is_whole() {
                result = Err(Some("it ended within its answer, which is cut".to_owned()));
            } else if let Some(how) = self.conversation.was_cut_short() {
                result = Err(Some(how));
            }
        }
        match result {
            Ok(()) => {
                stream.end();
                self.finish();
            }
            Err(why) => {
                if let Some(why) = why {
                    self.cgi.log.error(&format!("{}: {why}", self.label));
                }
                self.conversation.tell_to_end();
                stream.abort();
                self.conversation.stop(self.cgi.options.grace);
            }
        }
        Outcome::Answered
    }

    /// The answer is whole; the script may still have something to do, as long as its time allows.
    fn finish(mut self) {
        if !self.conversation.wait_for_end(self.until()) {
            self.cgi.log.error(&format!("{}: it took too long, and is ended", self.label));
            return self.conversation.stop(self.cgi.options.grace);
        }
        match self.conversation.end() {
            Some(Exit::Code(0)) | None => {}
            Some(exit) => self.cgi.log.error(&format!("{}: it {exit}", self.label)),
        }
    }

    /// Answers instead of the script, and ends it.
    fn fail(self, exchange: Exchange, failure: Failure) -> Outcome {
        self.conversation.tell_to_end();
        match failure {
            Failure::Answer(status, why) => {
                self.cgi.log.error(&format!("{}: {why}", self.label));
                refuse(exchange, status, None);
            }
            Failure::Gone => {
                self.cgi.log.debug(&format!("{}: its client has gone; it is ended", self.label));
                drop(exchange);
            }
        }
        self.conversation.stop(self.cgi.options.grace);
        Outcome::Answered
    }
}

/// The request's body broke off: the script must not take what it has for the whole.
fn unfinished(why: io::ErrorKind) -> Failure {
    match why {
        io::ErrorKind::FileTooLarge => Failure::Answer(413, "the request's body is too large".to_owned()),
        _ => Failure::Answer(408, "the request's body took too long".to_owned()),
    }
}

/// Status and fields. What is the server's to say of the connection is left out.
fn put_head(exchange: &mut Exchange, head: &Head) -> Result<(), HeadError> {
    exchange.begin(head.status(), head.reason())?;
    for (name, value) in head.fields() {
        match exchange.field(name, value) {
            Ok(()) | Err(HeadError::HopByHop) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// All of `data`, however long the client takes.
fn send(stream: &mut Stream, mut data: &[u8]) -> Result<(), Gone> {
    while !data.is_empty() {
        let taken = stream.send(data)?;
        data = &data[taken..];
        if !data.is_empty() {
            stream.wait()?;
        }
    }
    Ok(())
}

/// Answers with a status and its phrase.
fn refuse(mut exchange: Exchange, status: u16, field: Option<(&[u8], &[u8])>) -> Outcome {
    let phrase = phrase(status);
    let put = |exchange: &mut Exchange| {
        exchange.begin(status, phrase.as_bytes())?;
        exchange.field(b"Content-Type", b"text/plain; charset=utf-8")?;
        field.map_or(Ok(()), |(name, value)| exchange.field(name, value))
    };
    // A field that cannot be sent cuts the connection: the exchange is dropped.
    if put(&mut exchange).is_ok() {
        exchange.complete(format!("{status} {phrase}\n").as_bytes());
    }
    Outcome::Answered
}

/// Path and query of a local redirect's target, which begins with a slash. The fragment is the client's.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    let target = target.split(|&byte| byte == b'#').next().unwrap_or_default();
    match target.iter().position(|&byte| byte == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

/// Where a folder without its slash at the end is.
fn folder_location(exchange: &Exchange, path: &CleanPath, query: &[u8]) -> Vec<u8> {
    let mut location = exchange.origin().prefix.clone().unwrap_or_default();
    path.encode_below(exchange.mount(), true, &mut location);
    if !query.is_empty() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    location
}
