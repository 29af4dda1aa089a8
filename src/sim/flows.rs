//! The bytes of peers' connections: what one end wrote is what the other reads, in order, once, and whole until a break.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::types::ConnectionId;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;

use super::tcp::Number;

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Flows {
    names: BTreeMap<ConnectionId, Number>,
    to_peer: BTreeMap<Number, VecDeque<u8>>,
    to_client: BTreeMap<Number, VecDeque<u8>>,
    framed: BTreeMap<(SocketAddr, SocketAddr), VecDeque<u8>>,
}

impl Flows {
    /// The peer's connection `number` has this name.
    pub(super) fn name(&mut self, connection: ConnectionId, number: Number) {
        self.names.insert(connection, number);
    }

    /// The client wrote `bytes` on what it had joined to `connection`.
    pub(super) fn client_sent(&mut self, connection: ConnectionId, bytes: &[u8]) {
        if let Some(number) = self.names.get(&connection).copied() {
            self.sent_to_peer(number, bytes);
        }
    }

    /// `bytes` are for the peer at the other end of `number`.
    pub(super) fn sent_to_peer(&mut self, number: Number, bytes: &[u8]) {
        self.to_peer.entry(number).or_default().extend(bytes);
    }

    /// The peer wrote `bytes`.
    pub(super) fn peer_sent(&mut self, number: Number, bytes: &[u8]) {
        self.to_client.entry(number).or_default().extend(bytes);
    }

    /// The peer read `bytes`.
    pub(super) fn peer_heard(&mut self, number: Number, bytes: &[u8]) -> Result<(), String> {
        heard(self.to_peer.get_mut(&number), bytes)
            .map_err(|why| format!("a peer read what was not sent to it: {why}"))
    }

    /// The client read `bytes` on what it had joined to `connection`.
    pub(super) fn client_heard(&mut self, connection: ConnectionId, bytes: &[u8]) -> Result<(), String> {
        let number = self.names.get(&connection);
        heard(number.and_then(|number| self.to_client.get_mut(number)), bytes)
            .map_err(|why| format!("a client read what its peer did not send: {why}"))
    }

    /// A worker read `bytes` of `peer` that are framed for the client at `to`.
    pub(super) fn framed_for_client(&mut self, to: &FiveTuple, peer: PeerAddr, bytes: &[u8]) {
        self.framed.entry((to.client.socket(), peer.socket())).or_default().extend(bytes);
    }

    /// The client that the server sees at `client` was told that `peer` sent `bytes`.
    pub(super) fn framed_heard(
        &mut self,
        client: SocketAddr,
        peer: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), String> {
        // Bare data has no sender: between a change and its answer it is taken for that of the destination before.
        let begins = |sent: &VecDeque<u8>| {
            sent.len() >= bytes.len() && sent.iter().zip(bytes).all(|(sent, heard)| sent == heard)
        };
        let is_it = self.framed.get(&(client, peer)).is_some_and(begins);
        let mut others = self.framed.iter().filter(|((of, _), sent)| *of == client && begins(sent));
        let from = if is_it { peer } else { others.next().map_or(peer, |((_, other), _)| *other) };
        heard(self.framed.get_mut(&(client, from)), bytes)
            .map_err(|why| format!("{client} was told of bytes of {peer}: {why}"))
    }
}

fn heard(sent: Option<&mut VecDeque<u8>>, bytes: &[u8]) -> Result<(), String> {
    if bytes.is_empty() {
        return Ok(());
    }
    let Some(sent) = sent.filter(|sent| sent.len() >= bytes.len()) else {
        return Err(format!("{} bytes too many", bytes.len()));
    };
    match sent.drain(..bytes.len()).zip(bytes).position(|(sent, heard)| sent != *heard) {
        None => Ok(()),
        Some(at) => Err(format!("byte {at} of {} is another", bytes.len())),
    }
}
