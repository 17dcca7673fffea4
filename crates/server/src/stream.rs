//! An answer that is sent in pieces, by the thread that makes it.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use stdserve_proto::h1::{BodyFraming, Framing};

use crate::crew::{Crew, Done, End};
use crate::exchange::Inner;
use crate::link::{Pieces, copy_behind};
use crate::settings::Settings;

/// The client has gone, or took nothing for too long: what is left of the answer has nowhere to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has gone")
    }
}

impl Error for Gone {}

/// The sending half of an exchange. Dropped before [`end`](Stream::end), it cuts the connection, so that the client
/// can tell that the answer is not whole.
#[derive(Debug)]
pub struct Stream {
    inner: Option<Box<Inner>>,
    crew: Arc<Crew>,
    framing: Framing,
    /// Bytes that are still owed under Content-Length.
    owed: u64,
    /// Bytes left of the chunk that has begun.
    chunk_left: usize,
    overflow: Overflow,
}

/// Of one answer, so much is kept in memory for a slow client; what is beyond goes to a temporary file.
const IN_MEMORY: usize = 1 << 20;

/// The temporary file of one answer, made when memory is full. It is written by the streaming thread, never by
/// whoever runs the loop.
#[derive(Debug, Default)]
struct Overflow {
    file: Option<Arc<File>>,
    /// Where the next piece goes.
    end: u64,
    failed: bool,
}

impl Overflow {
    /// Writes as much of `pieces` behind the first `skip` bytes as the bound allows. Returns where it stands: nothing
    /// where there is no room, on the disk either.
    fn keep(
        &mut self,
        pieces: Pieces<'_>,
        skip: usize,
        settings: &Settings,
    ) -> Option<(&Arc<File>, u64, u64)> {
        let bound = settings.response_buffer.saturating_sub(IN_MEMORY) as u64;
        let room = bound.saturating_sub(self.end) as usize;
        if self.failed {
            return None;
        }
        let rest = copy_behind(&pieces, skip, room);
        if rest.is_empty() {
            return None;
        }
        if self.file.is_none() {
            self.file = stdserve_sys::tempfile::unlinked(&settings.temporary).ok().map(Arc::new);
        }
        let at = self.end;
        match &self.file {
            Some(file) if file.write_all_at(&rest, at).is_ok() => {
                self.end += rest.len() as u64;
                Some((file, at, rest.len() as u64))
            }
            // A full disk is no reason to fail: the thread waits for the client instead.
            _ => {
                self.failed = true;
                None
            }
        }
    }
}

impl Stream {
    /// `inner.out` holds the head, which goes out with the first piece.
    pub(crate) fn new(inner: Box<Inner>, crew: Arc<Crew>, framing: Framing) -> Self {
        if framing.body == BodyFraming::UntilClose
            && let Some(link) = &inner.link
        {
            link.is_open_ended();
        }
        let owed = if let BodyFraming::Length(length) = framing.body { length } else { 0 };
        Self { inner: Some(inner), crew, framing, owed, chunk_left: 0, overflow: Overflow::default() }
    }

    /// How the body is delimited.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Bytes still owed under Content-Length; 0 where the length is not declared.
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Sends `data` without blocking and returns how much of it is taken over; go on with the rest. Less than all
    /// means that the bound of `response_buffer` is reached: [`wait`](Self::wait) first.
    ///
    /// Never more than Content-Length goes out: what is beyond counts as taken and is thrown away.
    pub fn send(&mut self, data: &[u8]) -> Result<usize, Gone> {
        let settings = self.crew.settings();
        let Some(inner) = &mut self.inner else { return Err(Gone) };
        let Some(link) = &inner.link else { return Err(Gone) };
        let mut wanted = data;
        let mut suffix: &[u8] = b"";
        match self.framing.body {
            BodyFraming::None => wanted = b"",
            BodyFraming::Length(_) => wanted = &data[..self.owed.min(data.len() as u64) as usize],
            BodyFraming::Chunked if !data.is_empty() => {
                if self.chunk_left == 0 {
                    stdserve_proto::h1::encode_chunk_size(&mut inner.out, data.len());
                    self.chunk_left = data.len();
                }
                wanted = &data[..data.len().min(self.chunk_left)];
                if wanted.len() == self.chunk_left {
                    suffix = b"\r\n";
                }
            }
            BodyFraming::Chunked | BodyFraming::UntilClose => {}
        }
        if inner.out.is_empty() && wanted.is_empty() {
            return Ok(data.len());
        }
        let pieces = [&inner.out[..], wanted, suffix];
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let mut taken = 0;
        if self.overflow.end > 0 && link.is_drained() {
            // A new file next time: the socket may still hold pages of this one (sendfile(2)), and what was written
            // over them would be what the client reads.
            self.overflow = Overflow { failed: self.overflow.failed, ..Overflow::default() };
        }
        // Behind what stands in the file nothing may go to memory: it would overtake.
        if self.overflow.end == 0 {
            taken = link.send_pieces(pieces, settings.response_buffer.min(IN_MEMORY))?;
        }
        if taken < total
            && let Some((file, at, length)) = self.overflow.keep(pieces, taken, settings)
        {
            link.queue_spooled(file, at, length)?;
            taken += length as usize;
        }
        let prefix = taken.min(inner.out.len());
        inner.out.drain(..prefix);
        taken -= prefix;
        let sent = taken.min(wanted.len());
        taken -= sent;
        inner.sent += sent as u64;
        match self.framing.body {
            BodyFraming::None => return Ok(data.len()),
            BodyFraming::Length(_) => {
                self.owed -= sent as u64;
                if sent == wanted.len() {
                    return Ok(data.len());
                }
            }
            BodyFraming::Chunked => {
                self.chunk_left -= sent;
                if sent == wanted.len() {
                    inner.out.extend_from_slice(&suffix[taken..]);
                }
            }
            BodyFraming::UntilClose => {}
        }
        Ok(sent)
    }

    /// As [`send`](Self::send), for what more may follow at once: as long as this thread is not late the data waits,
    /// and goes out with what follows. What waits goes out at the latest when the engine sees that the thread is
    /// late, that is within some milliseconds.
    ///
    /// Only for answers [sent as they are](crate::Exchange::start_verbatim).
    pub fn send_soon(&mut self, data: &[u8]) -> Result<usize, Gone> {
        if let Some(inner) = &mut self.inner
            && let Some(link) = &inner.link
            && inner.out.is_empty()
            && self.crew.hold(link, inner.request.token, data)?
        {
            inner.sent += data.len() as u64;
            return Ok(data.len());
        }
        self.send(data)
    }

    /// Sends `length` bytes of `file` from `offset` by sendfile(2), as far as Content-Length allows. The descriptor
    /// is kept until the last byte has gone; its position is neither used nor moved.
    ///
    /// Fails with [`Gone`] where the body is not delimited by its length: send such a file in pieces.
    pub fn send_file(&mut self, file: File, offset: u64, length: u64) -> Result<(), Gone> {
        let Some(inner) = &mut self.inner else { return Err(Gone) };
        let Some(link) = &inner.link else { return Err(Gone) };
        if !matches!(self.framing.body, BodyFraming::Length(_)) {
            return Err(Gone);
        }
        let length = length.min(self.owed);
        link.send_file(std::mem::take(&mut inner.out), Arc::new(file), offset, length)?;
        self.owed -= length;
        inner.sent += length;
        Ok(())
    }

    /// Waits until the client has taken enough that [`send`](Self::send) has room again. At most the write time-out.
    /// Let go of any lock that others need before calling.
    pub fn wait(&self) -> Result<(), Gone> {
        let settings = self.crew.settings();
        let link = self.inner.as_ref().and_then(|inner| inner.link.as_ref()).ok_or(Gone)?;
        link.wait_for_room(settings.response_buffer.min(IN_MEMORY) / 2, settings.timeouts.write)
    }

    /// The answer is complete. Where bytes are still owed under Content-Length the connection is cut.
    pub fn end(mut self) {
        let Some(mut inner) = self.inner.take() else { return };
        if self.owed > 0 && !matches!(self.framing.body, BodyFraming::None) || self.chunk_left > 0 {
            self.crew.ended(Done { inner, end: End::Abort });
            return;
        }
        if matches!(self.framing.body, BodyFraming::Chunked) {
            inner.out.extend_from_slice(b"0\r\n\r\n");
        }
        let end = if self.framing.keep_alive { End::Keep } else { End::Close };
        self.crew.finish(Done { inner, end });
    }

    /// The answer is complete, and the connection is not used again.
    pub fn end_and_close(mut self) {
        self.framing.keep_alive = false;
        self.end();
    }

    /// Cuts the connection, so that the client can tell that the answer is not whole.
    pub fn abort(self) {
        drop(self);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            // Where the end of the connection is the end of the body, an ordinary one would look like success.
            if matches!(self.framing.body, BodyFraming::UntilClose)
                && let Some(link) = &inner.link
            {
                link.will_reset();
            }
            self.crew.ended(Done { inner, end: End::Abort });
        }
    }
}
