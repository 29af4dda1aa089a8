//! Requests and data of [MS-TURN] as bytes, with the frame in front of them that a stream wants.

use crate::proto::types::Lifetime;
use crate::proto::types::PeerAddr;
use crate::proto::types::Transport;
use crate::proto::types::limits::DATAGRAM_MAX;
use crate::proto::types::limits::REQUEST_MAX;
use crate::proto::wire::Malformed;
use crate::proto::wire::SequenceNumber;
use crate::proto::wire::TransactionId;
use crate::proto::wire::ms_turn::attributes as attribute;
use crate::proto::wire::ms_turn::encode::Writer;
use crate::proto::wire::ms_turn::framing::FRAME_HEADER_LEN;
use crate::proto::wire::ms_turn::framing::StreamFrame;
use crate::proto::wire::ms_turn::framing::kind;
use crate::proto::wire::rfc8656::integrity::MacKey;

/// What this client is, as the server knows clients: the last version whose MESSAGE-INTEGRITY is known ([MS-TURN]
/// § 2.2.2.17).
const VERSION: u32 = 2;
/// Header, cookie, and every attribute of a Send but DATA's value: USERNAME, DESTINATION-ADDRESS with IPv6,
/// MS-SEQUENCE-NUMBER, DATA's own header, MESSAGE-INTEGRITY.
const SEND_OVERHEAD: usize = 20 + 8 + 4 + 24 + 28 + 4 + 24;

/// Who asks, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof<'a> {
    pub(super) username: &'a [u8],
    pub(super) realm: &'a [u8],
    pub(super) nonce: &'a [u8],
    pub(super) key: &'a MacKey,
}

/// An Allocate: without a proof the first one, with it a new allocation, a refresh, or with LIFETIME 0 the end.
pub(super) fn allocate(
    id: TransactionId,
    transport: Transport,
    lifetime: Option<Lifetime>,
    proof: Option<Proof<'_>>,
) -> Result<Box<[u8]>, Malformed> {
    framed(transport, StreamFrame::Control, REQUEST_MAX, |out| {
        let mut writer = Writer::new(out, kind::ALLOCATE, id)?;
        writer.attribute(attribute::MS_VERSION, &VERSION.to_be_bytes())?;
        if let Some(lifetime) = lifetime {
            writer.attribute(attribute::LIFETIME, &lifetime.as_secs().to_be_bytes())?;
        }
        if let Some(proof) = proof {
            writer.attribute(attribute::REALM, proof.realm)?;
            writer.attribute(attribute::NONCE, proof.nonce)?;
            writer.attribute(attribute::USERNAME, proof.username)?;
            writer.integrity(proof.key)?;
        }
        Ok(writer.finish())
    })
}

/// A Set Active Destination.
pub(super) fn set_destination(
    id: TransactionId,
    transport: Transport,
    peer: PeerAddr,
    sequence: Option<SequenceNumber>,
    proof: Proof<'_>,
) -> Result<Box<[u8]>, Malformed> {
    framed(transport, StreamFrame::Control, REQUEST_MAX, |out| {
        let mut writer = Writer::new(out, kind::SET_ACTIVE_DESTINATION, id)?;
        write_within(&mut writer, peer, sequence, proof)?;
        writer.integrity(proof.key)?;
        Ok(writer.finish())
    })
}

/// A Send. It is a request, so it may be no longer than one.
pub(super) fn send(
    id: TransactionId,
    transport: Transport,
    peer: PeerAddr,
    data: &[u8],
    sequence: Option<SequenceNumber>,
    proof: Proof<'_>,
) -> Result<Box<[u8]>, Malformed> {
    let len = SEND_OVERHEAD + proof.username.len() + data.len();
    if len > REQUEST_MAX {
        return Err(Malformed::NoRoom);
    }
    framed(transport, StreamFrame::Control, len, |out| {
        let mut writer = Writer::new(out, kind::SEND, id)?;
        write_within(&mut writer, peer, sequence, proof)?;
        writer.attribute(attribute::DATA, data)?;
        writer.integrity(proof.key)?;
        Ok(writer.finish())
    })
}

/// What every request within an allocation says. Neither realm nor nonce: those are the allocation's.
fn write_within(
    writer: &mut Writer<'_>,
    peer: PeerAddr,
    sequence: Option<SequenceNumber>,
    proof: Proof<'_>,
) -> Result<(), Malformed> {
    if let Some(sequence) = sequence {
        writer.attribute(attribute::MS_SEQUENCE_NUMBER, &sequence.to_bytes())?;
    }
    writer.attribute(attribute::USERNAME, proof.username)?;
    writer.address(attribute::DESTINATION_ADDRESS, peer.socket())
}

/// Bare data for the active destination.
pub(super) fn bare(transport: Transport, data: &[u8]) -> Result<Box<[u8]>, Malformed> {
    if data.len() > DATAGRAM_MAX {
        return Err(Malformed::NoRoom);
    }
    framed(transport, StreamFrame::Data, data.len(), |out| {
        out.copy_from_slice(data);
        Ok(data.len())
    })
}

/// What `write` makes of `room` bytes, as a datagram, or as a frame of a stream.
fn framed(
    transport: Transport,
    kind: StreamFrame,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, Malformed>,
) -> Result<Box<[u8]>, Malformed> {
    let front = if transport.is_stream() { FRAME_HEADER_LEN } else { 0 };
    let mut buffer = vec![0; front + room];
    let len = write(&mut buffer[front..])?;
    buffer.truncate(front + len);
    if transport.is_stream() {
        let header = kind.header(u16::try_from(len).map_err(|_| Malformed::NoRoom)?);
        buffer[..FRAME_HEADER_LEN].copy_from_slice(&header);
    }
    Ok(buffer.into())
}
