//! A client with credentials that speaks the old dialect and does whatever it likes: wrong MACs, numbers that were used,
//! names of others' allocations, data without a destination.

use std::net::SocketAddr;

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::types::Dialect;
use crate::proto::types::Transport;
use crate::proto::wire::Malformed;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::TransactionId;
use crate::proto::wire::ms_turn::answer::decode_response;
use crate::proto::wire::ms_turn::attributes as attribute;
use crate::proto::wire::ms_turn::encode::Writer;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::ms_turn::framing::kind;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame_in;

use super::line::Line;
use super::packet::Mark;
use super::packet::Packet;
use super::packet::Sender;
use super::scenario::DENIED_PORT;
use super::scenario::HALF_DENIED;
use super::scenario::PASSWORD;
use super::scenario::REALM;
use super::shared::Shared;
use super::tcp::Number;

/// Number of the first one among clients.
const FIRST: u16 = 300;

#[derive(Debug)]
pub(super) struct Rogue {
    pub(super) number: u16,
    at: SocketAddr,
    server: SocketAddr,
    user: &'static str,
    nonce: Vec<u8>,
    sequence: Option<SequenceNumber>,
    targets: Vec<SocketAddr>,
    sent: u32,
    line: Option<Line>,
    inbox: Vec<u8>,
    /// A message that it said before.
    before: Vec<u8>,
}

/// How a request is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    No,
    WrongKey,
    NoIntegrity,
    NoUsername,
    NoRealm,
    NoNonce,
    Unknown,
}

impl Rogue {
    pub(super) fn new(
        at: u16,
        place: SocketAddr,
        server: SocketAddr,
        user: &'static str,
        targets: Vec<SocketAddr>,
        transport: Transport,
    ) -> Self {
        Self {
            number: FIRST + at,
            at: place,
            server,
            user,
            nonce: Vec::new(),
            sequence: None,
            targets,
            sent: 0,
            line: transport.is_stream().then(|| Line::new(transport, server)),
            inbox: Vec::new(),
            before: Vec::new(),
        }
    }

    pub(super) fn hear(&mut self, packet: &Packet) {
        if packet.from == self.server && self.line.is_none() {
            self.keep(&packet.payload);
        }
    }

    pub(super) fn has_line(&self, number: Number) -> bool {
        self.line.as_ref().is_some_and(|line| line.number == Some(number))
    }

    pub(super) fn hear_line(&mut self, sh: &mut Shared) {
        let Some(number) = self.line.as_ref().and_then(|line| line.number) else { return };
        let (pieces, ended) = sh.tcp.client_read(number);
        pieces.iter().for_each(|(bytes, _)| self.inbox.extend_from_slice(bytes));
        while let Next::Frame { len } = next_frame_in(Dialect::MsTurn, &self.inbox) {
            let rest = self.inbox.split_off(len);
            let frame = std::mem::replace(&mut self.inbox, rest);
            self.keep(&frame[FRAME_HEADER_LEN..]);
        }
        if ended {
            self.inbox.clear();
            self.line.iter_mut().for_each(|line| line.number = None);
        }
    }

    fn keep(&mut self, message: &[u8]) {
        let Ok(answer) = decode_response(message) else { return };
        if let Some(nonce) = answer.nonce {
            self.nonce = nonce.to_vec();
        }
        self.sequence = answer.sequence.filter(|_| answer.success).or(self.sequence);
    }

    /// Does one thing.
    pub(super) fn act(&mut self, sh: &mut Shared) {
        if sh.dice.chance(8) {
            self.hang_up(sh);
            self.at.set_port(self.at.port().checked_add(1).unwrap_or(9_000));
        }
        let spoilt = match sh.dice.number(30) {
            0 => Spoilt::WrongKey,
            1 => Spoilt::NoIntegrity,
            2 => Spoilt::NoUsername,
            3 => Spoilt::NoRealm,
            4 => Spoilt::NoNonce,
            5 => Spoilt::Unknown,
            _ => Spoilt::No,
        };
        match sh.dice.number(20) {
            0..4 => self.allocate(sh, spoilt),
            4..7 => self.ask_within(sh, kind::SET_ACTIVE_DESTINATION, spoilt),
            7..12 => self.ask_within(sh, kind::SEND, spoilt),
            12 => {
                let again = self.before.clone();
                self.say(sh, StreamFrame::Control, again);
            }
            _ => {
                let data = self.data(sh);
                self.say(sh, StreamFrame::Data, data);
            }
        }
    }

    /// It holds nothing any more.
    pub(super) fn fall_silent(&mut self, sh: &mut Shared) {
        self.hang_up(sh);
    }

    fn hang_up(&mut self, sh: &mut Shared) {
        self.inbox.clear();
        if let Some(line) = &mut self.line {
            line.hang_up(sh);
        }
    }

    fn data(&mut self, sh: &mut Shared) -> Vec<u8> {
        self.sent += 1;
        let len = sh.dice.pick(&[0, 40, 300, 1_200]);
        Mark { sender: Sender::Client(self.number), number: self.sent, answers: (u16::MAX, 0) }.write(len)
    }

    fn allocate(&mut self, sh: &mut Shared, spoilt: Spoilt) {
        let lifetime = match sh.dice.number(12) {
            0 => Some(0_u32),
            1..4 => Some(u32::try_from(sh.dice.number(700)).unwrap_or(600)),
            _ => None,
        };
        let message = self.message(sh, kind::ALLOCATE, spoilt, |rogue, writer| {
            writer.attribute(attribute::MS_VERSION, &[0, 0, 0, 1])?;
            if let Some(lifetime) = lifetime {
                writer.attribute(attribute::LIFETIME, &lifetime.to_be_bytes())?;
            }
            if spoilt != Spoilt::NoRealm {
                writer.attribute(attribute::REALM, REALM.as_bytes())?;
            }
            if spoilt != Spoilt::NoNonce {
                writer.attribute(attribute::NONCE, &rogue.nonce)?;
            }
            Ok(())
        });
        self.say(sh, StreamFrame::Control, message);
    }

    fn ask_within(&mut self, sh: &mut Shared, kind: u16, spoilt: Spoilt) {
        let sequence = match (sh.dice.number(12), &mut self.sequence) {
            // One that was used, one of another allocation, none.
            (0, Some(sequence)) => Some(*sequence),
            (1, Some(sequence)) => Some(SequenceNumber { connection: [9; 20], ..*sequence }),
            (2, _) | (_, None) => None,
            (_, Some(sequence)) => {
                sequence.number = sequence.number.wrapping_add(1);
                Some(*sequence)
            }
        };
        let peer = match sh.dice.number(20) {
            0 => SocketAddr::new(HALF_DENIED.ip(), DENIED_PORT),
            1 => self.server,
            _ => sh.dice.pick(&self.targets),
        };
        let data = if kind == kind::SEND { Some(self.data(sh)) } else { None };
        let is_whole = !sh.dice.chance(30);
        let message = self.message(sh, kind, spoilt, |_, writer| {
            if let Some(sequence) = sequence {
                writer.attribute(attribute::MS_SEQUENCE_NUMBER, &sequence.to_bytes())?;
            }
            if is_whole {
                writer.address(attribute::DESTINATION_ADDRESS, peer)?;
            }
            data.iter().try_for_each(|data| writer.attribute(attribute::DATA, data))
        });
        self.say(sh, StreamFrame::Control, message);
    }

    fn message(
        &self,
        sh: &mut Shared,
        kind: u16,
        spoilt: Spoilt,
        write: impl FnOnce(&Self, &mut Writer<'_>) -> Result<(), Malformed>,
    ) -> Vec<u8> {
        let id = TransactionId(std::array::from_fn(|_| sh.dice.bytes(1)[0]));
        let password: &[u8] = if spoilt == Spoilt::WrongKey { b"not this one" } else { PASSWORD };
        let key = integrity_key(PasswordAlgorithm::Md5, self.user.as_bytes(), REALM.as_bytes(), password);
        let mut out = [0; 2_000];
        let written = Writer::new(&mut out, kind, id).and_then(|mut writer| {
            write(self, &mut writer)?;
            if spoilt != Spoilt::NoUsername {
                writer.attribute(attribute::USERNAME, self.user.as_bytes())?;
            }
            if spoilt == Spoilt::Unknown {
                writer.attribute(0x0033, b"what?")?;
            }
            if spoilt != Spoilt::NoIntegrity {
                writer.integrity(&key)?;
            }
            Ok(writer.finish())
        });
        out[..written.expect("there is room")].to_vec()
    }

    fn say(&mut self, sh: &mut Shared, kind: StreamFrame, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if kind == StreamFrame::Control {
            self.before.clone_from(&bytes);
        }
        match &mut self.line {
            None => sh.from_hosts.push(Packet::new(self.at, self.server, bytes)),
            Some(line) => {
                // A connection begins with a message.
                if line.number.is_none() && kind == StreamFrame::Data {
                    return;
                }
                let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                let frame = [&kind.header(len)[..], &bytes].concat();
                line.send(sh, &mut self.at, &frame);
            }
        }
    }
}
