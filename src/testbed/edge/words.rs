//! What the flight record says of messages and faults, for people.

use std::net::SocketAddr;

use crate::proto::turn::Event;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;
use crate::proto::wire::rfc8656::decode::Answer;
use crate::testbed::scenario::Do;
use crate::testbed::scenario::method_word;

use super::guest::Late;

pub(super) fn request(request: &Request<'_>) -> String {
    method_word(request.method).to_owned()
}

/// What an answer says: `allocate: granted`, `refresh: 438`.
#[must_use]
pub fn answer(answer: &Answer<'_>) -> String {
    let method = method_word(answer.method);
    match answer.error_code {
        _ if answer.success => format!("{method}: granted"),
        Some(code) => format!("{method}: {code}"),
        None => format!("{method}: an error without a code"),
    }
}

pub(super) fn refused(method: Method, code: ErrorCode, alternate: Option<SocketAddr>) -> String {
    let to = alternate.map(|address| format!(" to {address}")).unwrap_or_default();
    format!("{} gets {}{to}, and is not carried out", method_word(method), code.number())
}

pub(super) fn of(late: &Late) -> &'static str {
    match late {
        Late::Request { .. } => "the request",
        Late::Answer { .. } => "the answer",
        Late::ToPeer { .. } => "data for a peer",
        Late::FromPeer { .. } => "data from a peer",
    }
}

pub(super) fn done(what: &Do) -> String {
    match what {
        Do::Drop => "is dropped".to_owned(),
        Do::Delay(span) => format!("comes {span:?} later"),
        Do::Corrupt => "has a wrong bit".to_owned(),
        Do::Error(code) => format!("refuses with {}", code.number()),
        Do::StaleNonce => "calls the nonce stale".to_owned(),
        Do::Redirect(_) => "sends the client elsewhere".to_owned(),
        Do::Realm(realm) => format!("the server is of the realm {realm} now, and knows nothing"),
        Do::WrongMac => "the answer is signed with a wrong key".to_owned(),
        Do::Lifetime(span) => format!("the lifetime granted is {span:?}"),
        Do::MovePort => "the relayed port changes".to_owned(),
        Do::Vanish => "the allocation and its relay are gone".to_owned(),
        Do::Restart => "the server restarts".to_owned(),
        Do::Rebind => "the client's address changes".to_owned(),
        Do::Mtu(mtu) => format!("packets longer than {mtu} bytes are swallowed from here on"),
    }
}

pub(super) fn event(event: &Event) -> Option<String> {
    match event {
        Event::AllocationMade { relayed, lifetime, .. } => {
            Some(format!("{relayed} is allocated for {} s", lifetime.as_secs()))
        }
        Event::AllocationEnded { relayed, reason, lived_s, .. } => {
            Some(format!("{relayed} has ended after {lived_s} s: {}", reason.word()))
        }
        Event::AllocationMoved { from, to, .. } => {
            Some(format!("the client moved from {} to {}", from.client, to.client))
        }
        _ => None,
    }
}
