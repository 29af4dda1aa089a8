//! What a tier below the sockets has to know of an allocation to relay the packets of its channels by itself. It is asked of
//! the table and never kept beside it, so that there is one place that says who may send what to whom until when.

use crate::proto::types::ChannelNumber;
use crate::proto::types::Deadline;
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::PeerAddr;
use crate::proto::types::RelayId;
use crate::proto::types::Transport;

use super::Bandwidth;
use super::Table;
use super::allocation::Reach;

/// One allocation whose plain packets may take a shortcut, as its table knows it at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortcuts {
    /// Its name.
    pub relay: RelayId,
    /// The client's side: UDP, and not on its way to another five-tuple.
    pub five_tuple: FiveTuple,
    /// The relayed address as this machine has bound it.
    pub bound: PeerAddr,
    /// When the allocation ends.
    pub until: Deadline,
    /// How much it may carry.
    pub bandwidth: Bandwidth,
    /// Its channels, in the order of their numbers.
    pub channels: Vec<Shortcut>,
}

/// A channel that may be used in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Its number.
    pub channel: ChannelNumber,
    /// Its peer as this machine reaches it: a relayed address of this server in the form in which it is bound.
    pub peer: PeerAddr,
    /// When the channel or the permission for its peer ends, whichever is first.
    pub until: Deadline,
    /// The policy lets it be reached only while it is the relayed address of a live allocation of this server.
    pub only_as_own_relay: bool,
}

impl Table {
    /// The shortcuts of `relay`. `None` if it is not here, was removed, or its packets need the whole of the protocol: another
    /// dialect, connections on either side, or a client on its way to another five-tuple, whose arrival must be noticed.
    #[must_use]
    pub fn shortcuts(&self, relay: RelayId) -> Option<Shortcuts> {
        let allocation = self.of_relay(relay)?;
        let [settled, awaited] = allocation.path().all();
        let five_tuple = settled.filter(|_| awaited.is_none())?;
        if !allocation.takes_datagrams()
            || allocation.dialect() != Dialect::Rfc8656
            || five_tuple.transport != Transport::Udp
        {
            return None;
        }
        let mut channels: Vec<_> = allocation
            .channels()
            .filter(|(_, channel, _)| channel.peer.family() == allocation.family())
            .filter_map(|(number, channel, until)| {
                let reach = match channel.judged_by == self.policy_number {
                    true => channel.reach,
                    false => self.reach(channel.peer),
                };
                (reach != Reach::Never).then(|| Shortcut {
                    channel: number,
                    peer: self.bound_form(channel.peer),
                    until,
                    only_as_own_relay: reach == Reach::OwnRelay,
                })
            })
            .collect();
        channels.sort_unstable_by_key(|shortcut| shortcut.channel);
        Some(Shortcuts {
            relay,
            five_tuple,
            bound: self.bound_form(PeerAddr::new(allocation.relayed().socket())),
            until: allocation.until(),
            bandwidth: allocation.bandwidth().clone(),
            channels,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::media::TableChange;
    use crate::proto::media::fixture::*;
    use crate::proto::types::RelayProtocol;

    use super::*;

    const R: RelayId = RelayId { index: 3, generation: 7 };

    fn world() -> Table {
        let mut table = table(true);
        for change in [
            insert(R, client(1), "198.51.100.1:50000", 1_000),
            permit(R, "203.0.113.1", 500),
            bind(R, 0x4002, "203.0.113.1:2000", 800),
            bind(R, 0x4001, "203.0.113.66:53", 800),
            bind(R, 0x4000, "198.51.100.1:50001", 800),
            bind(R, 0x4003, "[2001:db8:1::1]:2000", 800),
            permit(R, "2001:db8:1::1", 900),
            permit(R, "198.51.100.1", 900),
        ] {
            table.apply(change);
        }
        table
    }

    fn shortcut(number: u16, to: &str, until: u64, own: bool) -> Shortcut {
        Shortcut { channel: channel(number), peer: peer(to), until: ms(until), only_as_own_relay: own }
    }

    #[test]
    fn only_what_may_be_used_is_told_and_the_earlier_end_counts() {
        let told = world().shortcuts(R).unwrap();
        assert_eq!((told.relay, told.five_tuple, told.until), (R, client(1), ms(1_000)));
        assert_eq!(
            told.channels,
            [
                shortcut(0x4000, "198.51.100.1:50001", 800, true),
                shortcut(0x4002, "203.0.113.1:2000", 500, false)
            ],
            "not the forbidden port, not the other family"
        );
    }

    #[test]
    fn a_channel_without_a_permission_is_over() {
        let mut table = world();
        table.apply(TableChange::Forbid { relay: R, peer: "203.0.113.1".parse().unwrap() });
        assert_eq!(table.shortcuts(R).unwrap().channels[1], shortcut(0x4002, "203.0.113.1:2000", 0, false));
    }

    #[test]
    fn a_new_policy_is_asked_at_once() {
        let mut table = world();
        table.apply(TableChange::Policy(policy(&["203.0.113.1"])));
        let told = table.shortcuts(R).unwrap().channels;
        assert_eq!(told.iter().map(|one| one.channel.get()).collect::<Vec<_>>(), [0x4000, 0x4001]);
    }

    #[test]
    fn what_needs_the_whole_protocol_has_none() {
        let mut table = world();
        table.apply(TableChange::Await { relay: R, next: client(2) });
        assert_eq!(table.shortcuts(R), None, "its arrival must be noticed");
        table.apply(TableChange::Settle { relay: R });
        assert_eq!(table.shortcuts(R).unwrap().five_tuple, client(2));
        table.apply(TableChange::Remove { relay: R });
        assert_eq!(table.shortcuts(R), None);
        for (legacy, transport, protocol) in [
            (true, Transport::Udp, RelayProtocol::Udp),
            (false, Transport::Tcp, RelayProtocol::Udp),
            (false, Transport::Udp, RelayProtocol::Tcp),
        ] {
            let five_tuple = FiveTuple { transport, ..client(3) };
            let make = if legacy { insert_legacy } else { insert };
            let TableChange::Insert(mut new) = make(relay(9, 1), five_tuple, "198.51.100.1:50009", 9) else {
                unreachable!("both make an Insert")
            };
            new.protocol = protocol;
            table.apply(TableChange::Insert(new));
            assert_eq!(table.shortcuts(relay(9, 1)), None);
            table.forget(relay(9, 1));
        }
    }
}
