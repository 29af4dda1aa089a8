//! Packets of which a stream of bytes does not say where they end: each has its length in front of it, as RTP has over a
//! connection (RFC 4571 § 2).
//!
//! Between two clients of the old dialect that came by connections lies a third one, from relayed port to relayed port. What
//! comes by it the server frames as it reads it: two packets that came one behind the other are one frame, and the end of a
//! packet may be the beginning of the next frame.

use crate::load::payload::Stamp;
use crate::load::plan::PAYLOAD_MIN;

/// Bytes of a length.
pub(super) const COUNT_LEN: usize = 2;
/// As much as it takes to tell a packet of ours.
const TELLING: usize = COUNT_LEN + PAYLOAD_MIN as usize;
/// Bytes of memory that an empty queue keeps.
const KEPT_MAX: usize = 4 * 1_024;

/// What came of a peer's packets, of which the last may be only begun.
#[derive(Debug, Default)]
pub(super) struct Counted(Vec<u8>);

impl Counted {
    /// Takes in what came next and gives `each` every packet that is whole. What is none of ours is given as `None`, once,
    /// together with all that is at hand behind it: where the next one begins is not known, but mostly what comes next is it.
    pub(super) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        self.0.extend_from_slice(bytes);
        let mut rest = &self.0[..];
        while let Some((head, behind)) = rest.split_at_checked(TELLING) {
            let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
            if len < usize::from(PAYLOAD_MIN) || Stamp::read(&head[COUNT_LEN..]).is_none() {
                each(None);
                rest = &[];
                break;
            }
            if TELLING + behind.len() < COUNT_LEN + len {
                break;
            }
            let (packet, next) = rest[COUNT_LEN..].split_at(len);
            each(Some(packet));
            rest = next;
        }
        let done = self.0.len() - rest.len();
        self.0.drain(..done);
        if self.0.is_empty() {
            self.0.shrink_to(KEPT_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::load::payload::Far;
    use crate::load::payload::Rtp;
    use crate::load::payload::Way;

    use super::*;

    fn packet(sequence: u64, len: usize) -> Vec<u8> {
        let stamp = Stamp { run: 1, call: 2, stream: 0, way: Way::Up, sequence, due_ns: 3, far: Far::Silent };
        let mut packet = vec![0xFF; len];
        assert!(stamp.write(Rtp { payload_type: 111, marker: false, time: 4 }, &mut packet));
        packet
    }

    fn with_length(packet: &[u8]) -> Vec<u8> {
        [&u16::try_from(packet.len()).expect("short").to_be_bytes()[..], packet].concat()
    }

    /// What comes out of bytes that are taken in in pieces of so many.
    fn heard(counted: &mut Counted, bytes: &[u8], at_once: usize) -> Vec<Option<Vec<u8>>> {
        let mut heard = Vec::new();
        for piece in bytes.chunks(at_once) {
            counted.take(piece, |packet| heard.push(packet.map(<[_]>::to_vec)));
        }
        heard
    }

    #[test]
    fn packets_come_out_whole_however_the_bytes_between_them_were_joined_and_cut() {
        let packets: Vec<_> =
            [172, 56, 1_200, 160, 60_000, 57].iter().zip(0..).map(|(&len, n)| packet(n, len)).collect();
        let bytes: Vec<_> = packets.iter().flat_map(|packet| with_length(packet)).collect();
        let expected: Vec<_> = packets.into_iter().map(Some).collect();
        for at_once in [1, 2, 3, 57, 58, 59, 174, 4_096, usize::MAX] {
            let mut counted = Counted::default();
            assert_eq!(heard(&mut counted, &bytes, at_once), expected, "{at_once} at once");
            assert!(counted.0.is_empty() && counted.0.capacity() <= KEPT_MAX, "{at_once} at once");
        }
    }

    #[test]
    fn what_is_no_packet_of_ours_is_told_once_and_what_comes_behind_it_is_heard() {
        let ours = with_length(&packet(7, 172));
        let foreign = with_length(&[0x80; 172]);
        let short = with_length(&packet(7, 56)[..55]);
        for strange in [&foreign[..], &[0; 200], &[&short[..], &ours].concat(), &packet(7, 172)] {
            let mut counted = Counted::default();
            let before = [&ours[..], strange].concat();
            assert_eq!(heard(&mut counted, &before, usize::MAX), [Some(packet(7, 172)), None]);
            assert_eq!(heard(&mut counted, &ours, usize::MAX), [Some(packet(7, 172))]);
        }
    }
}
