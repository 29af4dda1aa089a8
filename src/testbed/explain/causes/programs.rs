//! Causes that lie with the programs, or with the laboratory itself.

use crate::testbed::Verdict;
use crate::testbed::real_lab::Ended;
use crate::testbed::real_lab::Side;
use crate::testbed::report::What;

use super::super::facts::Facts;
use super::Cause;

/// The laboratory made a mistake.
pub(super) fn laboratory(facts: Facts<'_>) -> Vec<Cause> {
    let notes = facts.run.notes.iter().filter(|note| note.contains("the laboratory stood still"));
    let cause = |note: &String| {
        Cause::new(
            "The laboratory itself made a mistake: this call says nothing of the clients.",
            format!("It noted: {note}."),
            "Report it, with the seed and the places: the same seed makes the same call.",
        )
    };
    notes.map(cause).collect()
}

/// A program crashed, or ended before it had tried anything, and so there was no call.
pub(super) fn crashed(facts: Facts<'_>) -> Vec<Cause> {
    ended_before(facts, |side| is_crash(facts, side))
}

/// A program gave in when it had tried, or hung: it is more likely to follow from something else.
pub(super) fn gave_in(facts: Facts<'_>) -> Vec<Cause> {
    ended_before(facts, |side| !is_crash(facts, side))
}

fn is_crash(facts: Facts<'_>, side: Side) -> bool {
    let came = facts.run.flight.gates.iter().any(|gate| gate.side == side) || facts.sent(side) != (0, 0);
    match facts.ended(side) {
        Some(Ended::Signalled(_) | Ended::Exited(101 | 126 | 127 | 129..)) => true,
        Some(Ended::Exited(_)) => facts.has_roads() && !came,
        Some(Ended::Hung) | None => false,
    }
}

/// A program of those sides ended badly, or hung, and the call was not there yet.
fn ended_before(facts: Facts<'_>, is_meant: impl Fn(Side) -> bool) -> Vec<Cause> {
    if facts.seen() != Verdict::Failed {
        return Vec::new();
    }
    let of = |side: Side| {
        let (what, mut next) = bad_end(facts.ended(side).filter(|_| is_meant(side))?, side)?;
        let (when, because) = phase(facts, side);
        if facts.ended(side) == Some(Ended::Hung) {
            next = format!(
                "See in `{}.log` what it waits for last: the signalling socket, the server, or a pair that never works. If it \
                 is only slow, give it more with `--timeout`.",
                side.name()
            );
        }
        Some(Cause::new(format!("{what} {when}."), because, next))
    };
    let mut causes: Vec<_> = Side::BOTH.into_iter().filter_map(of).collect();
    // Who ended by itself is more likely the reason than who waited for it.
    causes.sort_by_key(|cause| cause.what.contains("did not end"));
    causes
}

/// The same when the call was there.
pub(super) fn ended_late(facts: Facts<'_>) -> Vec<Cause> {
    if facts.seen() == Verdict::Failed {
        return Vec::new();
    }
    let of = |side: Side| {
        let ended = facts.ended(side)?;
        let (what, next) = bad_end(ended, side)?;
        let next = if ended == Ended::Hung {
            "A program ends by itself when it is content: have it send `{\"done\": true}`, wait for the other's, and exit with 0."
                .to_owned()
        } else {
            next
        };
        let what = format!("{what} although the call was there.");
        Some(Cause::new(what, format!("The routers saw data both ways: {}.", facts.seen()), next))
    };
    Side::BOTH.into_iter().filter_map(of).collect()
}

/// A side that sent nothing at all.
pub(super) fn silent(facts: Facts<'_>) -> Vec<Cause> {
    let is_silent = |side: &Side| {
        let stopped = facts.run.flight.gates.iter().any(|gate| gate.side == *side);
        let failed = facts.seen() == Verdict::Failed;
        failed && facts.has_roads() && facts.sent(*side) == (0, 0) && !stopped
    };
    let cause = |side: Side| {
        let name = side.name();
        Cause::new(
            format!("The {name} program sent not a single packet."),
            format!("Nothing of it came to the {name} gate."),
            format!(
                "See in `{name}.log` whether it started, and whether it takes the server from SWINGBRIDGE_TURN_URIS and sends \
                 from `eth0`."
            ),
        )
    };
    Side::BOTH.into_iter().filter(is_silent).map(cause).collect()
}

/// How a program ended, if it was not well, and what to do about it.
fn bad_end(ended: Ended, side: Side) -> Option<(String, String)> {
    let name = side.name();
    let log = format!("Read the end of `{name}.log`");
    Some(match ended {
        Ended::Exited(0) => return None,
        Ended::Exited(127) => (
            format!("The {name} program could not be found: it ended with code 127"),
            format!(
                "Check how the {name} program and what it starts are spelt; paths are those of this machine."
            ),
        ),
        Ended::Exited(126) => (
            format!("The {name} program may not be run: it ended with code 126"),
            format!("Make the {name} program executable."),
        ),
        Ended::Exited(101) => (
            format!("The {name} program ended with code 101, as one in Rust does that panics,"),
            format!("{log}: the panic names its line."),
        ),
        Ended::Exited(code @ 129..=192) => (
            format!("The {name} program ended with code {code}, as a shell tells of {},", signal(code - 128)),
            format!("{log}."),
        ),
        Ended::Exited(code) => (
            format!("The {name} program ended with code {code}"),
            format!("{log}; the code is the program's own."),
        ),
        Ended::Signalled(number) => (
            format!("The {name} program was ended by {}", signal(number)),
            format!("{log}, and run it in a debugger, or with a sanitizer."),
        ),
        Ended::Hung => (
            format!("The {name} program did not end in time, and was ended by the laboratory"),
            String::new(),
        ),
    })
}

/// A signal by its name, where it is one that programs end by.
fn signal(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return format!("signal {number}"),
    };
    format!("{name} (signal {number})")
}

/// How far a program had come, and what says so.
fn phase(facts: Facts<'_>, side: Side) -> (&'static str, String) {
    let name = side.name();
    if !facts.has_roads() {
        return ("before data passed both ways", "The routers saw no call.".to_owned());
    }
    if facts.sent(side) == (0, 0) {
        let stopped = facts.run.flight.gates.iter().any(|gate| gate.side == side && gate.fate != "passed");
        return if stopped {
            (
                "before a packet of it left its place",
                format!("All that it sent was stopped at the {name} gate."),
            )
        } else {
            ("before it sent a packet", format!("Nothing of it came to the {name} gate."))
        };
    }
    if facts.has_events(side) && !facts.has_event(side, What::Candidate) && facts.has_relay(side).is_none() {
        return ("before any candidate was gathered", "No candidate of it was seen.".to_owned());
    }
    let (udp, tcp) = facts.sent(side);
    ("before data passed both ways", format!("It had sent {udp} packets of UDP and {tcp} of TCP by then."))
}
