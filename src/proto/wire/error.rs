//! Why bytes are no message. A malformed message is dropped and counted; it is never answered.

use std::fmt;

/// What is wrong with the frame of a message. What is wrong *inside* a well-framed request is answered with
/// 400 and therefore no error here: see [`super::Request::bad_attribute`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Fewer bytes than a header has, or than the header says.
    Truncated,
    /// More bytes than the header says, in a datagram.
    TrailingBytes,
    /// The first two bits are not zero, or the magic cookie is not there.
    NotStun,
    /// The length field is not a multiple of four.
    UnalignedLength,
    /// An attribute runs past the end of the message.
    AttributeOverrun,
    /// The message is of a class that this decoder does not read.
    WrongClass,
    /// FINGERPRINT is present and wrong, or not the last attribute.
    Fingerprint,
    /// The channel number is outside 0x4000–0x7FFE.
    ChannelNumber,
    /// The buffer that should hold the encoded message is too small.
    NoRoom,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "message shorter than its header says",
            Self::TrailingBytes => "datagram longer than its header says",
            Self::NotStun => "no STUN header",
            Self::UnalignedLength => "message length not a multiple of four",
            Self::AttributeOverrun => "attribute runs past the end of the message",
            Self::WrongClass => "message of an unexpected class",
            Self::Fingerprint => "FINGERPRINT wrong or not last",
            Self::ChannelNumber => "channel number outside 0x4000-0x7FFE",
            Self::NoRoom => "buffer too small for the message",
        })
    }
}

impl std::error::Error for Malformed {}
