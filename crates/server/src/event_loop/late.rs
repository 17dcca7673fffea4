//! Requests that are answered by the loop since the application does not: those that wait for a thread in vain, and
//! those whose time is over.

use std::iter;
use std::net::Shutdown;

use stdserve_proto::h1::{ResponseContext, Version, encode_error};

use super::EventLoop;
use super::ending::Refused;
use crate::connection::Phase;
use crate::coroner::Told;
use crate::exchange::{Inner, with_date};
use crate::link::TimedOut;
use crate::observe::Record;
use crate::request::Request;
use crate::request_id::insert_field;

/// Why a request is refused that waits for a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// For so long as requests may.
    TooLong,
    /// With more others than may.
    TooMany,
}

impl EventLoop {
    /// Refuses a request that waits for a free thread.
    pub(crate) fn refuse_queued(&mut self, mut inner: Box<Inner>, waited: Waited) {
        inner.place = None;
        self.budget.give_back(std::mem::take(&mut inner.reserved));
        let Some(slot) = self.slot(inner.request.token) else { return };
        if self.connections[slot].number == inner.request.number {
            self.connections[slot].inner = Some(inner);
            let why = match waited {
                Waited::TooLong => "no thread became free in time",
                Waited::TooMany => "too many requests wait for a thread",
            };
            self.refuse(slot, &Refused::too_busy(why));
            self.bury();
        }
    }

    /// The time of a request is over that a thread has: answers 504 in its place, or cuts off what has begun. From then
    /// on that thread sends to nobody.
    pub(crate) fn answer_late(&mut self, request: &Request) -> Told {
        let Some(slot) = self.slot(request.token) else { return Told::Nobody };
        let connection = &self.connections[slot];
        if connection.number != request.number || connection.phase != Phase::Running {
            return Told::Answered;
        }
        let mut answer = Vec::new();
        let head_only = request.head.method() == b"HEAD";
        let context = ResponseContext { version: Version::Http11, head_only, keep_alive: false };
        let server = self.settings.server_name.as_deref().map(str::as_bytes);
        let text = ("the application did not answer in time", None);
        with_date(|date| encode_error(&mut answer, context, 504, text, date, server));
        if let Some(name) = &self.settings.request_id_field {
            let id = self.settings.request_ids.of(request);
            insert_field(&mut answer, name, id.as_str());
        }
        let told = match connection.link.time_out(&mut answer, self.now) {
            TimedOut::Answered(sent) => {
                if sent.all {
                    connection.link.transport.shutdown(Shutdown::Write);
                }
                self.begin_linger(slot, sent.all);
                self.report_late(request, 504);
                Told::Refused
            }
            TimedOut::Begun => {
                connection.link.cut();
                self.doom(slot);
                Told::Cut
            }
            TimedOut::Finished => Told::Answered,
            TimedOut::Gone => Told::Nobody,
        };
        self.bury();
        told
    }

    /// Whether a thread has this request, and its client waits.
    pub(crate) fn runs(&self, request: &Request) -> bool {
        self.slot(request.token).is_some_and(|slot| {
            let connection = &self.connections[slot];
            connection.number == request.number && connection.phase == Phase::Running
        })
    }

    /// Tells the observer of a request that a thread still has while the loop ends.
    pub(crate) fn report_unfinished(&self, request: &Request) {
        self.report_late(request, 0);
    }

    /// `status`: what its client was answered by the loop; 0: nothing that is known here.
    fn report_late(&self, request: &Request, status: u16) {
        self.observer.ended(&mut iter::once(Record {
            request,
            status,
            answer: &[],
            sent: 0,
            aborted: status == 0,
            request_ids: &self.settings.request_ids,
        }));
    }
}
