//! Clients of [MS-TURN]: whose Send may make something leave, and what an answer to them grants. The oracle checks MACs and
//! numbers by itself; it knows every password of this world.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::auth::credential::mint;
use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::types::Deadline;
use crate::proto::types::FiveTuple;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Secret;
use crate::proto::types::Tick;
use crate::proto::types::WorkerId;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;
use crate::proto::wire::ms_turn::answer::decode_response;
use crate::proto::wire::ms_turn::decode::decode_request;
use crate::proto::wire::rfc8656::integrity::MacKey;

use super::Asked;
use super::Coverage;
use super::Oracle;
use super::Tuple;
use super::tuple;
use crate::sim::scenario::PASSWORD;
use crate::sim::scenario::REALM;
use crate::sim::scenario::SECRET;

/// What an allocation of the old dialect goes by.
#[derive(Clone, Debug)]
pub(super) struct Old {
    username: Vec<u8>,
    /// What the server calls it.
    connection: [u8; 20],
    numbers: BTreeSet<u32>,
    /// Transactions without a number.
    transactions: BTreeSet<[u8; 16]>,
}

/// A Send that may make data leave, once.
#[derive(Debug)]
pub(super) struct Sending {
    serial: u64,
    peer: PeerAddr,
    data: Vec<u8>,
}

/// The key that somebody of this world signs with in the old dialect.
fn key_of(username: &[u8]) -> MacKey {
    let minted = std::str::from_utf8(username).ok().and_then(|text| text.split_once(':'));
    let minted = minted.and_then(|(until, name)| Some(mint(&Secret::new(SECRET), name, until.parse().ok()?)));
    let password = minted.map_or_else(|| PASSWORD.to_vec(), |(_, password)| password.into_bytes());
    integrity_key(PasswordAlgorithm::Md5, username, REALM.as_bytes(), &password)
}

impl Oracle {
    /// A message of the old dialect came to the server.
    pub(super) fn old_request(&mut self, tick: Tick, from: &FiveTuple, bytes: &[u8]) {
        let Ok(request) = decode_request(bytes) else { return };
        let at = tuple(from);
        self.take_back_by(at, &request);
        let username = request.auth.username.unwrap_or_default().to_vec();
        let is_signed = request.auth.integrity.verify(&key_of(&username));
        let key = (at, request.transaction.0);
        if self.answered.contains(&key) && request.method == Method::Allocate {
            return;
        }
        let peers: Vec<_> = request.peers.iter().collect();
        let counts = is_signed && (request.method == Method::Allocate || self.is_fresh(at, &request));
        if counts && request.method != Method::Allocate {
            self.old_permission(at, &peers, &request);
        }
        if counts && request.method != Method::Send {
            self.requests.entry(key).or_insert(Asked {
                method: request.method,
                peers,
                channel: None,
                family: None,
                by_ticket: None,
                at: tick,
                username,
            });
        }
    }

    /// Whether a request within an allocation is its client's, and was not met before. It is met now.
    fn is_fresh(&mut self, at: Tuple, request: &Request<'_>) -> bool {
        let serial = self.by_tuple.get(&at).copied();
        let allocation = serial.and_then(|serial| self.allocations.get_mut(&serial));
        let Some(old) = allocation.and_then(|allocation| allocation.old.as_mut()) else { return false };
        if request.auth.username != Some(&old.username[..]) {
            return false;
        }
        match request.legacy.sequence {
            Some(sequence) => sequence.connection == old.connection && old.numbers.insert(sequence.number),
            None => old.transactions.insert(request.transaction.0),
        }
    }

    /// What a good request permits, whatever else becomes of it.
    fn old_permission(&mut self, at: Tuple, peers: &[PeerAddr], request: &Request<'_>) {
        let Some(serial) = self.by_tuple.get(&at).copied() else { return };
        let (Some(peer), Some(allocation)) = (peers.first(), self.allocations.get_mut(&serial)) else {
            return;
        };
        allocation.permissions.insert(peer.ip(), Deadline::NEVER);
        self.ties.wish(serial, *peer);
        if let (Method::Send, Some(data)) = (request.method, request.data) {
            self.sending = Some(Sending { serial, peer: *peer, data: data.to_vec() });
        }
    }

    /// The server has data of a Send leave.
    pub(super) fn old_data_leaves(
        &mut self,
        relay: RelayId,
        peer: PeerAddr,
        data: &[u8],
    ) -> Result<(), String> {
        let asked = self.sending.take();
        let is_asked = asked.is_some_and(|asked| {
            Some(asked.serial) == self.serial_of(relay) && asked.peer == peer && asked.data == data
        });
        if is_asked {
            Ok(())
        } else {
            Err(format!("{} bytes leave {relay:?} for {peer} unasked", data.len()))
        }
    }

    /// An answer leaves.
    pub(super) fn old_reply(
        &mut self,
        tick: Tick,
        (worker, pushed): (WorkerId, &[u64]),
        to: &FiveTuple,
        bytes: &[u8],
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let answer = decode_response(bytes).map_err(|why| format!("an answer that is none: {why:?}"))?;
        if !answer.success {
            let code = answer.error_code.and_then(ErrorCode::from_number);
            coverage.answered(code.ok_or_else(|| format!("error code {:?}", answer.error_code))?);
            return Ok(());
        }
        let at = tuple(to);
        let key = (at, answer.transaction.0);
        let Some(asked) = self.requests.remove(&key) else {
            let known = self.answered.contains(&key);
            return if known { Ok(()) } else { Err(format!("{to:?} is granted what nobody could ask for")) };
        };
        self.answered.insert(key);
        if !answer.integrity.verify(&key_of(&asked.username)) {
            return Err(format!("a success for {to:?} is not signed with the key of its request"));
        }
        let serial = self.by_tuple.get(&at).copied();
        let lifetime = answer.lifetime.unwrap_or(Lifetime::ZERO);
        // The end of an allocation is told by an event.
        if asked.method == Method::Allocate && lifetime == Lifetime::ZERO {
            return Ok(());
        }
        let live = serial.filter(|serial| self.allocations.get(serial).is_some_and(|it| it.old.is_some()));
        match (asked.method, live) {
            (Method::Allocate, Some(serial)) => {
                let allocation = self.allocations.get_mut(&serial).filter(|allocation| !allocation.endless);
                if let Some(allocation) = allocation {
                    allocation.extend(tick, lifetime, &asked, pushed);
                }
            }
            (Method::Allocate, None) => {
                let connection = answer.sequence.map(|sequence| sequence.connection);
                let connection = connection.ok_or("a new allocation has no name")?;
                let (numbers, transactions) = (BTreeSet::from([0]), BTreeSet::new());
                let old = Old { username: asked.username, connection, numbers, transactions };
                self.first_old = Some((at, old));
            }
            (_, Some(_)) => {
                if let Some(peer) = asked.peers.first() {
                    let promise = Self::promise(worker, pushed, Deadline::NEVER);
                    self.promises.permit(at, peer.ip(), promise);
                    self.promises.aim(at, *peer, promise);
                }
            }
            (_, None) => return Err(format!("{to:?} has a destination and no allocation")),
        }
        Ok(())
    }

    /// Whether anything may leave `relayed`: it is, or was, of a client of the old dialect at a place that others had too,
    /// behind one NAT. Whatever those say there is bare data.
    pub(in crate::sim) fn passes_anything(&self, relayed: SocketAddr) -> bool {
        let is_shared = |place: &SocketAddr| self.sources.get(place).is_some_and(|of| of.len() > 1);
        let places = self.owners.get(&relayed).filter(|_| self.bare.contains(&relayed));
        places.is_some_and(|places| places.iter().any(is_shared))
    }

    /// Whether somebody at `at` speaks the old dialect to an allocation.
    pub(super) fn is_old(&self, at: Tuple) -> bool {
        let serial = self.by_tuple.get(&at);
        serial.and_then(|serial| self.allocations.get(serial)).is_some_and(|it| it.old.is_some())
    }
}

/// On a stream such an allocation lives as long as the session.
pub(super) const SESSION: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use crate::proto::wire::TransactionId;

    use super::*;

    #[test]
    fn everybody_s_key_is_known() {
        let (name, password) = mint(&Secret::new(SECRET), "honest3", 1_900_000_000);
        let key =
            integrity_key(PasswordAlgorithm::Md5, name.as_bytes(), REALM.as_bytes(), password.as_bytes());
        let mut values = [[0; 20]; 2];
        for (value, key) in values.iter_mut().zip([key, key_of(name.as_bytes())]) {
            let mut out = [0; 100];
            let mut writer =
                crate::proto::wire::ms_turn::encode::Writer::new(&mut out, 3, TransactionId([1; 16]))
                    .unwrap();
            writer.integrity(&key).unwrap();
            let len = writer.finish();
            value.copy_from_slice(&out[len - 20..len]);
        }
        assert_eq!(values[0], values[1]);
    }
}
