//! Two connections become one: what comes on either goes to the other, as it is and in its order, and nothing is dropped.
//!
//! ```text
//!   client ──read──▶ up: at most PIPE_BUFFER ──write──▶ peer
//!          ◀─write── down: the same         ◀──read──
//! ```
//!
//! An end is read only when all that came from it has left, so a reader that stops makes the kernel stop the writer. The
//! end of one way is passed on and the other goes on; a connection that breaks breaks the other, once what it had brought
//! has been passed on.

use std::io;

use crate::net::Channel;
use crate::net::Interest;
use crate::net::Received;
use crate::proto::types::limits;

/// Reads of one way in a round.
const READS: usize = 4;

/// One of the two connections. None of its calls blocks.
pub(super) trait End {
    /// Reads what there is.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received>;
    /// Takes of `bytes` as many as there is room for.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Whether something that it took waits for room.
    fn holds(&self) -> bool;
    /// Passes on that nothing more will be sent; `false` while there is no room for that.
    fn finish(&mut self) -> io::Result<bool>;
}

impl End for Channel {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        Self::receive(self, buffer)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::send(self, bytes, <[u8]>::len)
    }

    fn holds(&self) -> bool {
        self.unsent() > 0
    }

    fn finish(&mut self) -> io::Result<bool> {
        Self::finish(self)
    }
}

/// What a pair carried in one round, and what is to be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Round {
    /// Bytes read from the client.
    pub(in crate::relay) from_client: usize,
    /// Bytes read from the peer.
    pub(in crate::relay) from_peer: usize,
    pub(in crate::relay) next: Next,
}

/// How a pair goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Next {
    /// When one of these has come true; at once, if `again`.
    Wait {
        /// What the client's connection is watched for.
        client: Interest,
        /// What the peer's is.
        peer: Interest,
        /// There may be more to read than this round's share.
        again: bool,
    },
    /// Both ways are over, each to its end.
    Over,
    /// A connection broke: so must the other.
    Broken,
}

/// One way of a pair.
#[derive(Debug, Default)]
struct Way {
    /// What was read and has not left.
    buffer: Vec<u8>,
    left: usize,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Bytes may come.
    #[default]
    Open,
    /// All came; not all has left.
    Ending,
    /// All has left, and its end.
    Over,
    /// Its receiver takes no more.
    Refused,
}

/// Which end of a way failed.
enum Fault {
    Reading,
    Writing,
}

/// What one way waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    read: bool,
    write: bool,
    again: bool,
    brought: usize,
}

impl Way {
    fn with(buffer: Vec<u8>) -> Self {
        Self { buffer, ..Self::default() }
    }

    fn is_done(&self) -> bool {
        matches!(self.standing, Standing::Over | Standing::Refused)
    }

    /// Moves what can be moved. Nothing is read unless `may_read`.
    fn pump(
        &mut self,
        from: &mut impl End,
        to: &mut impl End,
        scratch: &mut [u8],
        may_read: bool,
    ) -> Result<Waits, Fault> {
        let mut waits = Waits::default();
        for _ in 0..READS {
            if self.is_done() {
                return Ok(waits);
            }
            if !self.push(to).map_err(|_| Fault::Writing)? {
                return Ok(Waits { write: true, ..waits });
            }
            if self.standing == Standing::Ending {
                if !to.finish().map_err(|_| Fault::Writing)? {
                    return Ok(Waits { write: true, ..waits });
                }
                self.standing = Standing::Over;
                return Ok(waits);
            }
            if !may_read {
                return Ok(waits);
            }
            let room = scratch.len().min(limits::PIPE_BUFFER);
            match from.receive(&mut scratch[..room]).map_err(|_| Fault::Reading)? {
                Received::Bytes(len) => {
                    waits.brought += len;
                    let Ok(sent) = to.send(&scratch[..len]) else { return Err(Fault::Writing) };
                    self.buffer.extend_from_slice(&scratch[sent..len]);
                }
                Received::Nothing => return Ok(Waits { read: true, ..waits }),
                Received::End => self.standing = Standing::Ending,
            }
        }
        if !self.push(to).map_err(|_| Fault::Writing)? {
            return Ok(Waits { write: true, ..waits });
        }
        Ok(Waits { read: self.standing == Standing::Open, again: true, ..waits })
    }

    /// Whether everything that was read has left.
    fn push(&mut self, to: &mut impl End) -> io::Result<bool> {
        if self.left == self.buffer.len() && !to.holds() {
            return Ok(true);
        }
        self.left += to.send(&self.buffer[self.left..])?;
        if self.left < self.buffer.len() {
            return Ok(false);
        }
        // What is quiet keeps no memory.
        self.buffer = Vec::new();
        self.left = 0;
        Ok(!to.holds())
    }
}

/// A pair of connections.
#[derive(Debug)]
pub(super) struct Pipe<C, P> {
    pub(super) client: C,
    pub(super) peer: P,
    up: Way,
    down: Way,
}

impl<C: End, P: End> Pipe<C, P> {
    /// Joins two connections. What was read of the client already goes first to the peer, and `greeting` to the client.
    pub(super) fn new(client: C, peer: P, unread: Vec<u8>, greeting: Vec<u8>) -> Self {
        Self { client, peer, up: Way::with(unread), down: Way::with(greeting) }
    }

    /// Whether one way is over and the other is not.
    pub(super) fn is_half_closed(&self) -> bool {
        self.up.standing != Standing::Open || self.down.standing != Standing::Open
    }

    /// Moves this round's share both ways. Nothing is read unless `may_read`, and then `again` is not said.
    pub(super) fn pump(&mut self, scratch: &mut [u8], may_read: bool) -> Round {
        let mut round = Round { from_client: 0, from_peer: 0, next: Next::Broken };
        let up = match self.up.pump(&mut self.client, &mut self.peer, scratch, may_read) {
            Ok(waits) => waits,
            Err(Fault::Reading) => return round,
            Err(Fault::Writing) => self.up.refuse(),
        };
        round.from_client = up.brought;
        let down = match self.down.pump(&mut self.peer, &mut self.client, scratch, may_read) {
            Ok(waits) => waits,
            Err(Fault::Reading) => return round,
            Err(Fault::Writing) => self.down.refuse(),
        };
        round.from_peer = down.brought;
        round.next = if self.up.is_done() && self.down.is_done() {
            let to_its_end = self.up.standing == Standing::Over && self.down.standing == Standing::Over;
            if to_its_end { Next::Over } else { Next::Broken }
        } else {
            Next::Wait {
                client: Interest { read: up.read, write: down.write },
                peer: Interest { read: down.read, write: up.write },
                again: up.again || down.again,
            }
        };
        round
    }
}

impl Way {
    /// Its receiver is gone. What the receiver had sent before may still be there.
    fn refuse(&mut self) -> Waits {
        self.standing = Standing::Refused;
        self.buffer = Vec::new();
        self.left = 0;
        Waits::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// An end that a test holds the far side of.
    #[derive(Debug, Default)]
    struct Far {
        /// What it will bring.
        says: VecDeque<u8>,
        says_end: bool,
        breaks: bool,
        /// What it was given.
        heard: Vec<u8>,
        heard_end: bool,
        /// How much it takes before it says that it is full.
        room: usize,
        refuses: bool,
        /// As TLS does: bytes that it took and could not pass on.
        sealed: VecDeque<u8>,
        seals: bool,
    }

    impl Far {
        fn drain_sealed(&mut self) {
            while self.room > 0
                && let Some(byte) = self.sealed.pop_front()
            {
                self.heard.push(byte);
                self.room -= 1;
            }
        }
    }

    impl End for Far {
        fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
            let len = buffer.len().min(self.says.len());
            if len > 0 {
                for (place, byte) in buffer.iter_mut().zip(self.says.drain(..len)) {
                    *place = byte;
                }
                return Ok(Received::Bytes(len));
            }
            match (self.breaks, self.says_end) {
                (true, _) => Err(io::ErrorKind::ConnectionReset.into()),
                (false, true) => Ok(Received::End),
                (false, false) => Ok(Received::Nothing),
            }
        }

        fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.refuses {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            assert!(!self.heard_end, "nothing after the end");
            self.drain_sealed();
            if self.seals {
                if !self.sealed.is_empty() {
                    return Ok(0);
                }
                let taken = bytes.len().min(1_000);
                self.sealed.extend(&bytes[..taken]);
                self.drain_sealed();
                return Ok(taken);
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.heard.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn holds(&self) -> bool {
            !self.sealed.is_empty()
        }

        fn finish(&mut self) -> io::Result<bool> {
            if self.refuses {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            assert!(!self.heard_end, "once");
            self.drain_sealed();
            self.heard_end = self.sealed.is_empty();
            Ok(self.heard_end)
        }
    }

    fn pipe() -> Pipe<Far, Far> {
        let far = || Far { room: usize::MAX, ..Far::default() };
        Pipe::new(far(), far(), Vec::new(), Vec::new())
    }

    fn pump(pipe: &mut Pipe<Far, Far>) -> Round {
        pipe.pump(&mut [0; limits::PIPE_BUFFER], true)
    }

    fn waits(client: [bool; 2], peer: [bool; 2], again: bool) -> Next {
        let interest = |[read, write]: [bool; 2]| Interest { read, write };
        Next::Wait { client: interest(client), peer: interest(peer), again }
    }

    // proves rfc6062:5.4-3, rfc6062:5.4-4
    #[test]
    fn what_was_there_before_goes_first_each_way() {
        let mut pipe = pipe();
        pipe.up = Way::with(b"early ".to_vec());
        pipe.down = Way::with(b"welcome ".to_vec());
        pipe.client.says.extend(b"words");
        pipe.peer.says.extend(b"back");
        let round = pump(&mut pipe);
        assert_eq!((round.from_client, round.from_peer), (5, 4));
        assert_eq!(round.next, waits([true, false], [true, false], false));
        assert_eq!(
            (&pipe.peer.heard[..], &pipe.client.heard[..]),
            (&b"early words"[..], &b"welcome back"[..])
        );
    }

    #[test]
    fn who_cannot_be_written_to_stops_the_reading_of_the_other_and_of_nobody_else() {
        for seals in [false, true] {
            let mut pipe = pipe();
            pipe.peer.room = 10;
            pipe.peer.seals = seals;
            pipe.client.says.extend([7; 100_000]);
            pipe.peer.says.extend(b"still heard");
            let round = pump(&mut pipe);
            assert_eq!(round.next, waits([false, false], [true, true], false));
            assert!(round.from_client <= limits::PIPE_BUFFER, "{}", round.from_client);
            assert_eq!(pipe.client.heard, b"still heard");
            for _ in 0..3 {
                assert_eq!(pump(&mut pipe).from_client, 0, "nothing more is read");
            }
            for _ in 0..1_000 {
                pipe.peer.room = 500;
                pump(&mut pipe);
            }
            assert_eq!(pipe.peer.heard, [7; 100_000]);
        }
    }

    #[test]
    fn a_round_has_its_share_and_says_that_there_is_more() {
        let mut pipe = pipe();
        pipe.client.says.extend([7; 10 * limits::PIPE_BUFFER]);
        let round = pump(&mut pipe);
        assert_eq!(round.from_client, READS * limits::PIPE_BUFFER);
        assert_eq!(round.next, waits([true, false], [true, false], true));
    }

    #[test]
    fn while_nothing_may_be_read_what_was_read_still_leaves() {
        let mut pipe = pipe();
        pipe.up = Way::with(b"early".to_vec());
        pipe.client.says.extend(b"later");
        let round = pipe.pump(&mut [0; 64], false);
        assert_eq!(round, Round { from_client: 0, from_peer: 0, next: waits([false; 2], [false; 2], false) });
        assert_eq!(pipe.peer.heard, b"early");
        pump(&mut pipe);
        assert_eq!(pipe.peer.heard, b"earlylater");
    }

    // proves rfc6062:5.5-2, rfc6062:5.5-3
    #[test]
    fn the_end_of_one_way_is_passed_on_and_the_other_goes_on_to_its_own() {
        for seals in [false, true] {
            let mut pipe = pipe();
            (pipe.client.seals, pipe.peer.seals) = (seals, seals);
            pipe.client.says.extend(b"request");
            pipe.client.says_end = true;
            assert!(!pipe.is_half_closed());
            assert_eq!(pump(&mut pipe).next, waits([false, false], [true, false], false));
            assert!(pipe.peer.heard_end && !pipe.client.heard_end && pipe.is_half_closed());
            pipe.peer.says.extend(b"answer");
            assert_eq!(pump(&mut pipe).next, waits([false, false], [true, false], false));
            pipe.peer.says_end = true;
            assert_eq!(pump(&mut pipe).next, Next::Over);
            assert!(pipe.client.heard_end);
            assert_eq!((&pipe.peer.heard[..], &pipe.client.heard[..]), (&b"request"[..], &b"answer"[..]));
        }
    }

    #[test]
    fn an_end_waits_for_what_came_before_it() {
        let mut pipe = pipe();
        (pipe.peer.room, pipe.peer.seals) = (0, true);
        pipe.client.says.extend(b"request");
        pipe.client.says_end = true;
        assert_eq!(pump(&mut pipe).next, waits([false, false], [true, true], false));
        assert!(!pipe.peer.heard_end);
        pipe.peer.room = usize::MAX;
        pump(&mut pipe);
        assert!(pipe.peer.heard_end);
        assert_eq!(pipe.peer.heard, b"request");
    }

    #[test]
    fn a_connection_that_breaks_breaks_the_other_after_what_it_brought() {
        let mut pipe = pipe();
        pipe.peer.says.extend(b"last words");
        pipe.peer.breaks = true;
        assert_eq!(pump(&mut pipe).next, Next::Broken);
        assert_eq!(pipe.client.heard, b"last words");

        // It takes no more, and has said something before.
        let mut pipe = self::pipe();
        (pipe.peer.refuses, pipe.peer.says_end) = (true, true);
        pipe.client.says.extend(b"into the void");
        pipe.peer.says.extend([9; 3 * limits::PIPE_BUFFER]);
        pipe.client.room = 10;
        assert_eq!(pump(&mut pipe).next, waits([false, true], [false, false], false));
        pipe.client.room = usize::MAX;
        assert_eq!(pump(&mut pipe).next, Next::Broken);
        assert_eq!(pipe.client.heard, [9; 3 * limits::PIPE_BUFFER]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Says(bool, usize),
        Ends(bool),
        Room(bool, usize),
        Pump(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<bool>(), 1_usize..40_000).prop_map(|(client, len)| Step::Says(client, len)),
            1 => any::<bool>().prop_map(Step::Ends),
            3 => (any::<bool>(), 0_usize..50_000).prop_map(|(client, room)| Step::Room(client, room)),
            5 => any::<bool>().prop_map(Step::Pump),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_in_its_order_and_memory_is_bounded(
            steps in prop::collection::vec(step(), 0..60),
            seals in any::<[bool; 2]>(),
        ) {
            let mut pipe = pipe();
            (pipe.client.room, pipe.peer.room) = (0, 0);
            (pipe.client.seals, pipe.peer.seals) = (seals[0], seals[1]);
            let (mut said, mut next) = ([Vec::new(), Vec::new()], 0_u8);
            for step in steps {
                match step {
                    Step::Says(client, len) => {
                        let (end, said) = match client {
                            true => (&mut pipe.client, &mut said[0]),
                            false => (&mut pipe.peer, &mut said[1]),
                        };
                        if !end.says_end {
                            next = next.wrapping_add(1);
                            end.says.extend(std::iter::repeat_n(next, len));
                            said.extend(std::iter::repeat_n(next, len));
                        }
                    }
                    Step::Ends(true) => pipe.client.says_end = true,
                    Step::Ends(false) => pipe.peer.says_end = true,
                    Step::Room(true, room) => pipe.client.room = room,
                    Step::Room(false, room) => pipe.peer.room = room,
                    Step::Pump(may_read) => {
                        pipe.pump(&mut [0; limits::PIPE_BUFFER], may_read);
                    }
                }
                prop_assert!(pipe.up.buffer.len() <= limits::PIPE_BUFFER);
                prop_assert!(pipe.down.buffer.len() <= limits::PIPE_BUFFER);
                prop_assert!(said[0].starts_with(&pipe.peer.heard) && said[1].starts_with(&pipe.client.heard));
            }
            (pipe.client.says_end, pipe.peer.says_end) = (true, true);
            for _ in 0..4_000 {
                (pipe.client.room, pipe.peer.room) = (usize::MAX, usize::MAX);
                if pump(&mut pipe).next == Next::Over {
                    break;
                }
            }
            prop_assert_eq!([&pipe.peer.heard, &pipe.client.heard], [&said[0], &said[1]]);
            prop_assert!(pipe.client.heard_end && pipe.peer.heard_end);
        }
    }
}
