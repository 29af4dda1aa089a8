//! A request as the server reads it, whichever dialect it came in.

use crate::proto::types::ChannelNumber;
use crate::proto::types::ConnectionId;
use crate::proto::types::Dialect;
use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::limits;

use super::DiscoveryAttributes;
use super::LegacyAttributes;
use super::rfc8656;

/// The 16 bytes after the length field: magic cookie and transaction id (RFC 8489 § 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 16]);

impl TransactionId {
    /// The magic cookie of RFC 8489 and a transaction id, that whoever asks draws at random.
    #[must_use]
    pub const fn with_cookie(id: [u8; 12]) -> Self {
        let mut bytes = [0; 16];
        let (cookie, rest) = bytes.split_at_mut(4);
        cookie.copy_from_slice(&rfc8656::framing::COOKIE);
        rest.copy_from_slice(&id);
        Self(bytes)
    }
}

/// The methods a client may ask for (RFC 8489 § 18.2, RFC 8656 § 17, RFC 6062 § 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// 0x001.
    Binding,
    /// 0x003.
    Allocate,
    /// 0x004.
    Refresh,
    /// 0x008.
    CreatePermission,
    /// 0x009.
    ChannelBind,
    /// Any other 12-bit method.
    Unknown(u16),
    /// Send, a request of [MS-TURN] (type 0x0004) that is never answered.
    Send,
    /// Set Active Destination, a request of [MS-TURN] (type 0x0006).
    SetActiveDestination,
    /// 0x00A (RFC 6062 § 6.1).
    Connect,
    /// 0x00B (RFC 6062 § 6.1).
    ConnectionBind,
}

impl Method {
    /// The method with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0x001 => Self::Binding,
            0x003 => Self::Allocate,
            0x004 => Self::Refresh,
            0x008 => Self::CreatePermission,
            0x009 => Self::ChannelBind,
            0x00A => Self::Connect,
            0x00B => Self::ConnectionBind,
            other => Self::Unknown(other),
        }
    }

    /// Its number, 0x000–0xFFF; of what [MS-TURN] alone has, the type of its request.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Binding => 0x001,
            Self::Allocate => 0x003,
            Self::Refresh => 0x004,
            Self::CreatePermission => 0x008,
            Self::ChannelBind => 0x009,
            Self::Unknown(number) => number,
            Self::Send => 0x004,
            Self::SetActiveDestination => 0x006,
            Self::Connect => 0x00A,
            Self::ConnectionBind => 0x00B,
        }
    }
}

/// One request, read in place. Of an attribute that stands several times only the first counts
/// (RFC 8489 § 14); attributes behind the integrity attribute do not count (RFC 8489 §§ 14.5–14.6).
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The dialect it came in.
    pub dialect: Dialect,
    /// What is asked for.
    pub method: Method,
    /// To be echoed in the answer.
    pub transaction: TransactionId,
    /// What the authentication mechanism looks at.
    pub auth: AuthAttributes<'a>,
    /// Whether a (correct) FINGERPRINT was there: the answer then carries one too.
    pub fingerprint: bool,
    /// Comprehension-required attributes that this server does not know: 420.
    pub unknown: UnknownAttributes,
    /// The type of the first attribute whose value breaks that attribute's own rules (length, address family), or
    /// of which there are too many: 400. Its field is then empty. Text is not judged: a name or realm that is not
    /// UTF-8 matches nobody's.
    pub bad_attribute: Option<u16>,
    /// LIFETIME.
    pub lifetime: Option<Lifetime>,
    /// REQUESTED-TRANSPORT: the protocol number.
    pub requested_transport: Option<u8>,
    /// REQUESTED-ADDRESS-FAMILY: the family byte, unjudged (440 if unknown).
    pub requested_family: Option<u8>,
    /// ADDITIONAL-ADDRESS-FAMILY: the family byte, unjudged.
    pub additional_family: Option<u8>,
    /// EVEN-PORT: the R bit.
    pub even_port: Option<bool>,
    /// RESERVATION-TOKEN.
    pub reservation_token: Option<[u8; 8]>,
    /// DONT-FRAGMENT.
    pub dont_fragment: bool,
    /// CHANNEL-NUMBER as it stood; outside 0x4000–0x7FFE it is no [`ChannelNumber`] and gets 400.
    pub channel_number: Option<u16>,
    /// XOR-PEER-ADDRESS, each of them.
    pub peers: PeerAddresses<'a>,
    /// CHANGE-REQUEST, RESPONSE-PORT and PADDING (RFC 5780).
    pub discovery: DiscoveryAttributes,
    /// MOBILITY-TICKET, of whatever length (RFC 8016 § 3.3); empty where a client asks for a first one.
    pub mobility_ticket: Option<&'a [u8]>,
    /// DATA of a Send request ([MS-TURN] § 2.2.1).
    pub data: Option<&'a [u8]>,
    /// What [MS-TURN] alone has.
    pub legacy: LegacyAttributes,
    /// CONNECTION-ID (RFC 6062 § 6.2.1).
    pub connection_id: Option<ConnectionId>,
}

impl<'a> Request<'a> {
    /// A request without attributes, for a decoder to fill.
    pub(super) const fn empty(
        dialect: Dialect,
        method: Method,
        transaction: TransactionId,
        message: &'a [u8],
    ) -> Self {
        Self {
            dialect,
            method,
            transaction,
            auth: AuthAttributes {
                username: None,
                userhash: None,
                realm: None,
                nonce: None,
                password_algorithm: None,
                password_algorithms: None,
                integrity: rfc8656::integrity::Presented::new(message, None, None),
                access_token: None,
                unreadable_algorithm: false,
            },
            fingerprint: false,
            unknown: UnknownAttributes::NONE,
            bad_attribute: None,
            lifetime: None,
            requested_transport: None,
            requested_family: None,
            additional_family: None,
            even_port: None,
            reservation_token: None,
            dont_fragment: false,
            channel_number: None,
            peers: PeerAddresses::section(&[], transaction, 0),
            discovery: DiscoveryAttributes::NONE,
            mobility_ticket: None,
            data: None,
            legacy: LegacyAttributes::NONE,
            connection_id: None,
        }
    }

    /// CHANNEL-NUMBER, if it is there and in range.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelNumber> {
        self.channel_number.and_then(ChannelNumber::new)
    }
}

/// The attributes of the long-term credential mechanism (RFC 8489 § 9.2).
#[derive(Clone, Copy, Debug)]
pub struct AuthAttributes<'a> {
    /// USERNAME, at most [`crate::proto::types::limits::USERNAME_READ_MAX`] bytes.
    pub username: Option<&'a [u8]>,
    /// USERHASH.
    pub userhash: Option<&'a [u8; 32]>,
    /// REALM.
    pub realm: Option<&'a [u8]>,
    /// NONCE.
    pub nonce: Option<&'a [u8]>,
    /// PASSWORD-ALGORITHM: the algorithm number and its parameters.
    pub password_algorithm: Option<(u16, &'a [u8])>,
    /// PASSWORD-ALGORITHMS: the raw value, to be compared with what the server offers.
    pub password_algorithms: Option<&'a [u8]>,
    /// MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 with the bytes they cover.
    pub integrity: rfc8656::integrity::Presented<'a>,
    /// ACCESS-TOKEN (RFC 7635 § 6.2), at most [`crate::proto::types::limits::ACCESS_TOKEN_MAX`] bytes.
    pub access_token: Option<&'a [u8]>,
    /// There is a PASSWORD-ALGORITHM whose value cannot be read. That is another thing than none.
    pub unreadable_algorithm: bool,
}

/// Comprehension-required attribute types that were not understood, at most
/// [`crate::proto::types::limits::UNKNOWN_ATTRIBUTES_MAX`] of them, each once, in the order seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownAttributes {
    types: [u16; limits::UNKNOWN_ATTRIBUTES_MAX],
    len: usize,
}

impl UnknownAttributes {
    /// No attribute.
    pub(super) const NONE: Self = Self { types: [0; limits::UNKNOWN_ATTRIBUTES_MAX], len: 0 };

    /// Adds a type; one that is there already, or one too many, is left out.
    pub fn push(&mut self, attribute: u16) {
        if self.len < self.types.len() && !self.as_slice().contains(&attribute) {
            self.types[self.len] = attribute;
            self.len += 1;
        }
    }

    /// The types.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.types[..self.len]
    }

    /// Those that are not `known`.
    #[must_use]
    pub fn without(&self, known: impl Fn(u16) -> bool) -> Self {
        let mut rest = Self::default();
        self.as_slice().iter().copied().filter(|kind| !known(*kind)).for_each(|kind| rest.push(kind));
        rest
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The peers that a request names. Many XOR-PEER-ADDRESS attributes are decoded one by one as they are asked for; each was
/// judged while the message was read, so the iterator yields every one. [MS-TURN] names one peer at most, in clear.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddresses<'a> {
    /// The attribute section that counts, without what stands behind the integrity attribute.
    attributes: &'a [u8],
    transaction: TransactionId,
    count: usize,
    destination: Option<PeerAddr>,
}

impl<'a> PeerAddresses<'a> {
    /// The `count` XOR-PEER-ADDRESS attributes of an attribute section.
    pub(super) const fn section(attributes: &'a [u8], transaction: TransactionId, count: usize) -> Self {
        Self { attributes, transaction, count, destination: None }
    }

    /// One peer, or none.
    pub(super) const fn one(destination: Option<PeerAddr>) -> Self {
        let count = if destination.is_some() { 1 } else { 0 };
        Self { attributes: &[], transaction: TransactionId([0; 16]), count, destination }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each peer address in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = PeerAddr> + 'a {
        rfc8656::decode::peer_addresses(self.attributes, self.transaction).chain(self.destination)
    }
}
