//! Whether the kernel should hand a socket's datagrams over in runs (UDP_GRO). Where a sender's datagrams come one behind the
//! other that spares most of the work; where they do not, each costs a tenth more. So every socket is judged by itself, by
//! what it brings.
//!
//! ```text
//!   off ── more than half of a window stands in runs ──▶ on
//!       ◀── less than a quarter of it came in runs ──── on
//! ```
//!
//! A sender's datagrams may stand in a row and the kernel yet put none together, as on a link that does not. A socket that was
//! turned on and brought no runs is tried again after ever longer.

use std::os::fd::AsFd;

use crate::net::packet::Arrived;
use crate::net::udp;

/// Datagrams after which a socket is judged anew.
const WINDOW: u16 = 256;
/// Windows that a socket stays off after it was on for nothing: doubled each time, up to this.
const PAUSE_MOST: u16 = 1 << 12;

/// What is known of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Runs {
    packets: u16,
    in_runs: u16,
    is_on: bool,
    /// The first window since it was turned on.
    is_new: bool,
    /// It shall be turned off as soon as nothing waits in it.
    is_leaving: bool,
    /// Never on.
    is_forbidden: bool,
    /// Windows that are waited for.
    left: u16,
    pause: u16,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            packets: 0,
            in_runs: 0,
            is_on: false,
            is_new: false,
            is_leaving: false,
            is_forbidden: false,
            left: 0,
            pause: 1,
        }
    }
}

impl Runs {
    /// Whether the socket brings runs.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// From here on it is never on, or may be again. With something in front of the socket that must see each datagram by
    /// itself it has to be off.
    pub(super) fn forbid(&mut self, socket: impl AsFd, forbidden: bool) {
        self.is_forbidden = forbidden;
        if forbidden && self.is_on {
            self.turn(socket, false);
        }
    }

    /// Judges `socket` by what it brought.
    pub(super) fn judge(&mut self, socket: impl AsFd, arrived: &Arrived) {
        if let Some(on) = self.note(arrived.places.len(), arrived.in_runs, arrived.is_full) {
            self.turn(socket, on);
        }
    }

    fn turn(&mut self, socket: impl AsFd, on: bool) {
        match udp::set_runs(socket, on) {
            Ok(true) => self.turned(on),
            Ok(false) => self.is_leaving = true,
            Err(_) => self.left = PAUSE_MOST,
        }
    }

    fn turned(&mut self, on: bool) {
        (self.is_on, self.is_new, self.is_leaving) = (on, on, false);
        (self.packets, self.in_runs) = (0, 0);
    }

    /// So many datagrams came, of which so many in runs; with `is_full` more wait. Answers what the socket is to be told.
    fn note(&mut self, packets: usize, in_runs: usize, is_full: bool) -> Option<bool> {
        if self.is_leaving {
            return (!is_full).then_some(false);
        }
        let bounded = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        self.packets = self.packets.saturating_add(bounded(packets));
        self.in_runs = self.in_runs.saturating_add(bounded(in_runs));
        if self.packets < WINDOW {
            return None;
        }
        let (packets, in_runs) = (self.packets, self.in_runs);
        (self.packets, self.in_runs) = (0, 0);
        if self.is_on { self.note_on(packets, in_runs) } else { self.note_off(packets, in_runs) }
    }

    fn note_on(&mut self, packets: u16, in_runs: u16) -> Option<bool> {
        let was_new = std::mem::take(&mut self.is_new);
        if self.is_forbidden {
            return Some(false);
        }
        if in_runs >= packets / 4 {
            self.pause = if was_new { self.pause } else { 1 };
            return None;
        }
        if was_new {
            self.left = self.pause;
            self.pause = (2 * self.pause).min(PAUSE_MOST);
        }
        Some(false)
    }

    fn note_off(&mut self, packets: u16, in_runs: u16) -> Option<bool> {
        self.left = self.left.saturating_sub(1);
        (self.left == 0 && !self.is_forbidden && in_runs > packets / 2).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::net::UdpSocket;

    use super::*;

    const ALL: usize = WINDOW as usize;

    /// Notes a window, and does as it says.
    fn window(runs: &mut Runs, in_runs: usize) -> Option<bool> {
        let turn = runs.note(ALL, in_runs, false);
        if let Some(on) = turn {
            runs.turned(on);
        }
        turn
    }

    #[test]
    fn more_than_half_in_runs_turns_a_socket_on_and_less_than_a_quarter_off() {
        let mut runs = Runs::default();
        assert_eq!(window(&mut runs, ALL / 2), None);
        assert_eq!(window(&mut runs, ALL / 2 + 1), Some(true));
        for in_runs in [ALL, ALL / 4, ALL / 4] {
            assert_eq!((window(&mut runs, in_runs), runs.is_on()), (None, true));
        }
        assert_eq!(window(&mut runs, ALL / 4 - 1), Some(false));
        assert!(!runs.is_on());
        assert_eq!(window(&mut runs, ALL), Some(true), "it was of use before");
    }

    #[test]
    fn a_window_is_filled_by_many_small_batches() {
        let mut runs = Runs::default();
        for _ in 1..ALL {
            assert_eq!(runs.note(1, 1, false), None);
        }
        assert_eq!(runs.note(1, 1, false), Some(true));
        assert_eq!(Runs::default().note(usize::MAX, 0, false), None);
        assert_eq!(Runs::default().note(usize::MAX, usize::MAX, false), Some(true));
    }

    #[test]
    fn a_socket_that_is_on_for_nothing_is_tried_ever_more_rarely() {
        let mut runs = Runs::default();
        let mut waited = 0;
        for pause in [1_u16, 1, 2, 4, 8, 16] {
            waited = 0;
            while window(&mut runs, ALL) != Some(true) {
                waited += 1;
            }
            assert!(waited < pause, "{waited} of {pause}");
            assert_eq!(window(&mut runs, 0), Some(false));
        }
        assert_eq!(waited, 15);
        for _ in 0..20 {
            while window(&mut runs, ALL) != Some(true) {}
            assert_eq!(window(&mut runs, 0), Some(false));
        }
        assert_eq!(runs.left, PAUSE_MOST);
    }

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback")
    }

    #[test]
    fn a_socket_is_turned_off_only_when_nothing_waits_in_it() {
        let (socket, mut runs) = (socket(), Runs::default());
        runs.turn(&socket, true);
        assert!(runs.is_on());
        socket.send_to(b"x", socket.local_addr().expect("bound")).expect("sent");
        runs.turn(&socket, false);
        assert!(runs.is_on() && runs.is_leaving);
        assert_eq!(runs.note(1, 1, true), None, "more waits");
        assert_eq!(socket.recv(&mut [0; 1]).expect("it waits"), 1);
        assert_eq!(runs.note(1, 1, false), Some(false));
        runs.turn(&socket, false);
        assert!(!runs.is_on() && !runs.is_leaving);
    }

    #[test]
    fn what_is_forbidden_is_turned_off_and_stays_so_until_it_is_allowed() {
        let (socket, mut runs) = (socket(), Runs::default());
        runs.turn(&socket, true);
        runs.forbid(&socket, true);
        assert!(!runs.is_on());
        assert_eq!(window(&mut runs, ALL), None);
        runs.forbid(&socket, false);
        assert_eq!(window(&mut runs, ALL), Some(true));
        // Forbidden while something waits.
        runs.turn(&socket, true);
        socket.send_to(b"x", socket.local_addr().expect("bound")).expect("sent");
        runs.forbid(&socket, true);
        assert!(runs.is_on());
        assert_eq!(runs.note(ALL, ALL, false), Some(false), "as soon as it can be");
    }

    #[test]
    fn a_socket_that_cannot_be_told_is_left_alone_for_long() {
        let mut runs = Runs::default();
        assert_eq!(runs.note(ALL, ALL, false), Some(true));
        let listener = TcpListener::bind("127.0.0.1:0").expect("no UDP socket");
        runs.turn(&listener, true);
        for _ in 1..PAUSE_MOST {
            assert_eq!(runs.note(ALL, ALL, false), None);
        }
        assert_eq!(runs.note(ALL, ALL, false), Some(true));
    }
}
