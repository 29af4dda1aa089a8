//! The server at the other end of a stream: its frames out of bytes that were split anyhow, and the end of the
//! connection (RFC 8489 § 6.2.2, RFC 8656 § 12.5).

use crate::proto::types::Dialect;
use crate::proto::types::Entropy;
use crate::proto::types::Tick;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame_in;

use super::Client;
use super::End;
use super::Event;
use super::Failure;
use super::client::State;

/// What the bytes of a stream come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All are taken, and no frame is whole.
    Nothing,
    /// A whole frame.
    Frame(Vec<u8>),
    /// No frame, so nothing behind it can be found.
    Broken,
}

/// Takes from the front of `bytes` what makes one frame whole. What is kept of them in `inbox` is the beginning of one
/// frame, so at most [`crate::proto::types::limits::STREAM_FRAME_MAX`] of them, and only what has come.
pub(super) fn next_whole(dialect: Dialect, inbox: &mut Vec<u8>, bytes: &mut &[u8]) -> Came {
    loop {
        match next_frame_in(dialect, inbox) {
            Next::More { at_least } => {
                let wanted = (at_least - inbox.len()).min(bytes.len());
                let (head, rest) = bytes.split_at(wanted);
                if head.is_empty() {
                    return Came::Nothing;
                }
                inbox.extend_from_slice(head);
                *bytes = rest;
            }
            // No more was taken than makes it whole.
            Next::Frame { .. } => return Came::Frame(std::mem::take(inbox)),
            Next::Broken => return Came::Broken,
        }
    }
}

impl<E: Entropy> Client<E> {
    /// Bytes of the stream.
    pub(super) fn bytes(&mut self, tick: Tick, mut bytes: &[u8]) {
        if !self.config.transport.is_stream() {
            return self.message(tick, bytes);
        }
        while !self.cut {
            match next_whole(Dialect::Rfc8656, &mut self.inbox, &mut bytes) {
                Came::Nothing => return,
                Came::Frame(frame) => self.message(tick, &frame),
                Came::Broken => {
                    self.event(Event::Broken);
                    self.disconnected();
                }
            }
        }
    }

    /// The connection has ended.
    pub(super) fn disconnected(&mut self) {
        self.cut = true;
        self.inbox = Vec::new();
        match &mut self.state {
            State::Idle => {}
            State::Allocating => {
                self.transactions.clear();
                self.state = State::Idle;
                self.event(Event::NotAllocated(Failure::Disconnected));
            }
            // What it was granted waits for it until its time is over.
            State::Live(live) if live.ticket.is_some() => {
                live.moving = true;
                live.refreshing = false;
                self.transactions.clear();
                self.peers.unask();
            }
            State::Live(_) => self.over(End::Lost(Failure::Disconnected)),
            State::Releasing(_) => self.over(End::Unconfirmed),
        }
    }

    /// Whatever comes now comes over another connection, from its beginning.
    pub(super) fn connect_anew(&mut self) {
        self.cut = false;
        self.inbox = Vec::new();
    }
}
