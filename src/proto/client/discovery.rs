//! How does the NAT in front of this host behave? A client of RFC 5780, sans I/O: two sockets ask a server that has two
//! addresses, one question after the other.
//!
//! ```text
//!  socket  to      asks for                 tells (RFC 5780)
//!  first   A1:P1   –                        § 4.3 test I: is there a server, and a NAT?
//!  first   A2:P1   –                        § 4.3 test II: the same mapping for another address?
//!  first   A2:P2   –                        § 4.3 test III: and for another port of it?
//!  second  A1:P1   –                        § 4.4 test I: a mapping that has met A1:P1 alone
//!  second  A1:P1   an answer from A2:P2     § 4.4 test II: does anybody get in?
//!  second  A1:P1   an answer from A1:P2     § 4.4 test III: does another port get in?
//!  both    each other's mapped address      § 4.5: does the NAT hairpin?
//! ```
//!
//! That a question is not answered is an answer too, so a run takes as long as its [`Timing`] gives up after, for each
//! thing that the NAT does not let in.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::types::Deadline;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::Tick;
use crate::proto::types::limits::REQUEST_MAX;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::decode::decode_request;
use crate::proto::wire::rfc8656::decode::decode_response;
use crate::proto::wire::rfc8656::encode::MessageWriter;

use super::Timing;

/// CHANGE-REQUEST: from the other port, and from the other address and port (RFC 5780 § 7.2).
const CHANGE_PORT: u8 = 0x02;
const CHANGE_BOTH: u8 = 0x06;

/// One of the two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Asks about mappings.
    First,
    /// Asks about filters.
    Second,
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// From which socket.
    pub from: Local,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Box<[u8]>,
}

/// What a decision of the NAT goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    /// Nothing of the other side.
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and port.
    AddressAndPortDependent,
}

/// Whether the server was reached, and what it can help to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It did not answer: UDP is blocked, or nobody listens there.
    Silent,
    /// It answered, and has one address only.
    OneAddress,
    /// It answered, and helps with all of it.
    Full,
}

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the server was reached.
    pub reach: Reach,
    /// The first socket's address as the server sees it.
    pub mapped: Option<SocketAddr>,
    /// Whether there is a NAT, which is to say whether the server sees another address than the socket has.
    pub nat: Option<bool>,
    /// When the NAT makes another mapping. Without a NAT there is none to make.
    pub mapping: Option<Seen>,
    /// Whom the NAT, or a firewall without one, lets in.
    pub filtering: Option<Seen>,
    /// Whether packets for the NAT's own address turn around. Known only where mappings depend on nothing, because
    /// elsewhere nobody can say what address to send to.
    pub hairpin: Option<bool>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Send this.
    Send(Send),
    /// All is found out that can be.
    Done(Finding),
}

/// A run of discovery. After each call take every [`Found`] from [`Self::poll_output`].
#[derive(Debug)]
pub struct Discovery<E> {
    entropy: E,
    timing: Timing,
    server: SocketAddr,
    locals: [SocketAddr; 2],
    other: Option<SocketAddr>,
    finding: Finding,
    /// Where the second test saw the first socket, and where the server sees the second one.
    seen: [Option<SocketAddr>; 2],
    at: Option<Asked>,
    outputs: VecDeque<Found>,
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Asked {
    question: Question,
    id: TransactionId,
    sends: Vec<Send>,
    /// Where the answer must come from; `None`: it is a request of our own that came back.
    from: Option<SocketAddr>,
    sent: u32,
    next: Deadline,
}

/// Which sockets ask whom, and where the answer must come from, as in [`Asked`].
type Journey = (Vec<(Local, SocketAddr)>, Option<SocketAddr>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    First,
    OtherAddress,
    OtherPort,
    Second,
    FromAnywhere,
    FromOtherPort,
    Hairpin,
}

impl<E: Entropy> Discovery<E> {
    /// Begins. `locals` are the two sockets' own addresses, on one IP address, which tells whether there is a NAT at all.
    #[must_use]
    pub fn new(server: SocketAddr, locals: [SocketAddr; 2], timing: Timing, entropy: E, now: Now) -> Self {
        let finding = Finding {
            reach: Reach::Silent,
            mapped: None,
            nat: None,
            mapping: None,
            filtering: None,
            hairpin: None,
        };
        let (seen, at, outputs) = ([None; 2], None, VecDeque::new());
        let mut new = Self { entropy, timing, server, locals, other: None, finding, seen, at, outputs };
        new.ask(now.tick(), Question::First);
        new
    }

    /// Takes in a datagram.
    pub fn handle_datagram(&mut self, now: Now, local: Local, from: SocketAddr, bytes: &[u8]) {
        let Some(asked) = &self.at else { return };
        let Some(expected) = asked.from else {
            let is_ours = decode_request(bytes).is_ok_and(|request| request.transaction == asked.id);
            if is_ours {
                self.answered(now.tick(), None);
            }
            return;
        };
        let is_asked = asked.sends.iter().any(|send| send.from == local) && from == expected;
        let Ok(answer) = decode_response(bytes) else { return };
        if is_asked && answer.success && answer.transaction == asked.id && answer.method == Method::Binding {
            self.other = self.other.or(answer.other_address);
            self.answered(now.tick(), answer.mapped_address);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        let Some(asked) = self.at.as_mut().filter(|asked| asked.next.is_due(now.tick())) else { return };
        if asked.sent >= self.timing.transmissions {
            return self.unanswered(now.tick());
        }
        asked.sent += 1;
        asked.next = now.tick().after(self.timing.wait_after(asked.sent));
        self.outputs.extend(asked.sends.iter().cloned().map(Found::Send));
    }

    /// The next thing to be done; `None` when there is nothing left for now.
    pub fn poll_output(&mut self) -> Option<Found> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is next worth calling; `None` when all is done.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.at.as_ref().map(|asked| asked.next)
    }

    fn ask(&mut self, tick: Tick, question: Question) {
        let mut id = [0; 12];
        self.entropy.fill_secret(&mut id);
        let id = TransactionId::with_cookie(id);
        let Some((sends, from)) = self.journey(question) else { return self.done() };
        let change = match question {
            Question::FromAnywhere => CHANGE_BOTH,
            Question::FromOtherPort => CHANGE_PORT,
            _ => 0,
        };
        let bytes = binding(id, change);
        let sends: Vec<_> =
            sends.into_iter().map(|(from, to)| Send { from, to, bytes: bytes.clone() }).collect();
        self.outputs.extend(sends.iter().cloned().map(Found::Send));
        let next = tick.after(self.timing.wait_after(1));
        self.at = Some(Asked { question, id, sends, from, sent: 1, next });
    }

    /// Which sockets ask whom, and where the answer must come from.
    fn journey(&self, question: Question) -> Option<Journey> {
        let server = self.server;
        let with = |local, to, from| Some((vec![(local, to)], Some(from)));
        match question {
            Question::First => with(Local::First, server, server),
            Question::Second => with(Local::Second, server, server),
            Question::OtherAddress => {
                let to = SocketAddr::new(self.other?.ip(), server.port());
                with(Local::First, to, to)
            }
            Question::OtherPort => with(Local::First, self.other?, self.other?),
            Question::FromAnywhere => with(Local::Second, server, self.other?),
            Question::FromOtherPort => {
                with(Local::Second, server, SocketAddr::new(server.ip(), self.other?.port()))
            }
            // Each sends to the other, because the other lets in only whom it has sent to.
            Question::Hairpin => {
                let (first, second) = (self.finding.mapped?, self.seen[1]?);
                Some((vec![(Local::First, second), (Local::Second, first)], None))
            }
        }
    }

    fn answered(&mut self, tick: Tick, mapped: Option<SocketAddr>) {
        let Some(question) = self.at.take().map(|asked| asked.question) else { return };
        let finding = &mut self.finding;
        let next = match question {
            Question::First => {
                finding.reach = if self.other.is_some() { Reach::Full } else { Reach::OneAddress };
                finding.mapped = mapped;
                finding.nat = mapped.map(|mapped| mapped != self.locals[0]);
                match finding.nat {
                    _ if self.other.is_none() => None,
                    Some(false) => Some(Question::Second),
                    _ => Some(Question::OtherAddress),
                }
            }
            Question::OtherAddress => {
                self.seen[0] = mapped;
                if mapped == finding.mapped {
                    finding.mapping = Some(Seen::EndpointIndependent);
                    Some(Question::Second)
                } else {
                    Some(Question::OtherPort)
                }
            }
            Question::OtherPort => {
                let same = mapped == self.seen[0];
                finding.mapping =
                    Some(if same { Seen::AddressDependent } else { Seen::AddressAndPortDependent });
                Some(Question::Second)
            }
            Question::Second => {
                self.seen[1] = mapped;
                Some(Question::FromAnywhere)
            }
            Question::FromAnywhere => self.filters(Seen::EndpointIndependent),
            Question::FromOtherPort => self.filters(Seen::AddressDependent),
            Question::Hairpin => {
                finding.hairpin = Some(true);
                None
            }
        };
        self.go_on(tick, next);
    }

    fn unanswered(&mut self, tick: Tick) {
        let Some(question) = self.at.take().map(|asked| asked.question) else { return };
        let next = match question {
            Question::FromAnywhere => Some(Question::FromOtherPort),
            Question::FromOtherPort => self.filters(Seen::AddressAndPortDependent),
            Question::Hairpin => {
                self.finding.hairpin = Some(false);
                None
            }
            // The server has another address and does not answer there: of mappings nothing can be said.
            Question::OtherAddress | Question::OtherPort => Some(Question::Second),
            Question::First | Question::Second => None,
        };
        self.go_on(tick, next);
    }

    /// Notes whom the NAT lets in, and whether there is something left to be found out.
    fn filters(&mut self, filtering: Seen) -> Option<Question> {
        self.finding.filtering = Some(filtering);
        (self.finding.mapping == Some(Seen::EndpointIndependent)).then_some(Question::Hairpin)
    }

    fn go_on(&mut self, tick: Tick, next: Option<Question>) {
        match next {
            Some(question) => self.ask(tick, question),
            None => self.done(),
        }
    }

    fn done(&mut self) {
        self.outputs.push_back(Found::Done(self.finding));
    }
}

fn binding(id: TransactionId, change: u8) -> Box<[u8]> {
    let mut buffer = [0; REQUEST_MAX];
    let mut writer = MessageWriter::request(&mut buffer, Method::Binding, id);
    if change > 0 {
        writer.attribute(attribute::CHANGE_REQUEST, &[0, 0, 0, change]);
    }
    let len = writer.finish().expect("a header and one small attribute");
    buffer[..len].into()
}
