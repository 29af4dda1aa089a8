//! Servers that are computed: what is measured of them is known beforehand.

use std::time::Duration;

use super::*;
use crate::load::outcome::Step;
use crate::load::plan::Profile;
use crate::load::profile::Schedule;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

#[test]
fn every_nth_packet_lost_is_that_loss_exactly() {
    for every in [10, 100, 1000] {
        let step = run(100 * SECOND, |packet| (!packet.number.is_multiple_of(every)).then_some(MS));
        let lost = step.up.sent / every;
        assert!(step.up.lost.abs_diff(lost) <= 1, "{} of {}, one in {every}", step.up.lost, step.up.sent);
        assert_eq!(step.up.sent, step.up.received + step.up.lost);
        assert_eq!((step.up.duplicated, step.up.reordered, step.strangers), (0, 0, 0));
    }
}

#[test]
fn a_delay_is_that_delay_and_no_jitter() {
    let step = run(10 * SECOND, |_| Some(100 * MS));
    for part in [0.0, 0.5, 0.99, 1.0] {
        assert!(near(step.up.latency.quantile(part), 0.100), "{part}: {:?}", step.up.latency.quantile(part));
    }
    assert_eq!(step.up.lost, 0);
    assert!(step.up.jitter.worst < 1e-9);
}

/// No coordinated omission: what was due during a stall waited, each packet for what was left of it.
#[test]
fn a_stall_is_charged_to_all_that_waited() {
    let (from, to) = (5 * SECOND, 5 * SECOND + 500 * MS);
    let step = run(10 * SECOND, |packet| {
        let is_hit = (from..to).contains(&packet.due_ns);
        Some(if is_hit { to - packet.due_ns + MS } else { MS })
    });
    // One packet in twenty is hit, and waits up to 500 ms: the slowest in a hundred lie in the last fifth of that.
    assert!(near(step.up.latency.max(), 0.5), "{:?}", step.up.latency.max());
    assert!(near(step.up.latency.quantile(0.99), 0.4), "{:?}", step.up.latency.quantile(0.99));
    assert!(step.up.latency.quantile(0.94) < Duration::from_millis(3));
    assert_eq!(step.up.lost, 0);
}

/// A generator that itself stalls sends late; its packets are charged from when they were due, and counted as late.
#[test]
fn a_stalled_generator_accuses_itself() {
    let mut meter = Meter::new();
    let mut schedule = Schedule::new(Profile::Audio, 0, Way::Up, 0, 1, 0);
    while schedule.due_ns() < 2 * SECOND {
        let burst = schedule.next_burst();
        let stalls = (SECOND..SECOND + 500 * MS).contains(&burst.due_ns);
        let now = if stalls { SECOND + 500 * MS } else { burst.due_ns };
        meter.sent(Way::Up, burst.due_ns, burst.packets, burst.bytes, now);
    }
    let mut step = Step::default();
    meter.take().fill(&mut step);
    assert_eq!((step.up.sent, step.own.late), (100, 25));
    assert!(
        step.own.limited(step.up.sent).is_some_and(|why| why.starts_with("25 packets (25.00 %) left later"))
    );
}

/// A generator that has not even come to the packets of the window when it is closed.
#[test]
fn what_was_not_even_tried_is_owed() {
    let mut meter = Meter::new();
    let mut schedule = Schedule::new(Profile::Audio, 0, Way::Up, 0, 1, 0);
    meter.owed(&schedule);
    assert_eq!(meter.take().unsent, 0, "outside of a window nothing ever ends");
    let _ = meter.open(Window { number: 1, from_ns: SECOND, to_ns: 2 * SECOND });
    while schedule.due_ns() < SECOND + 500 * MS {
        let _ = schedule.next_burst();
    }
    meter.owed(&schedule);
    let mut step = Step::default();
    meter.take().fill(&mut step);
    assert_eq!((step.up.sent, step.own.unsent), (0, 25));
    assert!(step.own.limited(0).is_some());
}

#[test]
fn only_what_was_due_within_the_window_counts() {
    let mut meter = Meter::new();
    let mut listener = Listener::new(50.0);
    let window = Window { number: 1, from_ns: 10 * SECOND, to_ns: 20 * SECOND };
    let _ = meter.open(window);
    for (sequence, due) in [9 * SECOND, 10 * SECOND, 20 * SECOND - 1, 20 * SECOND].into_iter().enumerate() {
        meter.sent(Way::Up, due, 1, 172, due);
        meter.unsent(due, 1);
        let stamp = Stamp { sequence: sequence as u64, due_ns: due, ..stamp() };
        meter.heard(&mut listener, &stamp, 172, due + 3 * SECOND);
    }
    let mut step = Step::default();
    meter.close(&listener, Way::Up);
    meter.take().fill(&mut step);
    assert_eq!((step.up.sent, step.up.received, step.up.lost, step.own.unsent), (2, 2, 0, 2));
    assert_eq!((step.up.sent_bytes, step.up.received_bytes), (344, 344));
    assert_eq!(step.up.latency.count(), 2);
}

#[test]
fn duplicates_and_reordering_are_told_apart_from_loss() {
    let mut meter = Meter::new();
    let mut listener = Listener::new(50.0);
    for sequence in [0, 1, 3, 2, 3, 3, 6] {
        meter.sent(Way::Down, sequence * MS, 1, 100, sequence * MS);
        let stamp = Stamp { sequence, due_ns: sequence * MS, way: Way::Down, ..stamp() };
        meter.heard(&mut listener, &stamp, 100, SECOND);
    }
    let moment = meter.interval.moment(Duration::from_secs(1));
    let down = &meter.interval.down;
    assert_eq!((down.received, down.duplicated, down.reordered, down.missing), (5, 2, 1, 2));
    assert_eq!((moment.received, moment.lost), (5, 2), "4 and 5 are missing");
}

#[test]
fn a_silent_server_shows_as_loss_at_once() {
    let mut meter = Meter::new();
    meter.sent(Way::Up, 0, 8, 100, 0);
    assert_eq!(meter.take().moment(Duration::ZERO).lost, 8);
}

#[test]
fn what_cannot_be_is_a_stranger() {
    let mut meter = Meter::new();
    let mut listener = Listener::new(50.0);
    meter.heard(&mut listener, &Stamp { due_ns: 2 * SECOND, ..stamp() }, 100, SECOND);
    meter.heard(&mut listener, &Stamp { sequence: u64::MAX, ..stamp() }, 100, SECOND);
    meter.heard(
        &mut listener,
        &Stamp { far: Far::Returned { count: 0, again: 0, held_us: 0 }, ..stamp() },
        100,
        SECOND,
    );
    let interval = meter.take();
    assert_eq!((interval.strangers, interval.up.received, interval.down.received), (3, 0, 0));
}

/// RFC 3550 § 6.4.1: a stream whose packets come in turn 0 and 16 ms late tends to a jitter of 16 ms.
#[test]
fn jitter_is_that_of_the_standard() {
    let step = run(60 * SECOND, |packet| Some(if packet.number.is_multiple_of(2) { MS } else { 17 * MS }));
    assert!((0.0155..=0.0161).contains(&step.up.jitter.mean), "{:?}", step.up.jitter);
}

#[test]
fn each_window_has_its_own_jitter() {
    let mut meter = Meter::new();
    let mut listener = Listener::new(50.0);
    for number in 1..=2 {
        let from_ns = u64::from(number) * 100 * SECOND;
        let _ = meter.open(Window { number, from_ns, to_ns: from_ns + 100 * SECOND });
        for each in 0..1000 {
            let due_ns = from_ns + each * 20 * MS;
            let sequence = u64::from(number - 1) * 1000 + each;
            let unsteady = if number == 1 { (each % 2) * 10 * MS } else { 0 };
            meter.heard(&mut listener, &Stamp { sequence, due_ns, ..stamp() }, 100, due_ns + MS + unsteady);
        }
        meter.close(&listener, Way::Up);
        let flow = meter.take().up.into_flow();
        let range = if number == 1 { 0.009..0.0101 } else { 0.0..0.0005 };
        assert!(range.contains(&flow.jitter.mean), "window {number}: {:?}", flow.jitter);
    }
    meter.close(&Listener::new(50.0), Way::Up);
    assert_eq!(meter.take().up.into_flow().jitter.worst.to_bits(), 0, "a stream without a packet has none");
}

#[test]
fn a_round_trip_leaves_out_the_time_at_the_far_end() {
    let (mut near_end, mut far_end) = (Meter::new(), Meter::new());
    let (mut near_ear, mut far_ear) = (Listener::new(50.0), Listener::new(50.0));
    assert_eq!(near_ear.echo(5), Far::Silent);
    far_end.heard(&mut far_ear, &Stamp { due_ns: SECOND, ..stamp() }, 100, SECOND + 30 * MS);
    let echo = far_ear.echo(SECOND + 40 * MS);
    assert_eq!(echo, Far::Echo { due_ns: SECOND, held_us: 10_000 });
    for sequence in 0..3 {
        let back = Stamp { sequence, way: Way::Down, due_ns: SECOND + 40 * MS, far: echo, ..stamp() };
        near_end.heard(&mut near_ear, &back, 100, SECOND + 60 * MS);
    }
    let trip = near_end.take().round_trip;
    assert_eq!(trip.count(), 1, "an echo counts once");
    assert!(near(trip.max(), 0.050), "{:?}", trip.max());
}

/// A peer on another machine: of 1,000 packets it hears 900, every second of them twice, and 800 come back.
#[test]
fn a_returned_packet_tells_on_which_way_it_was_lost() {
    let mut meter = Meter::new();
    let mut listener = Listener::new(50.0);
    let mut count = 1;
    let mut number = 0;
    let mut again: u16 = 0;
    // What came again before is nothing to the windows, and its number goes round.
    for before in [30_000, 60_000, 65_500] {
        again = before;
        let far = Far::Returned { count, again, held_us: 0 };
        meter.heard(&mut listener, &Stamp { far, ..stamp() }, 100, MS);
    }
    for (window, wanted) in [(1, (1000, 900, 900, 800)), (2, (1000, 900, 900, 800))] {
        let from_ns = u64::from(window) * 100 * SECOND;
        let _ = meter.open(Window { number: window, from_ns, to_ns: from_ns + 20 * SECOND });
        for each in 0..1000 {
            let due_ns = from_ns + each * 20 * MS;
            meter.sent(Way::Up, due_ns, 1, 100, due_ns);
            number += 1;
            if each % 10 == 0 {
                continue;
            }
            count += 1;
            again = again.wrapping_add(u16::from(count % 2 == 0));
            if each % 10 != 5 {
                let far = Far::Returned { count, again, held_us: 1000 };
                let back = Stamp { sequence: number, due_ns, far, ..stamp() };
                meter.heard(&mut listener, &back, 100, due_ns + 7 * MS);
            }
        }
        meter.close(&listener, Way::Down);
        let interval = meter.take();
        assert!(near(interval.round_trip.quantile(0.5), 0.006));
        assert_eq!(interval.round_trip.count(), 800);
        assert_eq!(
            interval.up.latency.count() + interval.down.latency.count(),
            0,
            "nobody knows one way alone"
        );
        let (up, down) = (interval.up.into_flow(), interval.down.into_flow());
        assert_eq!((up.sent, up.received, down.sent, down.received), wanted);
        assert_eq!(down.received_bytes, 80_000);
        assert_eq!((up.duplicated, down.duplicated), (450, 0), "window {window}");
    }
}

struct Packet {
    number: u64,
    due_ns: u64,
}

/// One voice through a server that takes so long for a packet, or loses it.
fn run(length_ns: u64, server: impl Fn(&Packet) -> Option<u64>) -> Step {
    let mut meter = Meter::new();
    let mut listener = Listener::new(50.0);
    let _ = meter.open(Window { number: 1, from_ns: 0, to_ns: length_ns });
    let mut schedule = Schedule::new(Profile::Audio, 0, Way::Up, 0, 1, 0);
    let mut arrivals = Vec::new();
    for number in 0.. {
        if schedule.due_ns() >= length_ns + SECOND {
            break;
        }
        let burst = schedule.next_burst();
        meter.sent(Way::Up, burst.due_ns, 1, burst.bytes, burst.due_ns);
        let packet = Packet { number, due_ns: burst.due_ns };
        if let Some(took) = server(&packet) {
            arrivals.push((burst.due_ns + took, packet, burst.bytes));
        }
    }
    arrivals.sort_by_key(|each| each.0);
    for (now, packet, bytes) in arrivals {
        let stamp = Stamp { sequence: packet.number, due_ns: packet.due_ns, ..stamp() };
        meter.heard(&mut listener, &stamp, usize::from(bytes), now);
    }
    meter.close(&listener, Way::Up);
    let mut step = Step::default();
    meter.take().fill(&mut step);
    step
}

fn stamp() -> Stamp {
    Stamp { run: 1, call: 1, stream: 0, way: Way::Up, sequence: 0, due_ns: 0, far: Far::Silent }
}

fn near(is: Duration, wanted_s: f64) -> bool {
    (is.as_secs_f64() / wanted_s - 1.0).abs() < 0.1
}
