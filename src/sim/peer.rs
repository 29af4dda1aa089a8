//! Those whom clients reach through the relay.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::packet::Mark;
use super::packet::Packet;
use super::packet::Sender;
use super::scenario::RELAY_V4;
use super::scenario::RELAY_V6;
use super::shared::Shared;
use super::tcp::Number;

mod lines;

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Sends back what it gets.
    Echoes,
    /// Besides, writes to relayed addresses unasked.
    Intrudes,
    /// Answers from another port or not at all.
    Lies,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) number: u16,
    pub(super) at: SocketAddr,
    pub(super) manner: Manner,
    sent: u32,
    /// Its connections with relayed ports.
    lines: BTreeSet<Number>,
    /// It reads none of them for a while.
    sulks: bool,
}

impl Peer {
    pub(super) const fn new(number: u16, at: SocketAddr, manner: Manner) -> Self {
        Self { number, at, manner, sent: 0, lines: BTreeSet::new(), sulks: false }
    }

    /// A datagram reached it.
    pub(super) fn hear(&mut self, sh: &mut Shared, packet: &Packet) {
        if ![RELAY_V4, RELAY_V6].contains(&packet.from.ip()) {
            return;
        }
        sh.tally("data to peers");
        let mark = Mark::read(&packet.payload);
        if !packet.tainted && !packet.payload.is_empty() {
            match mark.map(|mark| mark.sender) {
                Some(Sender::Client(client)) if sh.oracle.owned(client, packet.from) => {}
                _ if sh.oracle.passes_anything(packet.from) => {}
                other => {
                    sh.violated(|| format!("peer {} got what {other:?} sent by {}", self.at, packet.from))
                }
            }
        }
        if self.manner == Manner::Lies && sh.dice.chance(500) {
            return;
        }
        let answers = match mark {
            Some(Mark { sender: Sender::Client(client), number, .. }) => (client, number),
            _ => (u16::MAX, 0),
        };
        let len = packet.payload.len();
        self.send(sh, packet.from, answers, len);
    }

    /// Does something unasked.
    pub(super) fn act(&mut self, sh: &mut Shared) {
        self.act_on_lines(sh);
        if self.manner != Manner::Echoes && !sh.directory.relayed.is_empty() {
            let relayed: Vec<_> = sh.directory.relayed.clone();
            let to = sh.dice.pick(&relayed);
            let len = sh.dice.pick(&[0, 40, 400, 1_400, 3_000]);
            if to.is_ipv4() == self.at.is_ipv4() {
                self.send(sh, to, (u16::MAX, 0), len);
            }
        }
    }

    fn send(&mut self, sh: &mut Shared, to: SocketAddr, answers: (u16, u32), len: usize) {
        self.sent += 1;
        let data = Mark { sender: Sender::Peer(self.number), number: self.sent, answers }.write(len);
        let mut from = self.at;
        if self.manner == Manner::Lies && sh.dice.chance(300) {
            from.set_port(from.port() + 1);
        }
        let mut packet = Packet::new(from, to, data);
        packet.header.traffic_class = sh.dice.pick(&[0, 0xB8]);
        sh.from_hosts.push(packet);
    }
}
