//! What a fault does to the message that it befalls.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::types::FiveTuple;
use crate::proto::types::Now;
use crate::proto::types::Tick;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::Answer;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::testbed::scenario::Do;
use crate::testbed::scenario::Moment;
use crate::testbed::scenario::Target;

use super::Kind;
use super::guest::Guest;
use super::guest::Late;
use super::message;
use super::sabotage::Occasion;
use super::words;

/// Nonces that are remembered to be stale; their number is less than the milliseconds that a nonce may be ahead.
const STALE_MAX: usize = 64;

impl Guest {
    /// A fault befell a request that came from `real` and that the core knows as from `shown`.
    pub(super) fn befall_request(
        &mut self,
        now: Now,
        (real, shown): (FiveTuple, FiveTuple),
        (request, bytes): (&Request<'_>, &[u8]),
        signature: (MacKey, Algorithm),
        what: &Do,
    ) {
        let method = Some(request.method);
        let (code, alternate) = match what {
            Do::Error(code) => (*code, None),
            Do::StaleNonce => (ErrorCode::StaleNonce, None),
            Do::Redirect(target) => match self.target(*target, real) {
                Some(target) => (ErrorCode::TryAlternate, Some(target)),
                None => return self.take_in(now, shown, bytes),
            },
            Do::Realm(_) => {
                // The request speaks of a realm that is no more: the core says so itself, without a signature.
                self.act(now, method, what);
                return self.take_in(now, shown, bytes);
            }
            _ => {
                let late = Late::Request { from: shown, bytes: bytes.into() };
                if let Some(late) = self.befall(now, method, what, late) {
                    self.happen(now, late);
                }
                return;
            }
        };
        self.judge.strike(now.tick(), method);
        self.note(Kind::Fault, Some(real.client.socket()), words::refused(request.method, code, alternate));
        if let (Do::StaleNonce, Some(nonce)) = (what, request.auth.nonce) {
            self.call_stale(nonce);
        }
        // Another one each time, also within a millisecond.
        let ahead = self.stale.len() as u64;
        let tick = Tick::from_millis(now.tick().as_millis() + ahead);
        let nonce = self.core.challenger.nonce_key.mint(tick, &shown);
        let challenge = (&self.core.challenger, &nonce);
        if let Some(answer) = message::refusal(request, code, challenge, alternate, Some(&signature)) {
            self.refuse(now, shown, request.transaction, answer);
        }
    }

    fn call_stale(&mut self, nonce: &[u8]) {
        if !self.stale.iter().any(|stale| **stale == *nonce) {
            self.stale.push_back(nonce.into());
        }
        if self.stale.len() > STALE_MAX {
            self.stale.pop_front();
        }
    }

    /// Where the client is sent to; `None` if it is there.
    fn target(&self, target: Target, real: FiveTuple) -> Option<SocketAddr> {
        let here = real.server.socket();
        let listens = self.setup().listens.iter().filter(|listen| listen.transport == real.transport);
        let of_family = listens.map(|listen| listen.address).filter(|to| to.is_ipv4() == here.is_ipv4());
        let all: Vec<SocketAddr> = of_family.collect();
        match target {
            Target::Address(address) => Some(address),
            Target::Same => Some(here),
            Target::Other => all.last().copied().filter(|last| *last != here),
            Target::Next => {
                let at = all.iter().position(|each| *each == here).map_or(0, |at| at + 1);
                Some(all.get(at).or(all.first()).copied().unwrap_or(here))
            }
        }
    }

    /// What is left of `late` after `what` befell it, to happen now.
    pub(super) fn befall(&mut self, now: Now, method: Option<Method>, what: &Do, late: Late) -> Option<Late> {
        match what {
            Do::Drop | Do::Delay(_) | Do::Corrupt => {
                self.judge.strike(now.tick(), method);
                self.note(Kind::Fault, None, format!("{} {}", words::of(&late), words::done(what)));
            }
            _ => {}
        }
        match what {
            Do::Drop => None,
            Do::Delay(span) => {
                self.keep(now.after(*span), late);
                None
            }
            Do::Corrupt => Some(match late {
                Late::Answer { to, bytes } => Late::Answer { to, bytes: message::corrupted(bytes) },
                Late::ToPeer { relay, to, bytes } => {
                    Late::ToPeer { relay, to, bytes: message::corrupted(bytes) }
                }
                Late::FromPeer { relay, from, bytes } => {
                    Late::FromPeer { relay, from, bytes: message::corrupted(bytes) }
                }
                Late::Request { .. } => late,
            }),
            _ => {
                self.act(now, method, what);
                Some(late)
            }
        }
    }

    /// An answer of the core, or of the saboteur, is about to leave.
    pub(super) fn answer(&mut self, now: Now, to: FiveTuple, bytes: Box<[u8]>) {
        let Ok(answer) = decode_response(&bytes) else { return self.tell(to, bytes) };
        // Nobody has said yet who is asking.
        let Some((key, _)) = self.signature(answer.transaction) else { return self.tell(to, bytes) };
        let method = answer.method;
        self.granted(now, &answer);
        let struck = self.sabotage.strike(Occasion::Answer(method));
        match struck {
            None => self.leave(to, bytes),
            Some(Do::WrongMac) => {
                self.judge.strike(now.tick(), Some(method));
                self.note(Kind::Fault, Some(to.client.socket()), words::done(&Do::WrongMac));
                let wrong = MacKey::new(b"a key that nobody has");
                if let Some(bytes) = message::rewritten(&bytes, &wrong, |_, _| {}) {
                    self.tell(to, bytes);
                }
            }
            Some(Do::Lifetime(span)) => {
                let bytes = self.shortened(now, (to, &answer, &bytes), &key, span).unwrap_or(bytes);
                self.leave(to, bytes);
            }
            Some(what @ Do::Corrupt) => {
                if let Some(Late::Answer { to, bytes }) =
                    self.befall(now, Some(method), &what, Late::Answer { to, bytes })
                {
                    self.tell(to, bytes);
                }
            }
            Some(what @ (Do::Drop | Do::Delay(_))) => {
                self.befall(now, Some(method), &what, Late::Answer { to, bytes });
            }
            // What changes a state does so behind the answer.
            Some(what) => {
                self.leave(to, bytes);
                self.act(now, Some(method), &what);
            }
        }
    }

    /// The answer with another lifetime, which the server then keeps to.
    fn shortened(
        &mut self,
        now: Now,
        (to, answer, bytes): (FiveTuple, &Answer<'_>, &[u8]),
        key: &MacKey,
        span: Duration,
    ) -> Option<Box<[u8]>> {
        answer.lifetime.filter(|lifetime| answer.success && lifetime.as_secs() > 0)?;
        let seconds = u32::try_from(span.as_secs()).unwrap_or(u32::MAX).max(1);
        let changed = message::rewritten(bytes, key, |kind, value| {
            if kind == attribute::LIFETIME {
                *value = seconds.to_be_bytes().to_vec();
            }
        })?;
        self.judge.strike(now.tick(), Some(answer.method));
        self.note(Kind::Fault, Some(to.client.socket()), words::done(&Do::Lifetime(span)));
        self.ends = Some(now.after(Duration::from_secs(u64::from(seconds))));
        Some(changed)
    }

    /// Something may have been granted.
    fn granted(&mut self, now: Now, answer: &Answer<'_>) {
        let lasts = answer.lifetime.is_none_or(|lifetime| lifetime.as_secs() > 0);
        if answer.success && matches!(answer.method, Method::Allocate | Method::Refresh) {
            self.judge.given_back = !lasts;
        }
        if !answer.success || !lasts {
            return;
        }
        let moment = match answer.method {
            Method::Allocate => Moment::Allocated,
            Method::Refresh => Moment::Refreshed,
            Method::CreatePermission | Method::ChannelBind => Moment::Permitted,
            _ => return,
        };
        if matches!(answer.method, Method::Allocate | Method::Refresh) {
            self.ends = None;
        }
        self.sabotage.moment(moment, now.tick());
    }

    /// An answer leaves unharmed.
    pub(super) fn leave(&mut self, to: FiveTuple, bytes: Box<[u8]>) {
        if let Ok(answer) = decode_response(&bytes) {
            if answer.success {
                self.judge.granted(answer.method);
            }
            let words = words::answer(&answer);
            self.note(Kind::Answer, Some(to.client.socket()), words);
        }
        self.tell(to, bytes);
    }
}
