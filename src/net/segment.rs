//! Runs: datagrams of one length to one destination with one header, which leave as one packet that the kernel, or the
//! network card, cuts up again (UDP_SEGMENT). The last may be shorter.
//!
//! Assumption: a run saves work and must never cost a datagram. What the kernel refuses as a run leaves one by one.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use rustix::io::Errno;

use crate::proto::types::limits::DATAGRAM_MAX;

use super::packet::Departing;
use super::packet::Heading;
use super::sys;
use super::traffic::SEGMENTS_MAX;
use super::udp::udp_socket;

/// The longest datagrams of a run: what an Ethernet link takes whole, over IPv4 and over IPv6. Where the link is narrower,
/// the kernel refuses.
const LONGEST_V4: usize = 1_500 - 20 - 8;
const LONGEST_V6: usize = 1_500 - 40 - 8;
/// After a refusal: for how many calls what was refused is not tried again, at first and at most.
const PAUSE_FIRST: u32 = 1 << 8;
const PAUSE_MOST: u32 = 1 << 16;

/// What is known of the kernel's mind about runs.
#[derive(Debug)]
pub(super) struct Segmenting {
    /// A kernel that does not know runs would send one as one datagram.
    known: bool,
    /// Longer datagrams leave one by one, until the pause is over.
    longest: usize,
    left: u32,
    pause: u32,
}

impl Segmenting {
    /// Asks the kernel whether it knows runs.
    pub(super) fn new() -> Self {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let known = udp_socket(any)
            .is_ok_and(|socket| sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok());
        Self { known, longest: usize::MAX, left: 0, pause: PAUSE_FIRST }
    }

    /// No runs, whatever the kernel knows.
    pub(super) const fn never() -> Self {
        Self { known: false, longest: usize::MAX, left: 0, pause: PAUSE_FIRST }
    }

    /// The longest datagrams that the next call may send as runs; 0: none.
    pub(super) fn longest(&mut self) -> usize {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.longest = usize::MAX;
        }
        if self.known { self.longest } else { 0 }
    }

    /// A run of datagrams of `len` bytes was refused: on its way they are too long, or there are no runs at all.
    pub(super) fn refused(&mut self, error: Errno, len: usize) {
        self.longest = match error {
            Errno::INVAL | Errno::MSGSIZE => self.longest.min(len.saturating_sub(1)),
            Errno::IO => 0,
            // That destination alone cannot be reached, and any client can name one.
            _ => return,
        };
        self.left = self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MOST);
    }
}

/// A run that is being put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    /// The place of its first datagram among all that leave.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) heading: &'a Heading,
    /// Bytes of each but the last.
    pub(super) len: usize,
    last: usize,
    all: usize,
    /// In how many pieces each stands: the bytes, or what stands in front of them too.
    pub(super) pieces: usize,
}

impl<'a> Run<'a> {
    /// A run of one.
    pub(super) fn new(first: usize, one: &Departing<'a>) -> Self {
        let len = len_of(one);
        Self { first, count: 1, heading: one.heading, len, last: len, all: len, pieces: pieces_of(one) }
    }

    /// Takes the next datagram in, if it can follow in this run and none is longer than `longest`.
    pub(super) fn take(&mut self, next: &Departing<'_>, longest: usize) -> bool {
        let len = len_of(next);
        let longest = longest.min(if self.heading.to.is_ipv4() { LONGEST_V4 } else { LONGEST_V6 });
        // Behind a shorter one nothing can follow; an empty one would not be sent at all.
        let fits = len > 0
            && len <= self.len
            && self.last == self.len
            && self.len <= longest
            && self.count < SEGMENTS_MAX
            && self.all + len <= DATAGRAM_MAX;
        let follows = fits && self.pieces == pieces_of(next) && self.heading == next.heading;
        if follows {
            self.count += 1;
            self.last = len;
            self.all += len;
        }
        follows
    }
}

fn len_of(one: &Departing<'_>) -> usize {
    one.head.len() + one.bytes.len()
}

fn pieces_of(one: &Departing<'_>) -> usize {
    if one.head.is_empty() { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::proto::types::IpHeader;

    use super::*;

    fn to(text: &str) -> SocketAddr {
        text.parse().expect("a literal")
    }

    fn lens(to: SocketAddr, lens: &[usize], longest: usize) -> Vec<usize> {
        let bytes = vec![0; DATAGRAM_MAX];
        let heading = Heading::to(to);
        let one = |len: usize| Departing::new(&bytes[..len], &heading);
        let mut runs: Vec<Run<'_>> = Vec::new();
        for (place, len) in lens.iter().enumerate() {
            if !runs.last_mut().is_some_and(|run| run.take(&one(*len), longest)) {
                runs.push(Run::new(place, &one(*len)));
            }
        }
        runs.iter().map(|run| run.count).collect()
    }

    #[test]
    fn a_run_is_of_one_length_and_ends_with_a_shorter_one_or_at_its_bounds() {
        let v4 = to("192.0.2.1:9");
        let all = usize::MAX;
        assert_eq!(lens(v4, &[172; 16], all), [16]);
        assert_eq!(lens(v4, &[172, 172, 171, 171, 172], all), [3, 1, 1]);
        assert_eq!(lens(v4, &[172, 173, 173], all), [1, 2]);
        assert_eq!(lens(v4, &[172, 0, 0, 172], all), [1, 1, 1, 1]);
        assert_eq!(lens(v4, &[172; 3], 171), [1, 1, 1]);
        assert_eq!(lens(v4, &[172; SEGMENTS_MAX + 1], all), [SEGMENTS_MAX, 1]);
        assert_eq!(lens(v4, &[LONGEST_V4; 46], all), [DATAGRAM_MAX / LONGEST_V4, 2]);
        assert_eq!(lens(v4, &[LONGEST_V4 + 1; 2], all), [1, 1]);
        assert_eq!(lens(to("[2001:db8::1]:9"), &[LONGEST_V6; 2], all), [2]);
        assert_eq!(lens(to("[2001:db8::1]:9"), &[LONGEST_V6 + 1; 2], all), [1, 1]);
    }

    #[test]
    fn a_run_ends_where_destination_source_or_header_differ() {
        let header = IpHeader { hop_limit: Some(9), traffic_class: 0xB8, dont_fragment: false };
        let source = Some((IpAddr::from([192, 0, 2, 7]), 0));
        let first = Heading { to: to("192.0.2.1:9"), source, header };
        for other in [
            Heading { to: to("192.0.2.1:10"), ..first },
            Heading { source: None, ..first },
            Heading { header: IpHeader { hop_limit: Some(8), ..header }, ..first },
            Heading { header: IpHeader { traffic_class: 0xB9, ..header }, ..first },
            Heading { header: IpHeader { dont_fragment: true, ..header }, ..first },
        ] {
            let (again, mut run) = (first, Run::new(0, &Departing::new(b"x", &first)));
            let mut take = |heading| run.take(&Departing::new(b"x", heading), 9);
            assert!(take(&again) && !take(&other), "{other:?}");
            assert_eq!(run.count, 2);
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_ever_more_rarely() {
        let fresh = || Segmenting { known: true, longest: usize::MAX, left: 0, pause: PAUSE_FIRST };
        let mut segmenting = fresh();
        let mut pause = PAUSE_FIRST;
        for _ in 0..12 {
            assert_eq!(segmenting.longest(), usize::MAX);
            segmenting.refused(Errno::INVAL, 1_400);
            for _ in 1..pause {
                assert_eq!(segmenting.longest(), 1_399, "shorter ones still leave as runs");
            }
            pause = (2 * pause).min(PAUSE_MOST);
        }
        segmenting.refused(Errno::IO, 172);
        assert_eq!(segmenting.longest(), 0);

        let mut segmenting = fresh();
        segmenting.refused(Errno::HOSTUNREACH, 172);
        assert_eq!(segmenting.longest(), usize::MAX, "no destination spoils it for the others");

        let mut stranger = Segmenting { known: false, ..fresh() };
        assert_eq!(stranger.longest(), 0, "an old kernel would send a run as one datagram");
    }
}
