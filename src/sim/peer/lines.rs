//! A peer's end of connections with relayed ports: it lets them in, turns them away, or says nothing; connects by itself;
//! sends back what it reads, now and then slowly; leaves.

use std::net::SocketAddr;

use crate::proto::types::Transport;
use crate::sim::packet::Mark;
use crate::sim::packet::Sender;
use crate::sim::shared::Shared;
use crate::sim::tcp::Farewell;
use crate::sim::tcp::Number;

use super::Manner;
use super::Peer;

/// Connections that a peer has at most.
const LINES_MAX: usize = 8;

impl Peer {
    /// Somebody connects to it.
    pub(in crate::sim) fn meet(&mut self, sh: &mut Shared, number: Number) {
        let lets_in = match sh.dice.number(10) {
            _ if sh.calm => true,
            0 | 1 => false,
            // Nobody answers.
            2 => return,
            _ => self.lines.len() < LINES_MAX,
        };
        if lets_in {
            self.lines.insert(number);
        }
        sh.coverage.fact(if lets_in { "peer lets in" } else { "peer refuses" });
        sh.tcp.peer_meets(number, lets_in);
    }

    /// Connects to a relayed port, and says something.
    pub(in crate::sim) fn visit(&mut self, sh: &mut Shared, port: SocketAddr) {
        self.sent += 1;
        let from = SocketAddr::new(self.at.ip(), 40_000 + u16::try_from(self.sent % 20_000).unwrap_or(0));
        let number = sh.tcp.dial(from, port, Transport::Tcp);
        self.lines.insert(number);
        self.say(sh, number);
    }

    fn say(&mut self, sh: &mut Shared, number: Number) {
        self.sent += 1;
        let mark = Mark { sender: Sender::Peer(self.number), number: self.sent, answers: (u16::MAX, 0) };
        let len = sh.dice.pick(&[30, 61, 1_400, 9_000]);
        self.write(sh, number, &mark.write(len));
    }

    fn write(&self, sh: &mut Shared, number: Number, bytes: &[u8]) {
        sh.flows.peer_sent(number, bytes);
        sh.tcp.client_send(number, bytes, false);
    }

    pub(in crate::sim) fn has_line(&self, number: Number) -> bool {
        self.lines.contains(&number)
    }

    /// Something came over a connection, or the end of it.
    pub(in crate::sim) fn hear_line(&mut self, sh: &mut Shared, number: Number) {
        if self.sulks && !sh.calm || !self.lines.contains(&number) {
            return;
        }
        let (pieces, ended) = sh.tcp.client_read(number);
        for (bytes, _) in pieces {
            sh.tally("bytes of connections to peers");
            let verdict = sh.flows.peer_heard(number, &bytes);
            sh.judged(verdict);
            if self.manner != Manner::Lies || sh.calm {
                self.write(sh, number, &bytes);
            }
        }
        if ended {
            self.lines.remove(&number);
        } else if !sh.calm && sh.dice.chance(20) {
            self.leave(sh, number);
        }
    }

    fn leave(&mut self, sh: &mut Shared, number: Number) {
        self.lines.remove(&number);
        let how = sh.dice.pick(&[Farewell::Fin, Farewell::Reset, Farewell::None]);
        sh.tcp.client_close(number, how);
    }

    /// Does something about its connections unasked.
    pub(super) fn act_on_lines(&mut self, sh: &mut Shared) {
        for number in self.lines.clone() {
            self.hear_line(sh, number);
        }
        if sh.calm {
            return;
        }
        if sh.dice.chance(if self.sulks { 60 } else { 30 }) {
            self.sulks = !self.sulks;
        }
        let lines: Vec<_> = self.lines.iter().copied().collect();
        if !lines.is_empty() {
            let number = sh.dice.pick(&lines);
            match sh.dice.number(20) {
                0 => self.leave(sh, number),
                1..8 => self.say(sh, number),
                _ => {}
            }
        }
        let mut ports = sh.directory.ports.clone();
        ports.retain(|port| port.is_ipv4() == self.at.is_ipv4());
        if !ports.is_empty() && self.lines.len() < LINES_MAX && sh.dice.chance(200) {
            let port = sh.dice.pick(&ports);
            self.visit(sh, port);
        }
    }

    /// Nobody is here any more.
    pub(in crate::sim) fn fall_silent(&mut self, sh: &mut Shared) {
        for number in std::mem::take(&mut self.lines) {
            sh.tcp.client_close(number, Farewell::Fin);
        }
    }
}
