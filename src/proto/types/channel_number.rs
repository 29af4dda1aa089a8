//! Channel numbers.

/// A channel number: 0x4000–0x4FFF by RFC 8656 § 12, 0x4000–0x7FFE by RFC 5766 § 11.
///
/// RFC 8656 gave the upper part away, so that the first byte tells TURN from its neighbours (RFC 7983). A client of
/// RFC 5766 may still choose from it; whether it gets the channel is for the server's configuration to say. Nothing
/// but that decision depends on the difference: data on a channel that was not granted goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// The lowest channel number.
    pub const MIN: Self = Self(0x4000);
    /// The highest channel number of RFC 8656.
    pub const MAX: Self = Self(0x4FFF);
    /// The highest channel number of RFC 5766.
    pub const MAX_RFC5766: Self = Self(0x7FFE);

    /// The channel number `value`, or `None` outside 0x4000–0x7FFE.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value >= Self::MIN.0 && value <= Self::MAX_RFC5766.0 { Some(Self(value)) } else { None }
    }

    /// The number as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_exactly_that_of_rfc_5766_whose_lower_part_is_rfc_8656_s() {
        assert_eq!(ChannelNumber::new(0x3FFF), None);
        assert_eq!(ChannelNumber::new(0x4000), Some(ChannelNumber::MIN));
        assert_eq!(ChannelNumber::new(0x4FFF), Some(ChannelNumber::MAX));
        assert_eq!(ChannelNumber::new(0x7FFE), Some(ChannelNumber::MAX_RFC5766));
        assert_eq!(ChannelNumber::new(0x7FFF), None);
        assert_eq!(ChannelNumber::new(0x8000), None);
        assert_eq!(ChannelNumber::new(0xFFFF), None);
    }
}
