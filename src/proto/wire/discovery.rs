//! What a Binding request asks for by the attributes of RFC 5780 § 7.

use super::rfc8656::attributes as attribute;

/// The flags of CHANGE-REQUEST (RFC 5780 § 7.2, RFC 3489 § 11.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The answer shall leave from the other IP address.
    pub ip: bool,
    /// The answer shall leave from the other port.
    pub port: bool,
}

impl Change {
    /// Reads the value of a CHANGE-REQUEST.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let [_, _, _, flags] = *value.as_array()?;
        Some(Self { ip: flags & 0x04 != 0, port: flags & 0x02 != 0 })
    }
}

/// The attributes of RFC 5780. Their types stand in [`super::Request::unknown`] as well: only a server with two
/// addresses understands them, and only in a Binding request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryAttributes {
    /// CHANGE-REQUEST.
    pub change: Option<Change>,
    /// RESPONSE-PORT, 1–65535.
    pub response_port: Option<u16>,
    /// PADDING: its length in bytes.
    pub padding_len: Option<usize>,
    /// Whether the value of one of them breaks its rules: 400.
    pub bad: bool,
}

/// Whether `kind` is the type of one of [`DiscoveryAttributes`].
#[must_use]
pub const fn is_discovery(kind: u16) -> bool {
    matches!(kind, attribute::CHANGE_REQUEST | attribute::PADDING | attribute::RESPONSE_PORT)
}

impl DiscoveryAttributes {
    /// None of them.
    pub(super) const NONE: Self = Self { change: None, response_port: None, padding_len: None, bad: false };

    /// Takes over an attribute; one of another type is left alone.
    pub(super) fn take(&mut self, kind: u16, value: &[u8]) {
        match kind {
            attribute::CHANGE_REQUEST => {
                self.change = Change::read(value);
                self.bad |= self.change.is_none();
            }
            attribute::RESPONSE_PORT => {
                self.response_port = read_port(value);
                self.bad |= self.response_port.is_none();
            }
            attribute::PADDING => self.padding_len = Some(value.len()),
            _ => {}
        }
    }
}

/// RESPONSE-PORT: the port and "2 bytes of padding" (RFC 5780 § 7.5), which some count as part of the value and some
/// do not. Nothing can be sent to port 0.
fn read_port(value: &[u8]) -> Option<u16> {
    let (&[high, low] | &[high, low, _, _]) = value else { return None };
    Some(u16::from_be_bytes([high, low])).filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(attributes: &[(u16, &[u8])]) -> DiscoveryAttributes {
        let mut taken = DiscoveryAttributes::default();
        attributes.iter().for_each(|(kind, value)| taken.take(*kind, value));
        taken
    }

    // proves rfc5780:7.2-1
    #[test]
    fn flags_stand_in_the_bits_of_the_drawing() {
        let change = |flags| Change::read(&[0, 0, 0, flags]);
        assert_eq!(change(0x00), Some(Change::default()));
        assert_eq!(change(0x02), Some(Change { ip: false, port: true }));
        assert_eq!(change(0x04), Some(Change { ip: true, port: false }));
        assert_eq!(change(0xF9), Some(Change::default()), "the other bits mean nothing");
        assert_eq!(Change::read(&[0xFF, 0xFF, 0xFF, 0]), Some(Change::default()));
    }

    #[test]
    fn a_port_is_read_with_or_without_its_padding() {
        let port = |value| taken(&[(attribute::RESPONSE_PORT, value)]).response_port;
        assert_eq!(port(&[0x12, 0x34]), Some(0x1234));
        assert_eq!(port(&[0x12, 0x34, 9, 9]), Some(0x1234));
    }

    #[test]
    fn broken_values_are_bad_and_any_padding_is_good() {
        for (kind, value) in [
            (attribute::CHANGE_REQUEST, &[][..]),
            (attribute::CHANGE_REQUEST, &[0; 3]),
            (attribute::CHANGE_REQUEST, &[0; 5]),
            (attribute::RESPONSE_PORT, &[]),
            (attribute::RESPONSE_PORT, &[1]),
            (attribute::RESPONSE_PORT, &[1, 1, 0]),
            (attribute::RESPONSE_PORT, &[0, 0]),
            (attribute::RESPONSE_PORT, &[0, 0, 1, 1]),
        ] {
            assert!(taken(&[(kind, value)]).bad, "{kind:#06x} {value:?}");
        }
        let padded = taken(&[(attribute::PADDING, &[7; 1_001])]);
        assert_eq!((padded.padding_len, padded.bad), (Some(1_001), false));
        assert_eq!(taken(&[(0x0025, &[]), (0x8028, &[1])]), DiscoveryAttributes::default());
    }
}
