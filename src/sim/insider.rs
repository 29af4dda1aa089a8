//! A client with credentials that does whatever it likes: wrong requests, data where it may not, nothing renewed.

use std::net::SocketAddr;

use crate::proto::auth::integrity_key::OFFERED;
use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::auth::integrity_key::userhash;
use crate::proto::types::ConnectionId;
use crate::proto::types::PeerAddr;
use crate::proto::types::Transport;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::indication;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::framing::MessageClass;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::Signature;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame;

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
use crate::proto::types::Dice;

/// Number of the first insider among clients.
pub(super) const FIRST: u16 = 100;

#[derive(Debug)]
pub(super) struct Insider {
    pub(super) number: u16,
    pub(super) at: SocketAddr,
    server: SocketAddr,
    user: &'static str,
    algorithm: PasswordAlgorithm,
    nonce: Vec<u8>,
    ticket: Option<Vec<u8>>,
    token: Option<[u8; 8]>,
    targets: Vec<SocketAddr>,
    sent: u32,
    /// Its connection, if it comes over one.
    line: Option<Line>,
    inbox: Vec<u8>,
    /// It does not read what comes.
    slow: bool,
}

/// How a request is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    No,
    WrongKey,
    WrongUser,
    NoUsername,
    NoIntegrity,
    WrongOffer,
}

impl Insider {
    pub(super) fn new(
        sh: &mut Shared,
        number: u16,
        at: SocketAddr,
        server: SocketAddr,
        user: &'static str,
        targets: Vec<SocketAddr>,
        transport: Transport,
    ) -> Self {
        let algorithm = sh.dice.pick(&[PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256]);
        let (nonce, ticket, token) = (Vec::new(), None, None);
        let line = transport.is_stream().then(|| Line::new(transport, server));
        let (sent, inbox, slow) = (0, Vec::new(), false);
        Self { number, at, server, user, algorithm, nonce, ticket, token, targets, sent, line, inbox, slow }
    }

    /// A datagram reached it: it keeps what it can use.
    pub(super) fn hear(&mut self, packet: &Packet) {
        if packet.from == self.server && self.line.is_none() {
            self.keep(&packet.payload);
        }
    }

    /// Something came over its connection, or the end of it.
    pub(super) fn hear_line(&mut self, sh: &mut Shared) {
        let Some(number) = self.line.as_ref().and_then(|line| line.number) else { return };
        if self.slow {
            return;
        }
        let (pieces, ended) = sh.tcp.client_read(number);
        pieces.iter().for_each(|(bytes, _)| self.inbox.extend_from_slice(bytes));
        while let Next::Frame { len } = next_frame(&self.inbox) {
            let rest = self.inbox.split_off(len);
            let frame = std::mem::replace(&mut self.inbox, rest);
            self.keep(&frame);
        }
        if ended {
            self.inbox.clear();
            self.line.iter_mut().for_each(|line| line.number = None);
        }
    }

    /// Whether this is its connection.
    pub(super) fn has_line(&self, number: Number) -> bool {
        self.line.as_ref().is_some_and(|line| line.number == Some(number))
    }

    fn keep(&mut self, message: &[u8]) {
        let Ok(answer) = decode_response(message) else { return };
        if let Some(nonce) = answer.nonce {
            self.nonce = nonce.to_vec();
        }
        self.ticket = answer.mobility_ticket.map(<[u8]>::to_vec).or(self.ticket.take());
        self.token = answer.reservation_token.or(self.token);
    }

    /// Does one thing.
    pub(super) fn act(&mut self, sh: &mut Shared) {
        self.mind_line(sh);
        let spoilt = match sh.dice.number(60) {
            0 => Spoilt::WrongKey,
            1 => Spoilt::WrongUser,
            2 => Spoilt::NoUsername,
            3 => Spoilt::NoIntegrity,
            4 => Spoilt::WrongOffer,
            _ => Spoilt::No,
        };
        match sh.dice.number(100) {
            0..10 => self.allocate(sh, spoilt),
            10..18 => self.refresh(sh, spoilt),
            18..30 => self.permit(sh, spoilt),
            30..40 => self.bind(sh, spoilt),
            40 => self.ask(sh, spoilt, Method::Refresh, |_, _, writer| {
                writer.attribute(0x7FFF, b"what?");
            }),
            41 => self.ask(sh, spoilt, Method::Unknown(0x00C), |_, _, _| {}),
            42 => self.ask(sh, Spoilt::NoIntegrity, Method::Binding, |_, _, _| {}),
            43 | 44 => self.move_on(sh),
            45..48 => self.send_oddly(sh),
            48 => self.burst(sh),
            49 => self.flood(sh),
            50..54 => self.connect(sh, spoilt),
            54..75 => self.send_by_channel(sh),
            _ => self.send(sh),
        }
    }

    fn allocate(&mut self, sh: &mut Shared, spoilt: Spoilt) {
        self.ask(sh, spoilt, Method::Allocate, |insider, dice, writer| {
            let transport = dice.pick(&[17, 17, 17, 17, 17, 17, 6, 6, 33]);
            if !dice.chance(30) {
                writer.attribute(attribute::REQUESTED_TRANSPORT, &[transport, 0, 0, 0]);
            }
            if dice.chance(300) {
                let lifetime = dice.pick(&[0_u32, 1, 60, 4_000, u32::MAX]);
                writer.attribute(attribute::LIFETIME, &lifetime.to_be_bytes());
            }
            match dice.number(12) {
                0 => {
                    writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[dice.pick(&[2, 2, 3]), 0, 0, 0]);
                }
                1 | 2 => {
                    writer.attribute(
                        attribute::ADDITIONAL_ADDRESS_FAMILY,
                        &[dice.pick(&[1, 2, 2, 2]), 0, 0, 0],
                    );
                }
                3 => {
                    writer.attribute(attribute::EVEN_PORT, &[dice.pick(&[0, 0x80])]);
                }
                4 => {
                    let token = insider.token.unwrap_or([7; 8]);
                    writer.attribute(attribute::RESERVATION_TOKEN, &token);
                }
                5 | 6 => {
                    writer.attribute(attribute::MOBILITY_TICKET, &[]);
                }
                _ => {}
            }
        });
    }

    fn refresh(&mut self, sh: &mut Shared, spoilt: Spoilt) {
        self.ask(sh, spoilt, Method::Refresh, |insider, dice, writer| {
            let lifetime = match dice.number(20) {
                0..3 => 0_u32,
                3 => u32::MAX,
                _ => u32::try_from(dice.number(700)).unwrap_or(600),
            };
            if dice.chance(800) {
                writer.attribute(attribute::LIFETIME, &lifetime.to_be_bytes());
            }
            match (dice.number(8), &insider.ticket) {
                (0, _) => {
                    writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[dice.pick(&[1, 2, 9]), 0, 0, 0]);
                }
                (1, _) => {
                    writer.attribute(attribute::MOBILITY_TICKET, b"a ticket that nobody gave out 32");
                }
                (2, Some(ticket)) => {
                    writer.attribute(attribute::MOBILITY_TICKET, ticket);
                }
                _ => {}
            }
        });
    }

    fn permit(&mut self, sh: &mut Shared, spoilt: Spoilt) {
        self.ask(sh, spoilt, Method::CreatePermission, |insider, dice, writer| {
            let count = dice.pick(&[0, 1, 1, 1, 1, 2, 5, 64, 65]);
            for _ in 0..count {
                writer.peer(PeerAddr::new(insider.some_peer(dice)));
            }
        });
    }

    fn bind(&mut self, sh: &mut Shared, spoilt: Spoilt) {
        self.ask(sh, spoilt, Method::ChannelBind, |insider, dice, writer| {
            let number = 0x4000 + u16::try_from(dice.number(6)).unwrap_or(0);
            let number = if dice.chance(60) { dice.pick(&[0x3FFF, 0x5000, 0x7FFE, 0x7FFF]) } else { number };
            let [high, low] = number.to_be_bytes();
            writer.attribute(attribute::CHANNEL_NUMBER, &[high, low, 0, 0]);
            if !dice.chance(30) {
                writer.peer(PeerAddr::new(insider.some_peer(dice)));
            }
        });
    }

    /// A connection to some peer, or the joining of one that is another's, or nobody's.
    fn connect(&mut self, sh: &mut Shared, spoilt: Spoilt) {
        if sh.dice.chance(800) {
            return self.ask(sh, spoilt, Method::Connect, |insider, dice, writer| {
                for _ in 0..dice.pick(&[0, 1, 1, 1, 1, 1, 1, 2]) {
                    writer.peer(PeerAddr::new(insider.some_peer(dice)));
                }
            });
        }
        let known = sh.directory.connection.map(ConnectionId::to_wire);
        self.ask(sh, spoilt, Method::ConnectionBind, |_, dice, writer| {
            let value = known.filter(|_| dice.chance(700)).unwrap_or(0x0102_0300);
            writer.attribute(attribute::CONNECTION_ID, &value.to_be_bytes());
        });
    }

    /// With what little chance the rules leave: another five-tuple, with the ticket and without.
    fn move_on(&mut self, sh: &mut Shared) {
        match &mut self.line {
            None => self.at.set_port(self.at.port().checked_add(1).unwrap_or(6_000)),
            Some(_) => self.hang_up(sh),
        }
        let Some(ticket) = self.ticket.clone() else { return };
        self.ask(sh, Spoilt::No, Method::Refresh, |_, _, writer| {
            writer.attribute(attribute::MOBILITY_TICKET, &ticket);
        });
    }

    /// Leaves its connection now and then, or stops reading it for a while.
    fn mind_line(&mut self, sh: &mut Shared) {
        if self.line.is_none() {
            return;
        }
        match sh.dice.number(400) {
            0..3 => self.hang_up(sh),
            3..12 => self.slow = true,
            12..15 => self.slow = false,
            // So many answers that nobody reads find no room in the end, nor does what peers send back.
            15..100 if self.slow => self.flood(sh),
            100..140 if self.slow => self.burst(sh),
            _ => self.hear_line(sh),
        }
    }

    fn hang_up(&mut self, sh: &mut Shared) {
        self.slow = false;
        self.inbox.clear();
        self.line.iter_mut().for_each(|line| line.hang_up(sh));
    }

    fn some_peer(&self, dice: &mut Dice) -> SocketAddr {
        let at = |text: &str| text.parse().expect("an address of this file");
        match dice.number(24) {
            0 => at("127.0.0.1:80"),
            1 => at("169.254.169.254:80"),
            2 => at("[::ffff:10.0.0.1]:80"),
            3 => at("192.0.2.1:3478"),
            4 => SocketAddr::new(HALF_DENIED.ip(), DENIED_PORT),
            5..8 => HALF_DENIED,
            8 => at("198.51.100.200:9"),
            9 => at("203.0.113.7:50001"),
            _ => dice.pick(&self.targets),
        }
    }

    /// Data by a Send indication, to whomever.
    fn send(&mut self, sh: &mut Shared) {
        let mut to = self.some_peer(&mut sh.dice);
        if sh.dice.chance(100) {
            to.set_port(DENIED_PORT);
        }
        let data = self.data(sh);
        let whole = sh.dice.chance(200);
        let message = self.indication(sh, indication::SEND, |writer| {
            writer.peer(PeerAddr::new(to));
            if whole {
                writer.attribute(attribute::DONT_FRAGMENT, &[]);
            }
            writer.attribute(attribute::DATA, &data);
        });
        self.transmit(sh, message);
    }

    fn send_by_channel(&mut self, sh: &mut Shared) {
        let data = self.data(sh);
        let number = 0x4000 + u16::try_from(sh.dice.number(7)).unwrap_or(0);
        let len = u16::try_from(data.len()).unwrap_or(0);
        let message = [&number.to_be_bytes()[..], &len.to_be_bytes(), &data].concat();
        self.transmit(sh, message);
    }

    /// Messages that are no data, or no messages.
    fn send_oddly(&mut self, sh: &mut Shared) {
        let peer = PeerAddr::new(sh.dice.pick(&self.targets));
        let message = match sh.dice.number(9) {
            0 => vec![0x40, 0, 0, 200, 1],
            1 => self.indication(sh, indication::DATA, |writer| {
                writer.peer(peer).attribute(attribute::DATA, b"x");
            }),
            2 => self.indication(sh, indication::SEND, |writer| {
                writer.peer(peer);
            }),
            3 => self.indication(sh, indication::SEND, |writer| {
                writer.peer(peer).attribute(0x7FFF, b"").attribute(attribute::DATA, b"x");
            }),
            4 => self.indication(sh, indication::SEND, |writer| {
                writer.peer(peer).attribute(attribute::DATA, b"cut off");
            })[..30]
                .to_vec(),
            5 => sh.dice.bytes(60),
            6 => self.message(sh, MessageClass::Success, Method::Allocate, |_| {}),
            7 => self.message(sh, MessageClass::Request, Method::Refresh, |writer| {
                writer.zeros(attribute::SOFTWARE, 9_000);
            }),
            _ => vec![0x80; 30],
        };
        self.transmit(sh, message);
        // Where the next frame begins is anybody's guess from here on.
        let connection = self.line.as_ref().and_then(|line| line.number).and_then(|it| sh.tcp.get_mut(it));
        connection.into_iter().for_each(|connection| connection.tainted = true);
    }

    /// More than a narrow bandwidth lets pass.
    fn burst(&mut self, sh: &mut Shared) {
        for _ in 0..12 {
            self.sent += 1;
            let mark =
                Mark { sender: Sender::Client(self.number), number: self.sent, answers: (u16::MAX, 0) };
            let data = mark.write(1_200);
            let message = [&[0x40, 0, 0x04, 0xB0][..], &data].concat();
            self.transmit(sh, message);
        }
    }

    /// More requests than a small ring holds.
    fn flood(&mut self, sh: &mut Shared) {
        for _ in 0..20 {
            self.ask(sh, Spoilt::No, Method::Refresh, |_, _, _| {});
        }
    }

    fn data(&mut self, sh: &mut Shared) -> Vec<u8> {
        self.sent += 1;
        let mark = Mark { sender: Sender::Client(self.number), number: self.sent, answers: (u16::MAX, 0) };
        let len = sh.dice.pick(&[0, 50, 500, 1_400, 2_500]);
        mark.write(len)
    }

    fn ask(
        &mut self,
        sh: &mut Shared,
        spoilt: Spoilt,
        method: Method,
        body: impl FnOnce(&Self, &mut Dice, &mut MessageWriter<'_>),
    ) {
        let mut dice = sh.dice.fork();
        let insider = &*self;
        let message = insider.message(sh, MessageClass::Request, method, |writer| {
            body(insider, &mut dice, writer);
            if !insider.nonce.is_empty() && spoilt != Spoilt::NoIntegrity {
                insider.sign(writer, spoilt);
            }
        });
        self.transmit(sh, message);
    }

    fn sign(&self, writer: &mut MessageWriter<'_>, spoilt: Spoilt) {
        let user = if spoilt == Spoilt::WrongUser { "honest0" } else { self.user };
        // Bit 1 of the features: the server wants no name in clear.
        let anonymous = self.nonce.get(12) == Some(&b'D');
        let password = if spoilt == Spoilt::WrongKey { b"wrong" } else { PASSWORD };
        let key = integrity_key(self.algorithm, user.as_bytes(), REALM.as_bytes(), password);
        match (spoilt, anonymous) {
            (Spoilt::NoUsername, _) => {}
            (_, true) => {
                let hash = userhash(user.as_bytes(), REALM.as_bytes());
                writer.attribute(attribute::USERHASH, &hash);
            }
            (_, false) => {
                writer.attribute(attribute::USERNAME, user.as_bytes());
            }
        }
        writer.attribute(attribute::REALM, REALM.as_bytes()).attribute(attribute::NONCE, &self.nonce);
        let algorithm = match self.algorithm {
            PasswordAlgorithm::Md5 => Algorithm::Sha1,
            PasswordAlgorithm::Sha256 => {
                let offered: &[u8] = if spoilt == Spoilt::WrongOffer { &OFFERED[..4] } else { &OFFERED };
                writer
                    .attribute(attribute::PASSWORD_ALGORITHMS, offered)
                    .attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
                Algorithm::Sha256
            }
        };
        writer.integrity(Signature { key: &key, algorithm });
    }

    fn indication(&self, sh: &mut Shared, method: u16, body: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        self.message(sh, MessageClass::Indication, Method::Unknown(method), body)
    }

    #[expect(clippy::unused_self, reason = "all that it says goes through here")]
    fn message(
        &self,
        sh: &mut Shared,
        class: MessageClass,
        method: Method,
        body: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Vec<u8> {
        let mut id = [0; 12];
        id.copy_from_slice(&sh.dice.bytes(12));
        let mut buffer = vec![0; 12_000];
        let mut writer = MessageWriter::new(&mut buffer, class, method, TransactionId::with_cookie(id));
        body(&mut writer);
        let len = writer.finish().unwrap_or(0);
        buffer.truncate(len);
        buffer
    }

    fn transmit(&mut self, sh: &mut Shared, mut message: Vec<u8>) {
        if let Some(line) = &mut self.line {
            message.resize(message.len().next_multiple_of(4), 0);
            return line.send(sh, &mut self.at, &message);
        }
        sh.from_hosts.push(Packet::new(self.at, self.server, message));
    }
}
