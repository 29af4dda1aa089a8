//! The far end of calls on another machine, `swingbridge load peer`: one socket that sends back what bears our stamp.

use std::net::SocketAddr;
use std::time::Duration;

use crate::load::Fault;
use crate::load::echo::EchoCounts;
use crate::load::echo::EchoPeer;
use crate::load::fault::FaultKind;
use crate::load::rig::GoOn;
use crate::net::Batch;
use crate::net::Departing;
use crate::net::Events;
use crate::net::Heading;
use crate::net::Poll;
use crate::net::Sender;
use crate::net::Token;
use crate::net::TrafficSocket;

use super::clock::Clock;
use super::peers::PEER_BUFFER;
use super::thread::RECEIVED;

/// How often whoever runs it is asked whether to go on.
const LOOK: Duration = Duration::from_millis(250);

/// A peer at an address of this machine.
pub struct FarEnd {
    socket: TrafficSocket,
    peer: EchoPeer,
    clock: Clock,
    poll: Poll,
    batch: Batch,
    sender: Sender,
}

impl FarEnd {
    /// A peer that listens on `address`; port 0 lets the kernel choose.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub fn listen(address: SocketAddr) -> Result<Self, Fault> {
        let refused = |error: std::io::Error| {
            Fault::new(FaultKind::Request, format!("the peer cannot listen on {address}: {error}"))
                .cure("write an address of this machine and a port that is free")
        };
        let socket = TrafficSocket::open(address, None, PEER_BUFFER).map_err(refused)?;
        let poll = Poll::new().map_err(refused)?;
        poll.add(&socket, Token::Listener(0)).map_err(refused)?;
        Ok(Self {
            socket,
            peer: EchoPeer::default(),
            clock: Clock::start(),
            poll,
            batch: Batch::new(RECEIVED),
            sender: Sender::new(RECEIVED),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.socket.local()
    }

    /// Sends back what comes, until `look`, which is told a few times each second how things stand, says that it is
    /// enough. Answers what was done in all.
    pub fn serve(&mut self, mut look: impl FnMut(&EchoCounts) -> GoOn) -> EchoCounts {
        let (mut events, mut next_ns) = (Events::new(1), 0);
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns >= next_ns {
                if look(&self.peer.counts()) == GoOn::No {
                    return self.peer.counts();
                }
                next_ns = now_ns + u64::try_from(LOOK.as_nanos()).unwrap_or(0);
            }
            // The descriptor is ours: no error is possible.
            let _ = self.poll.wait(&mut events, Some(Duration::from_nanos(next_ns - now_ns)));
            if !events.is_empty() {
                self.turn();
            }
        }
    }

    /// Sends back what waits, at most one batch of it.
    fn turn(&mut self) {
        self.batch.clear();
        // An error is the network's word on what was sent back; who asked learns by what does not come.
        let Ok(arrived) = self.batch.receive(&self.socket, RECEIVED) else { return };
        let now_ns = self.clock.now_ns();
        let mut back = Vec::with_capacity(arrived.places.len());
        for place in arrived.places {
            let Some(from) = self.batch.meta(place).from else { continue };
            let (slot, payload) = self.batch.slot_mut(place);
            if self.peer.answer(now_ns, from, &mut slot[payload]) {
                back.push((place, Heading::to(from)));
            }
        }
        let batch = &self.batch;
        let departing = back.iter().map(|(place, heading)| Departing::new(batch.datagram(*place), heading));
        self.sender.send(&self.socket, departing, |_, _| {});
    }
}
