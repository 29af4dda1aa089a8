//! What shall leave, put together by the socket it leaves from. Like `proto`: no sockets, no clocks.

use std::ops::Range;

use crate::net::Heading;
use crate::proto::types::RelayId;
use crate::proto::wire::channel_data;

/// The socket that a datagram leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// The relay socket of this name.
    Relay(RelayId),
    /// The listener at this place.
    Listener(u16),
    /// The raw socket at this place.
    Raw(u16),
}

/// Where the bytes of a datagram stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// In the slot at `place` of the batch they came in.
    Slot {
        /// The slot.
        place: usize,
        /// Which bytes of it.
        range: Range<usize>,
    },
    /// The same, in which `head` does not stand.
    Framed {
        /// The slot.
        place: usize,
        /// Which bytes of it.
        range: Range<usize>,
        /// What stands in front of them.
        head: [u8; channel_data::HEADER_LEN],
    },
    /// In the answer at `place`, which is that of the departure in [`Egress`]: its first `len` bytes.
    Answer {
        /// The answer's place.
        place: usize,
        /// Bytes.
        len: usize,
    },
    /// Among the bytes of the connection that is being looked at.
    Inbound {
        /// Which of them.
        range: Range<usize>,
    },
    /// The whole reply of the control task at `place`.
    Reply {
        /// The reply's place.
        place: usize,
    },
}

/// What a datagram is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Application data to a peer.
    ToPeer,
    /// Application data to a client.
    ToClient,
    /// An answer to a stranger.
    Answer,
    /// A reply of the control task.
    Reply,
}

/// A datagram that shall leave.
#[derive(Clone, Debug)]
pub(super) struct Departure {
    pub(super) way: Way,
    pub(super) bytes: Bytes,
    pub(super) heading: Heading,
    pub(super) kind: Kind,
    /// Application data in bytes.
    pub(super) data_len: usize,
    /// The relay socket that it leaves from, and its port, where it leaves by a raw socket.
    pub(super) relay: Option<(RelayId, u16)>,
}

impl Departure {
    /// Whether it must leave unfragmented.
    pub(super) fn is_whole(&self) -> bool {
        self.heading.header.dont_fragment
    }

    /// Whether the socket, the same for both, need not be told anything in between.
    fn says_the_same(&self, next: &Self) -> bool {
        matches!(self.way, Way::Raw(_)) || self.is_whole() == next.is_whole()
    }
}

/// What a batch makes leave.
#[derive(Debug)]
pub(super) struct Egress {
    list: Vec<(usize, Departure)>,
    /// They came socket by socket, in the order of [`Way`], as those of a run do.
    in_order: bool,
}

impl Egress {
    /// Room for `count` departures; more make it grow once.
    pub(super) fn new(count: usize) -> Self {
        Self { list: Vec::with_capacity(count), in_order: true }
    }

    pub(super) fn push(&mut self, departure: Departure) {
        self.in_order &= self.list.last().is_none_or(|(_, last)| last.way <= departure.way);
        self.list.push((self.list.len(), departure));
    }

    /// Departures that wait.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.in_order = true;
    }

    /// Runs of departures that share a socket, each in the order of [`Self::push`], and that all may or all must not
    /// be fragmented, which is the socket's to say, but for a raw one's. Between sockets there is no order to keep; within
    /// one it is kept even where it takes more runs.
    pub(super) fn groups(&mut self) -> impl Iterator<Item = (Way, &[(usize, Departure)])> {
        if !self.in_order {
            self.list.sort_unstable_by_key(|(order, departure)| (departure.way, *order));
        }
        self.list
            .chunk_by(|(_, one), (_, next)| one.way == next.way && one.says_the_same(next))
            .map(|group| (group[0].1.way, group))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn departure(way: Way, place: usize) -> Departure {
        Departure {
            way,
            bytes: Bytes::Answer { place, len: 1 },
            heading: Heading::to(SocketAddr::from(([127, 0, 0, 1], 9))),
            kind: Kind::Answer,
            data_len: 0,
            relay: None,
        }
    }

    fn way(number: u8) -> Way {
        match number {
            0 | 1 => Way::Listener(number.into()),
            _ => Way::Relay(RelayId { index: (number / 2).into(), generation: (number % 2).into() }),
        }
    }

    proptest! {
        #[test]
        fn each_socket_is_used_once_and_keeps_its_order(ways in prop::collection::vec(0_u8..8, 0..100)) {
            let mut egress = Egress::new(4);
            for (place, number) in ways.iter().enumerate() {
                egress.push(departure(way(*number), place));
            }
            let mut seen = Vec::new();
            let mut left = 0;
            for (socket, group) in egress.groups() {
                prop_assert!(!seen.contains(&socket));
                seen.push(socket);
                let places: Vec<_> = group
                    .iter()
                    .map(|(_, departure)| match departure.bytes {
                        Bytes::Answer { place, .. } | Bytes::Slot { place, .. } => place,
                        _ => unreachable!("none was made"),
                    })
                    .collect();
                prop_assert!(places.is_sorted());
                for place in places {
                    prop_assert_eq!(way(ways[place]), socket);
                    left += 1;
                }
            }
            prop_assert_eq!(left, ways.len());
        }
    }

    #[test]
    fn what_must_not_be_fragmented_leaves_apart_and_in_its_turn() {
        let mut egress = Egress::new(8);
        for (place, (number, whole)) in
            [(2, false), (2, true), (0, false), (2, true), (2, false), (0, false)].into_iter().enumerate()
        {
            let mut one = departure(way(number), place);
            one.heading.header.dont_fragment = whole;
            egress.push(one);
        }
        let runs: Vec<_> = egress
            .groups()
            .map(|(_, group)| {
                (group[0].1.is_whole(), group.iter().map(|(order, _)| *order).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(runs, [(false, vec![0]), (true, vec![1, 3]), (false, vec![4]), (false, vec![2, 5])]);
    }

    #[test]
    fn nothing_is_left_after_a_clear() {
        let mut egress = Egress::new(1);
        egress.push(departure(way(0), 0));
        egress.clear();
        assert_eq!(egress.groups().count(), 0);
    }
}
