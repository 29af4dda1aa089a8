//! What [MS-TURN] asks for and tells by attributes that RFC 8656 does not have.

/// MS-SEQUENCE-NUMBER ([MS-TURN] § 2.2.2.12): the server hands out the connection id; the client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceNumber {
    /// What the server calls the allocation.
    pub connection: [u8; 20],
    /// One more for every authenticated request of the client.
    pub number: u32,
}

impl SequenceNumber {
    /// Bytes of the attribute's value.
    pub const LEN: usize = 24;

    /// Reads the value of the attribute; `None` if it is of another length.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let (connection, number) = value.split_first_chunk::<20>()?;
        Some(Self { connection: *connection, number: u32::from_be_bytes(*number.as_array()?) })
    }

    /// The value of the attribute.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (connection, number) = bytes.split_at_mut(20);
        connection.copy_from_slice(&self.connection);
        number.copy_from_slice(&self.number.to_be_bytes());
        bytes
    }
}

/// The attributes of a request in [MS-TURN] that have no likeness in RFC 8656.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegacyAttributes {
    /// MS-VERSION ([MS-TURN] § 2.2.2.17).
    pub version: Option<u32>,
    /// MS-SEQUENCE-NUMBER.
    pub sequence: Option<SequenceNumber>,
    /// BANDWIDTH, in kbit/s.
    pub bandwidth_kbit_s: Option<u32>,
    /// MS-SERVICE-QUALITY: the kind of stream (1 audio, 2 video, 3 supplemental video, 4 data), and whether reliable
    /// delivery is wanted (1) or best effort (0).
    pub service_quality: Option<(u16, u16)>,
}

impl LegacyAttributes {
    /// None of them.
    pub(super) const NONE: Self =
        Self { version: None, sequence: None, bandwidth_kbit_s: None, service_quality: None };
}

/// What an allocation is for, as MS-SERVICE-QUALITY says; kept for statistics alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// 1, and what a client means that does not say.
    Audio,
    /// 2.
    Video,
    /// 3.
    SupplementalVideo,
    /// 4.
    Data,
    /// Any other number.
    Other,
}

impl StreamKind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 5] = [Self::Audio, Self::Video, Self::SupplementalVideo, Self::Data, Self::Other];

    /// Of the attribute's value.
    #[must_use]
    pub const fn of(service_quality: Option<(u16, u16)>) -> Self {
        match service_quality {
            None | Some((1, _)) => Self::Audio,
            Some((2, _)) => Self::Video,
            Some((3, _)) => Self::SupplementalVideo,
            Some((4, _)) => Self::Data,
            Some(_) => Self::Other,
        }
    }

    /// Its word in logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::SupplementalVideo => "supplemental_video",
            Self::Data => "data",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_number_comes_back_and_has_one_length() {
        let number = SequenceNumber { connection: [5; 20], number: 0x0102_0304 };
        let bytes = number.to_bytes();
        assert_eq!(bytes[20..], [1, 2, 3, 4]);
        assert_eq!(SequenceNumber::read(&bytes), Some(number));
        assert_eq!(SequenceNumber::read(&bytes[..23]), None);
        assert_eq!(SequenceNumber::read(&[&bytes[..], &[0]].concat()), None);
    }

    // proves ms_turn:4-18
    #[test]
    fn a_stream_is_audio_unless_it_is_said_to_be_another() {
        assert_eq!(StreamKind::of(None), StreamKind::Audio);
        let said: Vec<_> = (1..=5).map(|number| StreamKind::of(Some((number, 1)))).collect();
        assert_eq!(said, StreamKind::ALL);
        assert_eq!(StreamKind::of(Some((0, 0))), StreamKind::Other);
    }
}
