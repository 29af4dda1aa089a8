//! A client's half for the tests of this room: requests written by hand and signed without the codec, answers
//! read attribute by attribute.

use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use sha1::Sha1;
use sha2::Sha256;

use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::Transport;

/// The five-tuple of the client at 192.0.2.`host`, port 50000.
pub(super) fn five_tuple(host: u8) -> FiveTuple {
    FiveTuple {
        client: ClientAddr::new(([192, 0, 2, host], 50_000).into()),
        server: ServerAddr::new(([198, 51, 100, 1], 3_478).into()),
        transport: Transport::Udp,
    }
}

pub(super) const USERNAME: u16 = 0x0006;
pub(super) const REALM: u16 = 0x0014;
pub(super) const NONCE: u16 = 0x0015;
pub(super) const PASSWORD_ALGORITHM: u16 = 0x001D;
pub(super) const USERHASH: u16 = 0x001E;
pub(super) const PASSWORD_ALGORITHMS: u16 = 0x8002;

/// A request under construction.
#[derive(Clone)]
pub(super) struct RequestBuilder(Vec<u8>);

impl RequestBuilder {
    /// A request whose message type is `message_type`.
    pub(super) fn new(message_type: u16) -> Self {
        let mut bytes = message_type.to_be_bytes().to_vec();
        bytes.extend([0, 0, 0x21, 0x12, 0xA4, 0x42]);
        bytes.extend(1..=12);
        Self(bytes)
    }

    pub(super) fn attribute(mut self, number: u16, value: &[u8]) -> Self {
        let len = u16::try_from(value.len()).expect("a short attribute");
        self.0.extend(number.to_be_bytes());
        self.0.extend(len.to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_len(0);
        self
    }

    /// Adds MESSAGE-INTEGRITY.
    pub(super) fn sha1(mut self, key: &[u8]) -> Self {
        self.set_len(24);
        let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any key");
        mac.update(&self.0);
        let mac = mac.finalize().into_bytes();
        self.attribute(0x0008, &mac)
    }

    /// Adds MESSAGE-INTEGRITY-SHA256.
    pub(super) fn sha256(mut self, key: &[u8]) -> Self {
        self.set_len(36);
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key");
        mac.update(&self.0);
        let mac = mac.finalize().into_bytes();
        self.attribute(0x001C, &mac)
    }

    /// Adds FINGERPRINT.
    pub(super) fn fingerprint(mut self) -> Self {
        self.set_len(8);
        let crc = crc32fast::hash(&self.0) ^ 0x5354_554E;
        self.attribute(0x8028, &crc.to_be_bytes())
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn set_len(&mut self, more: usize) {
        let len = u16::try_from(self.0.len() - 20 + more).expect("a short message");
        self.0[2..4].copy_from_slice(&len.to_be_bytes());
    }
}

/// The attributes of a message, in order.
pub(super) fn attributes(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let declared = usize::from(u16::from_be_bytes([message[2], message[3]]));
    assert_eq!(declared + 20, message.len(), "the length field is right");
    let mut rest = &message[20..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let number = u16::from_be_bytes([rest[0], rest[1]]);
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        found.push((number, rest[4..4 + len].to_vec()));
        rest = &rest[4 + len.next_multiple_of(4)..];
    }
    found
}

/// The value of the attribute `number`, if the message has it.
pub(super) fn attribute(message: &[u8], number: u16) -> Option<Vec<u8>> {
    attributes(message).into_iter().find(|(found, _)| *found == number).map(|(_, value)| value)
}
