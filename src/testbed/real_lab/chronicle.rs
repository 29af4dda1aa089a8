//! Key events of a run in the order of time: what the routers saw of a side for the first time, what the server did to it on
//! purpose, and how its program ended. Packets are looked at as they leave the routers: to the internet, or to the place.

use std::time::Duration;

use crate::nat::Protocol;
use crate::nat::TcpFlags;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::testbed::edge::answer_words;
use crate::testbed::report::Happening;
use crate::testbed::report::Happenings;
use crate::testbed::report::What;

use super::addresses::Side;
use super::flow::Road;
use super::flow::in_message;
use super::gate::Fate;
use super::gate::Way;
use super::outcome::Ended;
use super::packet::Shape;
use super::router::Witness;

/// A chronicle that is being written.
#[derive(Debug)]
pub(super) struct Chronicle {
    happenings: Happenings,
    sides: [Known; 2],
}

/// What is known of a side.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    has_sent: bool,
    /// By which road the other side's data came last.
    road: Option<Road>,
    /// What comes may be stopped behind the router, where nobody sees it.
    is_hidden: bool,
}

impl Chronicle {
    /// `is_hidden`: whether what the router lets in to a side may be stopped yet.
    pub(super) fn new(is_hidden: [bool; 2]) -> Self {
        let sides = is_hidden.map(|is_hidden| Known { is_hidden, ..Known::default() });
        Self { happenings: Happenings::default(), sides }
    }

    /// What else happened, told by others.
    pub(super) fn add(&mut self, events: impl IntoIterator<Item = (Duration, Side, What, String)>) {
        for (at, side, what, detail) in events {
            self.happenings.happen(at, Some(side), what, detail);
        }
    }

    /// How a program ended, and when.
    pub(super) fn ended(&mut self, at: Duration, side: Side, ended: Ended) {
        let how = match ended {
            Ended::Exited(code) => format!("exit code {code}"),
            Ended::Signalled(signal) => format!("signal {signal}"),
            Ended::Hung => "it did not by itself, and was ended".to_owned(),
        };
        self.happenings.happen(at, Some(side), What::Ended, how);
    }

    /// All of it, in the order of time.
    pub(super) fn events(self) -> Vec<Happening> {
        self.happenings.in_order()
    }

    fn outward(&mut self, at: Duration, side: Side, packet: &[u8]) {
        let Some(seen) = Shape::read(packet).and_then(|shape| shape.packet(packet)) else { return };
        if !std::mem::replace(&mut self.sides[side.index()].has_sent, true) {
            let protocol = if seen.protocol == Protocol::Udp { "udp" } else { "tcp" };
            let detail = format!("{protocol} to {}", seen.destination);
            self.happenings.happen(at, Some(side), What::FirstPacket, detail);
        }
    }

    fn inward(&mut self, at: Duration, side: Side, packet: &[u8]) {
        let Some(shape) = Shape::read(packet) else { return };
        let Some(seen) = shape.packet(packet).filter(|seen| seen.fragment.is_none_or(|part| part.first))
        else {
            return;
        };
        let (road, payload) = (Road::of(side, seen.protocol, seen.source), shape.payload(packet));
        let from = seen.source;
        match road {
            Road::Server(relay) if matches!(seen.protocol, Protocol::Tcp(TcpFlags { syn: true, .. })) => {
                let detail = format!("the server over {}", relay.word());
                self.happenings.happen(at, Some(side), What::Opened, detail);
            }
            Road::Server(_) => {
                let message = road.message(payload);
                if let Some(answer) = message.and_then(|message| decode_response(message).ok()) {
                    self.happenings.happen(at, Some(side), What::Answer, answer_words(&answer));
                }
                if let Some(data) = message.and_then(in_message) {
                    self.check(at, side, data, "its own relay");
                }
            }
            Road::Direct | Road::ToRelay if !self.sides[side.index()].is_hidden => {
                self.check(at, side, payload, &from.to_string());
            }
            Road::Direct | Road::ToRelay | Road::Other => {}
        }
        if road.media(payload).is_some() && !road.is_opaque() {
            self.media(at, side, road);
        }
    }

    /// A datagram that another client sent may be a connectivity check, or the answer to one.
    fn check(&mut self, at: Duration, side: Side, datagram: &[u8], by: &str) {
        const REQUEST: [u8; 2] = [0x00, 0x01];
        const GRANTED: [u8; 2] = [0x01, 0x01];
        const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
        if datagram.get(4..8) != Some(&COOKIE) {
            return;
        }
        let (what, detail) = match datagram.first_chunk() {
            Some(&REQUEST) => (What::CheckHeard, format!("from {by}")),
            Some(&GRANTED) => (What::CheckAnswered, format!("by {by}")),
            _ => return,
        };
        self.happenings.happen(at, Some(side), what, detail);
    }

    fn media(&mut self, at: Duration, side: Side, road: Road) {
        let before = self.sides[side.index()].road.replace(road);
        let (what, detail) = match before {
            None => (What::Media, format!("the first of the other side, {}", road.word())),
            Some(before) if before != road => (What::Switched, road.word().to_owned()),
            Some(_) => return,
        };
        self.happenings.happen(at, Some(side), what, detail);
    }
}

impl Witness for Chronicle {
    fn came(&mut self, _: Duration, _: Side, _: Way, _: &[u8], _: Option<Fate>) {}

    fn went(&mut self, at: Duration, side: Side, way: Way, packet: &[u8]) {
        match way {
            Way::Out => self.outward(at, side, packet),
            Way::In => self.inward(at, side, packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::TCP;
    use super::super::packet::UDP;
    use super::super::packet::tests::made;
    use super::*;

    const LEFT: &str = "203.0.113.1:6000";
    const INSIDE: &str = "10.1.0.2:5000";
    const SERVER: &str = "192.0.2.1:3478";
    const RELAY: &str = "192.0.2.1:50000";
    const RIGHT: &str = "198.51.100.1:7000";

    fn stun(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&kind.to_be_bytes()[..], &len, &[0x21, 0x12, 0xA4, 0x42], &[7; 12], attributes].concat()
    }

    /// What is told of packets that come to the left side, one in a millisecond, from where and with what.
    fn told(chronicle: &mut Chronicle, packets: &[(u8, &str, &[u8])]) {
        for (at, (protocol, from, payload)) in packets.iter().enumerate() {
            let packet = made(*protocol, from, INSIDE, payload);
            chronicle.went(Duration::from_millis(at as u64), Side::Left, Way::In, &packet);
        }
    }

    fn lines(chronicle: Chronicle) -> Vec<String> {
        let line = |event: &Happening| {
            let times = if event.times > 1 { format!(" x{}", event.times) } else { String::new() };
            format!("{} {} {}{times}", event.at.as_millis(), event.what.word(), event.detail)
        };
        chronicle.events().iter().map(line).collect()
    }

    #[test]
    fn what_the_routers_see_is_told_once_and_counted() {
        let mut chronicle = Chronicle::new([false; 2]);
        for at in [1, 2] {
            let packet = made(UDP, LEFT, SERVER, &stun(0x0003, &[]));
            chronicle.went(Duration::from_millis(at), Side::Left, Way::Out, &packet);
        }
        let (refused, granted) = (stun(0x0113, &[0, 9, 0, 4, 0, 0, 4, 1]), stun(0x0103, &[]));
        let (check, answered) = (stun(0x0001, &[]), stun(0x0101, &[]));
        let channel = |data: &[u8]| [&[0x40, 0, 0, u8::try_from(data.len()).unwrap()], data].concat();
        told(
            &mut chronicle,
            &[
                (UDP, SERVER, &refused),
                (UDP, SERVER, &refused),
                (TCP, SERVER, &[&granted[..], &granted[..]].concat()),
                (UDP, SERVER, &channel(&check)),
                (UDP, RIGHT, &answered),
                (UDP, RIGHT, &check),
                (UDP, RIGHT, &check),
                (UDP, SERVER, &channel(b"\x80media")),
                (UDP, SERVER, &channel(b"\x80media")),
                (UDP, RELAY, b"\x80media"),
                (UDP, RIGHT, b"\x80media"),
                (UDP, "192.0.2.77:9", &check),
                (TCP, "192.0.2.1:443", &[23, 3, 3, 0, 1, 0]),
                (1, RIGHT, b"what is no datagram"),
            ],
        );
        chronicle.ended(Duration::from_millis(99), Side::Left, Ended::Exited(3));
        chronicle.add([(
            Duration::from_millis(50),
            Side::Left,
            What::Fault,
            "the server restarts".to_owned(),
        )]);
        let wanted = [
            "0 answer allocate: 401 x2",
            "1 first-packet udp to 192.0.2.1:3478",
            "2 answer allocate: granted",
            "3 check-heard from its own relay",
            "4 check-answered by 198.51.100.1:7000",
            "5 check-heard from 198.51.100.1:7000 x2",
            "7 media the first of the other side, server (udp)",
            "9 switched to the other side's relay",
            "10 switched direct",
            "50 fault the server restarts",
            "99 ended exit code 3",
        ];
        assert_eq!(lines(chronicle), wanted);
    }

    #[test]
    fn a_connection_is_open_when_the_server_says_so() {
        let mut chronicle = Chronicle::new([false; 2]);
        let mut packet = made(TCP, "192.0.2.1:443", INSIDE, b"");
        // SYN and ACK.
        packet[20 + 13] = 0x12;
        chronicle.went(Duration::ZERO, Side::Left, Way::In, &packet);
        assert_eq!(lines(chronicle), ["0 opened the server over tls"]);
    }

    #[test]
    fn a_check_that_a_nat_behind_the_router_may_stop_is_not_told() {
        let mut chronicle = Chronicle::new([true, false]);
        let check = stun(0x0001, &[]);
        told(&mut chronicle, &[(UDP, RIGHT, &check), (UDP, RELAY, &check)]);
        assert!(lines(chronicle).is_empty());
    }
}
