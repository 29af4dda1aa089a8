//! A connection to the server on its way to be one to a peer (RFC 6062 §§ 4.3–4.5).
//!
//! The owner of a [`super::Client`] opens a connection of the same transport to the same server, writes what
//! [`ConnectionBind::poll_transmit`] has, and gives it what comes, until it is joined: from there on the bytes are the
//! peer's, the first of which may stand behind the server's answer. Nothing of the client's allocation is touched.

use crate::proto::types::ConnectionId;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::Now;
use crate::proto::types::Tick;
use crate::proto::types::limits::CLIENT_CHALLENGES_MAX;
use crate::proto::types::limits::REQUEST_MAX;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;

use super::Credential;
use super::Failure;
use super::Timing;
use super::challenge::Challenge;
use super::challenge::Heard;
use super::challenge::Unmet;
use super::challenge::challenge;
use super::challenge::hear;
use super::message::write_proof;
use super::stream::Came;
use super::stream::next_whole;

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindProgress {
    /// The server has yet to answer.
    Waiting,
    /// From here on there are raw bytes, both ways.
    Joined {
        /// What the peer sent, as far as it came with the answer.
        rest: Box<[u8]>,
    },
    /// There will be no connection to the peer, and this one is of no more use.
    Failed(Failure),
}

/// The ConnectionBind request on a connection of its own, and what becomes of it.
#[derive(Debug)]
pub struct ConnectionBind {
    connection: ConnectionId,
    credential: Credential,
    challenge: Challenge,
    /// One for each attempt that is left; the last is the one that is on its way.
    ids: Vec<TransactionId>,
    until: Deadline,
    transmit: Option<Box<[u8]>>,
    inbox: Vec<u8>,
    /// An answer came that could not be trusted.
    violated: bool,
    progress: BindProgress,
}

impl ConnectionBind {
    /// To be joined to `connection`. `challenge` is what the control connection met last; a server whose nonces are for
    /// one five-tuple answers with another.
    pub(super) fn new(
        now: Tick,
        connection: ConnectionId,
        credential: Credential,
        timing: Timing,
        challenge: Challenge,
        ids: [TransactionId; 1 + CLIENT_CHALLENGES_MAX as usize],
    ) -> Self {
        let mut bind = Self {
            connection,
            credential,
            challenge,
            ids: ids.into(),
            until: now.after(timing.last_wait),
            transmit: None,
            inbox: Vec::new(),
            violated: false,
            progress: BindProgress::Waiting,
        };
        bind.ask();
        bind
    }

    /// What is to be written to the connection now.
    pub fn poll_transmit(&mut self) -> Option<Box<[u8]>> {
        self.transmit.take()
    }

    /// When [`Self::handle_timeout`] is next worth calling.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        (self.progress == BindProgress::Waiting).then_some(self.until)
    }

    /// Gives up if it is time to.
    pub fn handle_timeout(&mut self, now: Now) -> BindProgress {
        if self.progress == BindProgress::Waiting && self.until.is_due(now.tick()) {
            let why = if self.violated { Failure::Integrity } else { Failure::Timeout };
            self.progress = BindProgress::Failed(why);
        }
        self.progress.clone()
    }

    /// The connection ended.
    pub fn handle_end(&mut self) -> BindProgress {
        if self.progress == BindProgress::Waiting {
            self.progress = BindProgress::Failed(Failure::Disconnected);
        }
        self.progress.clone()
    }

    /// Bytes came, however they were split. Once it is joined they are the peer's, and come back as they are.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) -> BindProgress {
        if matches!(self.progress, BindProgress::Joined { .. }) {
            return BindProgress::Joined { rest: bytes.into() };
        }
        while self.progress == BindProgress::Waiting {
            match next_whole(Dialect::Rfc8656, &mut self.inbox, &mut bytes) {
                Came::Nothing => break,
                Came::Frame(frame) => self.hear(&frame),
                Came::Broken => self.progress = BindProgress::Failed(Failure::Incomplete),
            }
        }
        match &self.progress {
            BindProgress::Joined { .. } => BindProgress::Joined { rest: bytes.into() },
            other => other.clone(),
        }
    }

    fn hear(&mut self, message: &[u8]) {
        let Ok(answer) = decode_response(message) else { return };
        if answer.method != Method::ConnectionBind || Some(&answer.transaction) != self.ids.last() {
            return;
        }
        let signed = (self.challenge.key.clone(), self.challenge.signing());
        match hear(Some(&signed), &answer) {
            Heard::Distrusted => self.violated = true,
            Heard::Challenged(code) => {
                match challenge(&self.credential, code, &answer, Some(&self.challenge)) {
                    Err(Unmet::Ignore) => self.violated = true,
                    Err(Unmet::Fail(why)) => self.progress = BindProgress::Failed(why),
                    Ok(challenge) => {
                        self.challenge = challenge;
                        self.ids.pop();
                        self.ask();
                    }
                }
            }
            Heard::Trusted if !answer.unknown.is_empty() => {
                self.progress = BindProgress::Failed(Failure::Incomplete);
            }
            Heard::Trusted if answer.success => self.progress = BindProgress::Joined { rest: Box::default() },
            Heard::Trusted => {
                let code = answer.error_code.unwrap_or(0);
                self.progress =
                    BindProgress::Failed(Failure::Refused { code, alternate: answer.alternate_server });
            }
        }
    }

    /// Has the request written, in a transaction of its own.
    fn ask(&mut self) {
        let Some(id) = self.ids.last() else {
            self.progress = BindProgress::Failed(Failure::Refused {
                code: super::challenge::STALE_NONCE,
                alternate: None,
            });
            return;
        };
        let mut buffer = [0; REQUEST_MAX];
        let mut writer = MessageWriter::request(&mut buffer, Method::ConnectionBind, *id);
        writer.attribute(attribute::CONNECTION_ID, &self.connection.to_wire().to_be_bytes());
        write_proof(&mut writer, &self.credential, &self.challenge);
        match writer.finish() {
            Ok(len) => self.transmit = Some(buffer[..len].into()),
            // Only credentials beyond all bounds do not fit.
            Err(_) => self.progress = BindProgress::Failed(Failure::Full),
        }
    }
}
