//! Data as a call sends it: a datagram every 20 ms, each with its number.

use std::time::Duration;

/// Datagrams are so far apart.
pub(super) const EVERY: Duration = Duration::from_millis(20);
/// What each begins with: no STUN, and like RTP to whoever looks at the first byte alone (RFC 7983).
const MARK: &[u8; 12] = b"\x80swingbridge";
/// Bytes of each.
const LEN: usize = 160;

/// What was sent, and what was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) sent: u32,
    pub(super) heard: u32,
    highest: u32,
}

impl Media {
    /// The next datagram.
    pub(super) fn next(&mut self) -> [u8; LEN] {
        self.sent += 1;
        let mut datagram = [0; LEN];
        datagram[..MARK.len()].copy_from_slice(MARK);
        datagram[MARK.len()..MARK.len() + 4].copy_from_slice(&self.sent.to_be_bytes());
        datagram
    }

    /// Takes one of the other side's; what is none is passed over.
    pub(super) fn hear(&mut self, datagram: &[u8]) {
        let number = datagram.strip_prefix(MARK).and_then(|rest| rest.first_chunk());
        if let Some(number) = number.filter(|_| datagram.len() == LEN) {
            self.heard += 1;
            self.highest = self.highest.max(u32::from_be_bytes(*number));
        }
    }

    /// Of those that the other side had sent when the last one came, those that did not.
    pub(super) const fn lost(&self) -> u32 {
        self.highest.saturating_sub(self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_counted_and_what_is_foreign_is_not() {
        let (mut one, mut other) = (Media::default(), Media::default());
        for number in 0..10 {
            let datagram = one.next();
            if number != 3 {
                other.hear(&datagram);
            }
        }
        other.hear(b"");
        other.hear(b"\x80swingbridge");
        other.hear(&[0x80; LEN]);
        assert_eq!((one.sent, other.heard, other.lost()), (10, 9, 1));
    }
}
