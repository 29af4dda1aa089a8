//! Somebody without credentials who means harm: garbage, floods, scans, other people's packets and other people's
//! addresses.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::types::IpHeader;
use crate::proto::types::Transport;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::encode::MessageWriter;

use super::packet::Packet;
use super::scenario::LISTEN_V4;
use super::scenario::LISTEN_V6;
use super::scenario::RELAY_V4;
use super::scenario::STREAM_PORT;
use super::shared::Shared;
use super::tcp::Farewell;
use super::tcp::Number;
use crate::proto::types::Dice;

/// Connections that it has at a time.
const LINES_MAX: usize = 6;

#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) at: SocketAddr,
    server: SocketAddr,
    /// Connections it has, oldest first.
    lines: VecDeque<Number>,
}

impl Stranger {
    pub(super) fn new(at: SocketAddr) -> Self {
        let server = if at.is_ipv4() { LISTEN_V4 } else { LISTEN_V6 };
        Self { at, server, lines: VecDeque::new() }
    }

    /// Does one bad thing. When `gentle` it harms nobody else's budget: no other source than its own.
    pub(super) fn act(&mut self, sh: &mut Shared, gentle: bool) {
        if sh.dice.chance(200) {
            return self.call(sh);
        }
        match sh.dice.number(if gentle { 6 } else { 9 }) {
            0 => self.send(sh, |dice| {
                let len = dice.index(80);
                dice.bytes(len)
            }),
            1 => self.send(sh, looks_like_stun),
            2 => self.send(sh, |dice| [&[0x40, 0x01, 0, 4][..], &dice.bytes(4)].concat()),
            3 => self.send(sh, allocate),
            4 => self.send(sh, binding),
            5 => self.scan(sh),
            6 if sh.dice.chance(100) => self.flood(sh),
            6 | 7 => self.replay(sh),
            _ => self.forge(sh),
        }
    }

    fn send(&self, sh: &mut Shared, make: impl Fn(&mut Dice) -> Vec<u8>) {
        let payload = make(&mut sh.dice);
        sh.from_hosts.push(Packet { tainted: true, ..Packet::new(self.at, self.server, payload) });
    }

    /// Makes a connection, or goes on with one: nothing at all, half a message, or anything else.
    fn call(&mut self, sh: &mut Shared) {
        let is_new = self.lines.is_empty() || self.lines.len() < LINES_MAX && sh.dice.chance(400);
        let number = if is_new {
            self.at.set_port(self.at.port().checked_add(1).unwrap_or(10_000));
            let server = SocketAddr::new(self.server.ip(), STREAM_PORT);
            let transport = sh.dice.pick(&[Transport::Tcp, Transport::Tls]);
            let number = sh.tcp.dial(self.at, server, transport);
            sh.tcp.get_mut(number).into_iter().for_each(|connection| connection.tainted = true);
            self.lines.push_back(number);
            number
        } else {
            let at = sh.dice.index(self.lines.len());
            self.lines[at]
        };
        let dice = &mut sh.dice;
        let mut bytes = match dice.number(7) {
            0 => Vec::new(),
            1 => looks_like_stun(dice),
            2 => [&[0x40, 0x01, 0, 4][..], &dice.bytes(4)].concat(),
            3 | 4 => allocate(dice),
            5 => binding(dice),
            _ => dice.bytes(30),
        };
        if dice.chance(200) {
            bytes.truncate(dice.index(bytes.len() + 1));
        }
        sh.tcp.client_send(number, &bytes, false);
        let is_over = sh.tcp.client_read(number).1;
        if is_over || sh.dice.chance(50) {
            sh.tcp.client_close(number, Farewell::Reset);
            self.lines.retain(|each| *each != number);
        }
    }

    /// Writes to relay ports, whoever has them.
    fn scan(&self, sh: &mut Shared) {
        if self.at.is_ipv4() {
            for _ in 0..4 {
                let port = u16::try_from(sh.dice.range(50_000, 50_060)).unwrap_or(50_000);
                let payload = sh.dice.bytes(20);
                let packet = Packet::new(self.at, SocketAddr::new(RELAY_V4, port), payload);
                sh.from_hosts.push(Packet { tainted: true, ..packet });
            }
        }
    }

    fn flood(&self, sh: &mut Shared) {
        for _ in 0..100 {
            self.send(sh, allocate);
        }
    }

    /// Sends again what somebody else sent, from there or from here, whole or changed.
    fn replay(&self, sh: &mut Shared) {
        let len = sh.directory.overheard.len();
        if len == 0 {
            return;
        }
        let at = sh.dice.index(len);
        let mut packet = sh.directory.overheard[at].clone();
        packet.tainted = true;
        if sh.dice.chance(300) {
            packet.from = self.at;
            packet.to = self.server;
        }
        if sh.dice.chance(300) && !packet.payload.is_empty() {
            let at = sh.dice.index(packet.payload.len());
            packet.payload[at] ^= 1 << sh.dice.number(8);
        }
        if sh.dice.chance(200) {
            let len = sh.dice.index(packet.payload.len() + 1);
            packet.payload.truncate(len);
        }
        packet.header = IpHeader { hop_limit: Some(40), ..packet.header };
        sh.coverage.fact("packet replayed");
        sh.from_hosts.push(packet);
    }

    /// Sends in somebody else's name: a client to the server, the server to a client, a peer to a relayed address.
    fn forge(&self, sh: &mut Shared) {
        let len = sh.directory.overheard.len();
        if len == 0 {
            return;
        }
        let at = sh.dice.index(len);
        let overheard = sh.directory.overheard[at].clone();
        let payload = match sh.dice.number(3) {
            0 => allocate(&mut sh.dice),
            1 => looks_like_stun(&mut sh.dice),
            _ => [&[0x40, 0, 0, 8][..], &sh.dice.bytes(8)].concat(),
        };
        let (from, to) = match sh.dice.number(3) {
            0 => (overheard.from, overheard.to),
            1 => (overheard.to, overheard.from),
            _ => {
                let (peers, relayed) = (sh.directory.peers.clone(), sh.directory.relayed.clone());
                if peers.is_empty() || relayed.is_empty() {
                    return;
                }
                (sh.dice.pick(&peers), sh.dice.pick(&relayed))
            }
        };
        sh.coverage.fact("packet forged");
        if from.is_ipv4() == to.is_ipv4() {
            sh.from_hosts.push(Packet { tainted: true, ..Packet::new(from, to, payload) });
        }
    }
}

/// A STUN header with any class, method and length, and bytes that may be attributes.
fn looks_like_stun(dice: &mut Dice) -> Vec<u8> {
    let len = dice.index(40);
    let declared = if dice.chance(500) { len.next_multiple_of(4) } else { dice.index(60) };
    let kind =
        dice.pick(&[0x0001, 0x0003, 0x0004, 0x0008, 0x0009, 0x0016, 0x0017, 0x0103, 0x0113, 0x0FFF_u16]);
    let declared = u16::try_from(declared).unwrap_or(0);
    let mut bytes = [kind.to_be_bytes(), declared.to_be_bytes()].concat();
    bytes.extend_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
    bytes.extend(dice.bytes(12 + len));
    bytes
}

fn allocate(dice: &mut Dice) -> Vec<u8> {
    write(dice, Method::Allocate, |writer| {
        writer.attribute(attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    })
}

fn binding(dice: &mut Dice) -> Vec<u8> {
    let change = dice.pick(&[0_u8, 2, 4, 6]);
    write(dice, Method::Binding, |writer| {
        if change != 0 {
            writer.attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, change]);
        }
    })
}

fn write(dice: &mut Dice, method: Method, body: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut id = [0; 12];
    id.copy_from_slice(&dice.bytes(12));
    let mut buffer = [0; 200];
    let mut writer = MessageWriter::request(&mut buffer, method, TransactionId::with_cookie(id));
    body(&mut writer);
    let len = writer.finish().unwrap_or(0);
    buffer[..len].to_vec()
}
