//! What can happen to the server: each [`Op`] is eight bytes, so that a fuzzer's bytes are a history.

use super::setup::PEERS;

/// Bytes of one operation.
pub const OP_LEN: usize = 8;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A client sends an authenticated request.
    Ask {
        /// Which five-tuple.
        client: usize,
        /// As whom.
        login: Login,
        /// For what.
        body: Body,
    },
    /// A client sends a request without credentials.
    Naked {
        /// Which five-tuple.
        client: usize,
    },
    /// A request that was sent before comes again, byte for byte: the last but so many.
    Replay {
        /// How far back.
        back: usize,
    },
    /// A client sends so many Refreshes.
    Burst {
        /// Which five-tuple.
        client: usize,
        /// As whom.
        user: usize,
        /// How many.
        count: usize,
    },
    /// A client sends a Send indication.
    Send {
        /// Which five-tuple.
        client: usize,
        /// To which peer.
        peer: usize,
    },
    /// A client sends ChannelData.
    Data {
        /// Which five-tuple.
        client: usize,
        /// On which channel.
        channel: u16,
    },
    /// A peer sends to the relayed address of a client.
    FromPeer {
        /// Whose.
        client: usize,
        /// Which peer.
        peer: usize,
    },
    /// Time passes.
    Wait(Wait),
    /// The wall clock is set, by so many seconds.
    SetWallClock(i32),
    /// The next so many sockets that a worker shall open, take over or give away go wrong.
    Fail {
        /// Which worker.
        worker: usize,
        /// How many.
        times: usize,
        /// How.
        how: Failure,
    },
    /// A worker's reports stay under way.
    Hold {
        /// Which worker.
        worker: usize,
    },
    /// Some reports of a worker arrive, or all of them and from now on at once.
    Deliver {
        /// Which worker.
        worker: usize,
        /// `None` for all.
        count: Option<usize>,
    },
    /// The operator wants no new allocation.
    Drain,
    /// The operator ends all.
    EndAll,
    /// The operator has another configuration.
    Reconfigure(Change),
}

/// As whom a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login {
    /// Which user.
    pub user: usize,
    /// Which of the user's passwords; 2 is a wrong one.
    pub password: usize,
    /// Under which nonce.
    pub nonce: NonceUse,
    /// What else is wrong.
    pub odd: Odd,
}

/// Which nonce a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceUse {
    /// The last one that the client was given.
    Last,
    /// The first one.
    First,
    /// The last one of another client.
    Foreign,
    /// One that nobody minted.
    Noise,
}

/// What is wrong with a request besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Nothing.
    No,
    /// An attribute that nobody knows: 420.
    Unknown,
    /// A LIFETIME of two bytes: 400.
    Bad,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the attributes")]
pub enum Body {
    /// Allocate.
    Allocate {
        transport: Option<u8>,
        lifetime: Option<u32>,
        family: Option<u8>,
        additional: Option<u8>,
        even: Option<bool>,
        token: Option<usize>,
        dont_fragment: bool,
        ticket: TicketUse,
    },
    /// Refresh.
    Refresh { lifetime: Option<u32>, family: Option<u8>, ticket: TicketUse },
    /// CreatePermission.
    Permit { peers: Vec<usize> },
    /// ChannelBind.
    Bind { channel: Option<u16>, peer: Option<usize> },
}

/// The MOBILITY-TICKET of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketUse {
    /// None.
    No,
    /// One without a value.
    Empty,
    /// One that nobody gave out.
    Noise,
    /// The last but so many that were given out.
    Given(usize),
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Milliseconds.
    Millis(u64),
    /// Until so many milliseconds before (or after) the next but so many moments at which something is over.
    Edge {
        /// Which.
        skip: usize,
        /// How far from it.
        off: i64,
    },
}

/// How a worker fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Somebody else has the port.
    Taken,
    /// No room.
    NoRoom,
    /// The address is not there.
    AddressGone,
    /// Anything else.
    Other,
}

/// Another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which credentials are good: see [`super::setup::GOOD`].
    pub credentials: usize,
    /// Which peer policy: see [`super::setup::DENIALS`].
    pub policy: usize,
    /// Which times: see [`super::setup::TIMES`].
    pub times: usize,
    /// Allocations of one user, and of one address.
    pub quotas: (u32, u32),
    /// Whether clients may move.
    pub mobility: bool,
}

/// Bytes to be read; behind their end are zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.next()) % bound
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// True for one byte in `of`; not for zero.
    fn rarely(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }
}

/// Few clients and few users meet often.
const CLIENT_OFTEN: [usize; 10] = [0, 0, 0, 1, 1, 2, 2, 3, 4, 5];
const LIFETIMES: [Option<u32>; 6] = [None, Some(0), Some(1), Some(700), Some(1_200), Some(u32::MAX)];
const CHANNELS: [u16; 8] = [0x4000, 0x4000, 0x4001, 0x4002, 0x4003, 0x4FFF, 0x5000, 0x3FFF];
const FAMILIES: [Option<u8>; 6] = [None, None, None, Some(1), Some(2), Some(9)];

impl Op {
    /// The operation that these bytes say: any bytes say one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let kind = bytes.below(64);
        match kind {
            0..=9 => Self::ask(&mut bytes, Body::allocate),
            10..=17 => Self::ask(&mut bytes, Body::refresh),
            18..=22 => Self::ask(&mut bytes, Body::permit),
            23..=29 => Self::ask(&mut bytes, Body::bind),
            30 => Self::Naked { client: bytes.pick(&CLIENT_OFTEN) },
            31..=34 => Self::Replay { back: bytes.below(12) },
            35 => Self::Burst {
                client: bytes.pick(&CLIENT_OFTEN),
                user: bytes.pick(&[0, 0, 0, 1, 2]),
                count: bytes.pick(&[1, 3, 254, 300]),
            },
            36..=38 => Self::Send { client: bytes.pick(&CLIENT_OFTEN), peer: bytes.below(PEERS) },
            39..=41 => Self::Data { client: bytes.pick(&CLIENT_OFTEN), channel: bytes.pick(&CHANNELS) },
            42..=44 => Self::FromPeer { client: bytes.pick(&CLIENT_OFTEN), peer: bytes.below(PEERS) },
            45..=52 => Self::Wait(Wait::decode(&mut bytes)),
            53 => Self::SetWallClock(bytes.pick(&[60, -60, 4_000, -4_000, 90_000, -90_000])),
            54 | 55 => Self::Fail {
                worker: bytes.below(3),
                times: bytes.pick(&[1, 1, 2, 17]),
                how: bytes.pick(&[Failure::Taken, Failure::NoRoom, Failure::AddressGone, Failure::Other]),
            },
            56 | 57 => Self::Hold { worker: bytes.below(3) },
            58..=60 => {
                Self::Deliver { worker: bytes.below(3), count: bytes.pick(&[None, None, Some(1), Some(2)]) }
            }
            61 | 62 => Self::Reconfigure(Change::decode(&mut bytes)),
            _ => match bytes.below(8) {
                6 => Self::Drain,
                7 => Self::EndAll,
                _ => Self::Wait(Wait::Millis(250)),
            },
        }
    }

    fn ask(bytes: &mut Bytes<'_>, body: fn(&mut Bytes<'_>) -> Body) -> Self {
        let client = bytes.pick(&CLIENT_OFTEN);
        let who = bytes.next();
        let odd = bytes.next();
        let login = Login {
            user: [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 0, 0, 0, 1, 2][usize::from(who & 15)],
            password: [0, 0, 0, 0, 0, 1, 2, 0][usize::from(who >> 5)],
            nonce: match odd & 31 {
                29 => NonceUse::First,
                30 => NonceUse::Foreign,
                31 => NonceUse::Noise,
                _ => NonceUse::Last,
            },
            odd: match odd >> 5 {
                7 if odd & 3 == 1 => Odd::Unknown,
                7 if odd & 3 == 2 => Odd::Bad,
                _ => Odd::No,
            },
        };
        Self::Ask { client, login, body: body(bytes) }
    }
}

impl Body {
    fn allocate(bytes: &mut Bytes<'_>) -> Self {
        let (first, second) = (bytes.next(), bytes.next());
        // Plain, dual, pairs and tokens each now and then.
        let (family, additional, even, token) = match first & 15 {
            0..=4 => (None, None, None, None),
            5..=7 => (None, Some(2), None, None),
            8 | 9 => (FAMILIES[usize::from(second) % FAMILIES.len()], None, None, None),
            10 | 11 => (None, None, Some(true), None),
            12 => (Some(2), None, Some(second & 1 == 0), None),
            13 => (None, None, None, Some(usize::from(second & 3))),
            14 => (None, Some(2), Some(second & 1 == 0), None),
            _ => match second % 4 {
                0 => (Some(1), Some(2), None, None),
                1 => (None, Some(1), None, None),
                2 => (Some(1), None, None, Some(0)),
                _ => (None, None, Some(false), Some(0)),
            },
        };
        let last = bytes.next();
        Self::Allocate {
            transport: match first >> 4 {
                14 => None,
                15 => Some(6),
                _ => Some(17),
            },
            lifetime: LIFETIMES[usize::from(last & 7) % LIFETIMES.len()],
            family,
            additional,
            even,
            token,
            dont_fragment: first & 16 != 0,
            ticket: match last >> 4 {
                15 => TicketUse::Noise,
                8..=14 => TicketUse::Empty,
                _ => TicketUse::No,
            },
        }
    }

    fn refresh(bytes: &mut Bytes<'_>) -> Self {
        let family = if bytes.rarely(3) { bytes.pick(&FAMILIES[2..]) } else { None };
        let lifetime = bytes.pick(&LIFETIMES);
        let ticket = match bytes.below(16) {
            0..=8 => TicketUse::No,
            9 => TicketUse::Empty,
            10 => TicketUse::Noise,
            back @ 11..=14 => TicketUse::Given(if back == 14 { 1 } else { 0 }),
            back => TicketUse::Given(back - 13),
        };
        Self::Refresh { lifetime, family, ticket }
    }

    fn permit(bytes: &mut Bytes<'_>) -> Self {
        let count = bytes.pick(&[1, 1, 1, 2, 3, 0]);
        Self::Permit { peers: (0..count).map(|_| bytes.below(PEERS)).collect() }
    }

    fn bind(bytes: &mut Bytes<'_>) -> Self {
        let channel = bytes.pick(&CHANNELS);
        let peer = bytes.below(PEERS);
        match bytes.below(16) {
            14 => Self::Bind { channel: None, peer: Some(peer) },
            15 => Self::Bind { channel: Some(channel), peer: None },
            _ => Self::Bind { channel: Some(channel), peer: Some(peer) },
        }
    }
}

impl Wait {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        match bytes.below(4) {
            0 => Self::Millis(bytes.pick(&[1, 250, 1_000, 2_250, 30_000, 40_000, 60_000])),
            1 => Self::Millis(bytes.pick(&[100_000, 299_000, 400_000, 600_000, 3_600_000, 20_000_000])),
            _ => Self::Edge { skip: bytes.below(6), off: bytes.pick(&[-1, 0, 1, 250, -250, 0]) },
        }
    }
}

impl Change {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        Self {
            credentials: bytes.pick(&[0, 0, 1, 2, 3]),
            policy: bytes.below(4),
            times: bytes.below(2),
            quotas: (bytes.pick(&[0, 0, 1, 3]), bytes.pick(&[0, 0, 1, 3])),
            mobility: !bytes.rarely(4),
        }
    }
}
