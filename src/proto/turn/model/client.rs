//! The clients' half: requests as bytes, and what is remembered of them.

use crate::proto::auth::integrity_key::PasswordAlgorithm;
use crate::proto::auth::integrity_key::integrity_key;
use crate::proto::types::PeerAddr;
use crate::proto::wire::Method;
use crate::proto::wire::TransactionId;
use crate::proto::wire::rfc8656::attributes as attribute;
use crate::proto::wire::rfc8656::encode::MessageWriter;
use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Signature;

use super::ops::Odd;
use super::setup::REALM;

/// A nonce that a client was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Nonce {
    pub(super) text: Vec<u8>,
    /// Whose.
    pub(super) client: usize,
    /// When it says that it was minted; `None` for noise.
    pub(super) issued: Option<u64>,
    /// Whether it announces username anonymity.
    pub(super) anonymous: bool,
}

/// A request that was sent, as the client means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) client: usize,
    pub(super) transaction: u32,
    /// USERNAME and password; `None` without credentials.
    pub(super) who: Option<Who>,
    pub(super) nonce: Option<Nonce>,
    pub(super) odd: Odd,
    pub(super) wants: Wants,
}

/// Who a client says to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) user: usize,
    pub(super) name: String,
    pub(super) password: String,
    /// 0 or 1, which of the user's two; 2 is wrong.
    pub(super) which: usize,
}

/// What is asked for, every value in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Allocate {
        transport: Option<u8>,
        lifetime: Option<u32>,
        family: Option<u8>,
        additional: Option<u8>,
        even: Option<bool>,
        token: Option<[u8; 8]>,
        dont_fragment: bool,
        ticket: Option<Vec<u8>>,
    },
    Refresh {
        lifetime: Option<u32>,
        family: Option<u8>,
        ticket: Option<Vec<u8>>,
    },
    Permit {
        peers: Vec<PeerAddr>,
    },
    Bind {
        channel: Option<u16>,
        peer: Option<PeerAddr>,
    },
}

impl Asked {
    pub(super) fn method(&self) -> Method {
        match self.wants {
            Wants::Allocate { .. } => Method::Allocate,
            Wants::Refresh { .. } => Method::Refresh,
            Wants::Permit { .. } => Method::CreatePermission,
            Wants::Bind { .. } => Method::ChannelBind,
        }
    }

    /// The request on the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let mut writer = MessageWriter::request(&mut buffer, self.method(), transaction_id(self.transaction));
        match self.odd {
            Odd::No => {}
            Odd::Unknown => {
                writer.attribute(0x7ABC, b"what");
            }
            Odd::Bad => {
                writer.attribute(attribute::LIFETIME, &[0; 2]);
            }
        }
        self.wants.write(&mut writer);
        if let (Some(who), Some(nonce)) = (&self.who, &self.nonce) {
            writer
                .attribute(attribute::USERNAME, who.name.as_bytes())
                .attribute(attribute::REALM, REALM.as_bytes())
                .attribute(attribute::NONCE, &nonce.text)
                .integrity(Signature { key: &who.key(), algorithm: Algorithm::Sha1 });
        }
        let len = writer.finish().expect("the buffer is large");
        buffer[..len].to_vec()
    }
}

impl Who {
    pub(super) fn key(&self) -> MacKey {
        let (name, password) = (self.name.as_bytes(), self.password.as_bytes());
        integrity_key(PasswordAlgorithm::Md5, name, REALM.as_bytes(), password)
    }

    /// Whom a quota counts.
    pub(super) fn quota(&self) -> &str {
        let limited = self.name.split_once(':').filter(|(expires, _)| expires.parse::<u64>().is_ok());
        limited.map_or(&self.name, |(_, user)| user)
    }
}

impl Wants {
    fn write(&self, writer: &mut MessageWriter<'_>) {
        let mut number = |kind, value: Option<u32>| {
            if let Some(value) = value {
                writer.attribute(kind, &value.to_be_bytes());
            }
        };
        let high = |byte: u8| u32::from(byte) << 24;
        match self {
            Self::Allocate {
                transport,
                lifetime,
                family,
                additional,
                even,
                token,
                dont_fragment,
                ticket,
            } => {
                number(attribute::REQUESTED_TRANSPORT, transport.map(high));
                number(attribute::LIFETIME, *lifetime);
                number(attribute::REQUESTED_ADDRESS_FAMILY, family.map(high));
                number(attribute::ADDITIONAL_ADDRESS_FAMILY, additional.map(high));
                if let Some(reserve) = even {
                    writer.attribute(attribute::EVEN_PORT, &[if *reserve { 0x80 } else { 0 }]);
                }
                if let Some(token) = token {
                    writer.attribute(attribute::RESERVATION_TOKEN, token);
                }
                if *dont_fragment {
                    writer.attribute(attribute::DONT_FRAGMENT, &[]);
                }
                if let Some(ticket) = ticket {
                    writer.attribute(attribute::MOBILITY_TICKET, ticket);
                }
            }
            Self::Refresh { lifetime, family, ticket } => {
                number(attribute::LIFETIME, *lifetime);
                number(attribute::REQUESTED_ADDRESS_FAMILY, family.map(high));
                if let Some(ticket) = ticket {
                    writer.attribute(attribute::MOBILITY_TICKET, ticket);
                }
            }
            Self::Permit { peers } => peers.iter().for_each(|peer| {
                writer.peer(*peer);
            }),
            Self::Bind { channel, peer } => {
                number(attribute::CHANNEL_NUMBER, channel.map(|channel| u32::from(channel) << 16));
                if let Some(peer) = peer {
                    writer.peer(*peer);
                }
            }
        }
    }
}

/// A Send indication (RFC 8656 § 11.1).
pub(super) fn send_indication(peer: PeerAddr, data: &[u8]) -> Vec<u8> {
    use crate::proto::wire::rfc8656::framing::MessageClass;
    let mut buffer = [0; 256];
    let mut writer = MessageWriter::new(
        &mut buffer,
        MessageClass::Indication,
        Method::from_number(0x006),
        transaction_id(7),
    );
    writer.peer(peer).attribute(attribute::DATA, data);
    let len = writer.finish().expect("the buffer is large");
    buffer[..len].to_vec()
}

/// ChannelData (RFC 8656 § 12.4).
pub(super) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("a few bytes");
    [&channel.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

pub(super) fn transaction_id(number: u32) -> TransactionId {
    let mut id = [0; 12];
    id[8..].copy_from_slice(&number.to_be_bytes());
    TransactionId::with_cookie(id)
}
