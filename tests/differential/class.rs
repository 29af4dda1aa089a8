//! The disagreements that are known. `docs/compliance/differential.md` says of each who is right and why.

/// A known way in which another codec reads a message otherwise than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    BytesBehind,
    Unaligned,
    FingerprintNotLast,
    FingerprintUnchecked,
    BehindIntegrity,
    ValueRefusesMessage,
    TextNotUtf8,
    TextTooLong,
    ValueLength,
    FamilyUnjudged,
    PeersAllOrNone,
    ChannelRange,
    ChannelPadding,
    BothMacs,
    TruncatedMac,
    Panic,
}

#[allow(dead_code, reason = "the fuzz target has no document to compare with")]
impl Class {
    pub(crate) const ALL: [Self; 16] = [
        Self::BytesBehind,
        Self::Unaligned,
        Self::FingerprintNotLast,
        Self::FingerprintUnchecked,
        Self::BehindIntegrity,
        Self::ValueRefusesMessage,
        Self::TextNotUtf8,
        Self::TextTooLong,
        Self::ValueLength,
        Self::FamilyUnjudged,
        Self::PeersAllOrNone,
        Self::ChannelRange,
        Self::ChannelPadding,
        Self::BothMacs,
        Self::TruncatedMac,
        Self::Panic,
    ];

    /// Its name in the document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::BytesBehind => "bytes-behind",
            Self::Unaligned => "unaligned",
            Self::FingerprintNotLast => "fingerprint-not-last",
            Self::FingerprintUnchecked => "fingerprint-unchecked",
            Self::BehindIntegrity => "behind-integrity",
            Self::ValueRefusesMessage => "value-refuses-message",
            Self::TextNotUtf8 => "text-not-utf8",
            Self::TextTooLong => "text-too-long",
            Self::ValueLength => "value-length",
            Self::FamilyUnjudged => "family-unjudged",
            Self::PeersAllOrNone => "peers-all-or-none",
            Self::ChannelRange => "channel-range",
            Self::ChannelPadding => "channel-padding",
            Self::BothMacs => "both-macs",
            Self::TruncatedMac => "truncated-mac",
            Self::Panic => "panic",
        }
    }
}
