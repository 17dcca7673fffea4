//! What a script gets on its standard input: the request's body.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use stdserve_sys::pipes::{self, Bell, For};

use crate::body::Body;
use crate::incoming::Incoming;

/// What is still to be given to a script.
#[derive(Debug)]
pub(super) enum Input {
    /// Nothing: it has all, can read it itself, or reads no more.
    Done,
    /// The rest of a piece, and of the body behind it.
    Pipe(Feed),
}

/// The way into a script that does not take its whole body at once.
#[derive(Debug)]
pub(super) struct Feed {
    pipe: File,
    piece: Vec<u8>,
    at: usize,
    rest: Option<(Incoming, Arc<Bell>)>,
}

impl Input {
    /// The script's standard input, and what is left to be put into it.
    pub(super) fn of(body: Body) -> io::Result<(OwnedFd, Self)> {
        match body {
            Body::Empty => Ok((pipes::null()?, Self::Done)),
            // The script reads the file itself.
            Body::File { mut file, .. } => {
                file.rewind()?;
                Ok((file.into(), Self::Done))
            }
            Body::Memory(bytes) => Self::begin(bytes, None),
            Body::Stream(incoming) => {
                let bell = Arc::new(Bell::new()?);
                let rung = Arc::clone(&bell);
                incoming.when_ready(move || rung.ring());
                Self::begin(Vec::new(), Some((incoming, bell)))
            }
        }
    }

    fn begin(piece: Vec<u8>, rest: Option<(Incoming, Arc<Bell>)>) -> io::Result<(OwnedFd, Self)> {
        let (reader, pipe) = pipes::to_write()?;
        let all_here = rest.is_none();
        let mut input = Self::Pipe(Feed { pipe, piece, at: 0, rest });
        // A pipe has room for 64 KiB as a rule, so that most bodies are gone before the script begins.
        if all_here {
            input.feed()?;
        }
        Ok((reader, input))
    }

    /// What is to be waited for before it can be [fed](Self::feed).
    pub(super) fn wants(&self) -> Option<(BorrowedFd<'_>, For)> {
        match self {
            Self::Pipe(feed) if feed.at < feed.piece.len() => Some((feed.pipe.as_fd(), For::Writing)),
            Self::Pipe(Feed { rest: Some((_, bell)), .. }) => Some((bell.as_fd(), For::Reading)),
            Self::Pipe(_) | Self::Done => None,
        }
    }

    /// Gives the script as much as there is, and as it has room for. A script that reads no more is not an error; a
    /// body that ends before it is whole is one, of the kinds of [`Incoming`], and the script is not told of its end.
    pub(super) fn feed(&mut self) -> io::Result<()> {
        let Self::Pipe(feed) = self else { return Ok(()) };
        if !feed.go_on()? {
            *self = Self::Done;
        }
        Ok(())
    }
}

impl Feed {
    /// False: there is nothing left to do.
    fn go_on(&mut self) -> io::Result<bool> {
        loop {
            while self.at < self.piece.len() {
                match self.pipe.write(&self.piece[self.at..]) {
                    Ok(count) => self.at += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    // Nobody reads any more.
                    Err(_) => return Ok(false),
                }
            }
            let Some((incoming, bell)) = &mut self.rest else { return Ok(false) };
            bell.silence();
            match incoming.try_piece() {
                Ok([]) => return Ok(false),
                Ok(piece) => {
                    self.piece.clear();
                    self.piece.extend_from_slice(piece);
                    self.at = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}
