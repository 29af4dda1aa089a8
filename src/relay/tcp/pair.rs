//! A peer's connection and the client's that it is joined to, and what each is watched for.

use std::io;
use std::os::fd::AsFd;

use crate::net::Channel;
use crate::net::Interest;
use crate::net::Place;
use crate::net::Poll;
use crate::net::Token;
use crate::net::peer::reset_at_end;
use crate::net::peer::tune_pair;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerId;

use super::pipe::Next;
use super::pipe::Pipe;
use super::pipe::Round;

/// A client's connection on its way into a pair.
#[derive(Debug)]
pub(in crate::relay) struct Joining {
    pub(in crate::relay) channel: Channel,
    pub(in crate::relay) from: FiveTuple,
    /// What was read of it and is for the peer.
    pub(in crate::relay) unread: Vec<u8>,
    /// What must reach the client before anything of the peer's.
    pub(in crate::relay) greeting: Vec<u8>,
    /// Its place among all connections of clients.
    pub(in crate::relay) place: Place,
}

/// What a connection is watched for; `None` where it is not watched at all. A connection that nothing is wanted of is
/// not watched: its end would be told for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch(Option<Interest>);

/// Nothing but an end or an error.
pub(super) const QUIET: Interest = Interest { read: false, write: false };

impl Watch {
    /// Of a connection that is watched for `interest`.
    pub(super) const fn on(interest: Interest) -> Self {
        Self(Some(interest))
    }

    /// Watches for `interest` from here on.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set(
        &mut self,
        poll: &Poll,
        source: &impl AsFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        match (self.0, interest) {
            (None, QUIET) => return Ok(()),
            (Some(before), now) if before == now && now != QUIET => return Ok(()),
            (Some(_), QUIET) => {
                poll.remove(source)?;
                self.0 = None;
                return Ok(());
            }
            (None, _) => poll.add(source, token)?,
            (Some(_), _) => {}
        }
        poll.change(source, token, interest)?;
        self.0 = Some(interest);
        Ok(())
    }
}

/// A pair.
#[derive(Debug)]
pub(super) struct Pair {
    pipe: Pipe<Channel, Channel>,
    client: Watch,
    peer: Watch,
    pub(super) from: FiveTuple,
    /// When it carried something last.
    pub(super) moved_ms: u64,
    _place: Place,
}

impl Pair {
    /// Joins a peer's connection, watched for an end alone, and a client's, watched as a stream.
    ///
    /// # Errors
    /// What the kernel says; both are closed then.
    pub(super) fn new(poll: &Poll, id: PeerId, peer: Channel, joining: Joining) -> io::Result<Self> {
        let Joining { channel, from, unread, greeting, place } = joining;
        tune_pair(&channel);
        poll.change(&channel, Token::Joined(id), Interest::READ)?;
        Ok(Self {
            pipe: Pipe::new(channel, peer, unread, greeting),
            client: Watch::on(Interest::READ),
            peer: Watch::on(QUIET),
            from,
            moved_ms: 0,
            _place: place,
        })
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.pipe.is_half_closed()
    }

    /// One round, and what to watch for after it.
    pub(super) fn pump(&mut self, poll: &Poll, id: PeerId, scratch: &mut [u8], may_read: bool) -> Round {
        let mut round = self.pipe.pump(scratch, may_read);
        if let Next::Wait { client, peer, .. } = round.next {
            let watched = self
                .client
                .set(poll, &self.pipe.client, Token::Joined(id), client)
                .and_then(|()| self.peer.set(poll, &self.pipe.peer, Token::Peer(id), peer));
            if watched.is_err() {
                round.next = Next::Broken;
            }
        }
        round
    }

    /// What is left of it ends with a reset.
    pub(super) fn reset(&self) {
        reset_at_end(&self.pipe.client);
        reset_at_end(&self.pipe.peer);
    }
}
