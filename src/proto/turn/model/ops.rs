//! What can happen to the server: each [`Op`] is eight bytes, so that a fuzzer's bytes are a history.

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
    /// Which user; `None` for the one whose allocation it is about, or who is at home there.
    pub user: Option<usize>,
    /// Under which password.
    pub password: PasswordUse,
    /// Under which nonce.
    pub nonce: NonceUse,
    /// What else is wrong.
    pub odd: Odd,
}

/// Which password a request is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordUse {
    /// That of the allocation, or the one that is good now.
    Right,
    /// One of the two that the user has at different times.
    Of(usize),
    /// A wrong one.
    Wrong,
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
const CLIENT_OFTEN: [usize; 16] = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 5];
/// Most peers may be reached.
const PEER_OFTEN: [usize; 20] = [0, 0, 0, 1, 1, 2, 2, 3, 3, 7, 7, 5, 5, 6, 8, 9, 10, 4, 11, 12];
const LIFETIMES: [Option<u32>; 6] = [None, Some(0), Some(1), Some(700), Some(1_200), Some(u32::MAX)];
const CHANNELS: [u16; 16] = [
    0x4000, 0x4000, 0x4000, 0x4000, 0x4001, 0x4001, 0x4001, 0x4002, 0x4002, 0x4002, 0x4003, 0x4003, 0x4003,
    0x4FFF, 0x5000, 0x3FFF,
];
const FAMILIES: [Option<u8>; 6] = [None, None, None, Some(1), Some(2), Some(9)];

impl Op {
    /// The operation that these bytes say: any bytes say one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let kind = bytes.below(64);
        match kind {
            0..=8 => Self::ask(&mut bytes, Body::allocate),
            9..=17 => Self::ask(&mut bytes, Body::refresh),
            18..=24 => Self::ask(&mut bytes, Body::permit),
            25..=33 => Self::ask(&mut bytes, Body::bind),
            34 => Self::Naked { client: bytes.pick(&CLIENT_OFTEN) },
            35..=39 => Self::Replay { back: bytes.below(12) },
            40 => Self::Burst {
                client: bytes.pick(&CLIENT_OFTEN),
                user: bytes.pick(&[0, 0, 0, 1, 2]),
                count: bytes.pick(&[1, 3, 2, 254, 300]),
            },
            41 | 42 => Self::Send { client: bytes.pick(&CLIENT_OFTEN), peer: bytes.pick(&PEER_OFTEN) },
            43..=45 => Self::Data { client: bytes.pick(&CLIENT_OFTEN), channel: bytes.pick(&CHANNELS) },
            46 | 47 => Self::FromPeer { client: bytes.pick(&CLIENT_OFTEN), peer: bytes.pick(&PEER_OFTEN) },
            48..=53 => Self::Wait(Wait::decode(&mut bytes)),
            54 => Self::SetWallClock(bytes.pick(&[60, -60, 4_000, -4_000, 90_000, -90_000])),
            55 | 56 => Self::Fail {
                worker: bytes.below(3),
                times: bytes.pick(&[1, 1, 1, 2, 17]),
                how: bytes.pick(&[
                    Failure::Taken,
                    Failure::Taken,
                    Failure::NoRoom,
                    Failure::AddressGone,
                    Failure::Other,
                ]),
            },
            57 => Self::Hold { worker: bytes.below(3) },
            58..=60 => {
                Self::Deliver { worker: bytes.below(3), count: bytes.pick(&[None, None, Some(1), Some(2)]) }
            }
            61 | 62 => Self::Reconfigure(Change::decode(&mut bytes)),
            _ => match bytes.below(32) {
                31 => Self::Drain,
                30 => Self::EndAll,
                _ => Self::Wait(Wait::Millis(250)),
            },
        }
    }

    fn ask(bytes: &mut Bytes<'_>, body: fn(&mut Bytes<'_>) -> Body) -> Self {
        let client = bytes.pick(&CLIENT_OFTEN);
        let who = bytes.next();
        let odd = bytes.next();
        let login = Login {
            user: match who & 15 {
                0..=11 => None,
                user => Some(usize::from(user - 10) % 6),
            },
            password: match who >> 4 {
                13 => PasswordUse::Of(0),
                14 => PasswordUse::Of(1),
                15 => PasswordUse::Wrong,
                _ => PasswordUse::Right,
            },
            nonce: match odd & 63 {
                60 | 61 => NonceUse::First,
                62 => NonceUse::Foreign,
                63 => NonceUse::Noise,
                _ => NonceUse::Last,
            },
            odd: match odd >> 6 {
                3 if odd & 15 == 1 => Odd::Unknown,
                3 if odd & 15 == 2 => Odd::Bad,
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
                14 if first & 15 == 0 => None,
                14 if first & 15 == 1 => Some(6),
                15 if first & 15 == 0 => Some(33),
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
                5..=14 => TicketUse::Empty,
                _ => TicketUse::No,
            },
        }
    }

    fn refresh(bytes: &mut Bytes<'_>) -> Self {
        let family = if bytes.rarely(4) { bytes.pick(&FAMILIES[2..]) } else { None };
        let lifetime =
            bytes.pick(&[None, None, Some(0), Some(1), Some(1), Some(700), Some(1_200), Some(u32::MAX)]);
        let ticket = match bytes.below(16) {
            0..=7 => TicketUse::No,
            8 => TicketUse::Empty,
            9 => TicketUse::Noise,
            10..=13 => TicketUse::Given(0),
            back => TicketUse::Given(back - 13),
        };
        Self::Refresh { lifetime, family, ticket }
    }

    fn permit(bytes: &mut Bytes<'_>) -> Self {
        let count = bytes.pick(&[1, 1, 1, 2, 3, 0]);
        Self::Permit { peers: (0..count).map(|_| bytes.pick(&PEER_OFTEN)).collect() }
    }

    fn bind(bytes: &mut Bytes<'_>) -> Self {
        let channel = bytes.pick(&CHANNELS);
        let peer = bytes.pick(&PEER_OFTEN);
        match bytes.below(16) {
            14 => Self::Bind { channel: None, peer: Some(peer) },
            15 => Self::Bind { channel: Some(channel), peer: None },
            _ => Self::Bind { channel: Some(channel), peer: Some(peer) },
        }
    }
}

impl Wait {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        match bytes.below(16) {
            0..=3 => Self::Millis(bytes.pick(&[1, 250, 1_000, 2_250, 30_000, 40_000, 60_000])),
            4..=6 => Self::Millis(bytes.pick(&[50_000, 100_000, 150_000, 290_000])),
            7 => Self::Millis(bytes.pick(&[400_000, 600_000, 3_600_000, 20_000_000])),
            _ => Self::Edge {
                skip: bytes.pick(&[0, 0, 0, 1, 1, 2, 3, 5]),
                off: bytes.pick(&[-1, 0, 1, 250, -250, 0]),
            },
        }
    }
}

impl Change {
    fn decode(bytes: &mut Bytes<'_>) -> Self {
        Self {
            credentials: bytes.pick(&[0, 0, 0, 1, 2, 3]),
            policy: bytes.pick(&[0, 0, 1, 2, 3]),
            times: bytes.below(2),
            quotas: (bytes.pick(&[0, 0, 0, 1, 3]), bytes.pick(&[0, 0, 0, 1, 3])),
            mobility: !bytes.rarely(4),
        }
    }
}
