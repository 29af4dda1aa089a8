//! What was seen of a call, in words: pairs, roads, what the gates stopped and why, lines, programs.

use crate::nat::Refused;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::real_lab::Ended;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;
use crate::testbed::report::GateTally;
use crate::testbed::report::Happening;
use crate::testbed::report::What;

use super::facts::Facts;
use super::facts::packets;

/// What was seen, a sentence each.
pub(super) fn seen(facts: Facts<'_>) -> Vec<String> {
    let mut told = vec![connected(facts)];
    if let Some(seen) = facts.run.flight.seen.filter(|seen| *seen != facts.run.verdict) {
        told.push(format!("The routers saw a call all the same: {seen}. A program says otherwise."));
    }
    told.extend(pairs(facts));
    for side in Side::BOTH {
        told.extend(roads(facts, side));
        told.extend(stopped(facts, side));
        told.extend(line(facts, side));
        told.extend(program(facts, side));
    }
    told.extend(facts.run.flight.faults.iter().map(|fault| {
        let whom = fault.side.map_or("A client", |side| {
            if side == Side::Left { "The left client" } else { "The right client" }
        });
        let how = match (fault.passed, fault.befallen) {
            (_, Some(false)) => "and nothing of it came about",
            (Some(true), _) => "and did what it has to",
            (Some(false), _) => "and did not do what it has to",
            (None, _) => "and nobody judged it",
        };
        format!("{whom} had the scenario `{}`, {how}.", fault.scenario)
    }));
    let is_told =
        |note: &&String| !note.contains("ended with exit code") && !note.contains("did not end in time");
    told.extend(facts.run.notes.iter().filter(is_told).map(|note| format!("Noted: {note}.")));
    told
}

fn connected(facts: Facts<'_>) -> String {
    match (facts.run.connected, facts.run.verdict) {
        (Some(after), Verdict::Failed) => {
            format!(
                "Data, or a pair for it, was there after {} ms, and yet the call failed.",
                after.as_millis()
            )
        }
        (Some(after), verdict) => format!("It connected after {} ms; {}.", after.as_millis(), by(verdict)),
        (None, Verdict::Failed) => "It never connected: no data passed both ways.".to_owned(),
        (None, verdict) => format!("It connected, though nobody could see when; {}.", by(verdict)),
    }
}

fn by(verdict: Verdict) -> String {
    match verdict {
        Verdict::Direct => "data went directly".to_owned(),
        Verdict::Relayed(relay) => format!("data went by a relay, over {}", super::theory::over(relay)),
        Verdict::Failed => "no data went".to_owned(),
    }
}

fn pairs(facts: Facts<'_>) -> impl Iterator<Item = String> {
    facts.run.traffic.iter().map(|pair| {
        format!(
            "Data by {} – {}, {}: {} arrived from the left, {} from the right.",
            pair.left.to_string().replace("? ", "").replace('?', "an end that cannot be seen"),
            pair.right.to_string().replace("? ", "").replace('?', "an end that cannot be seen"),
            pair.route,
            packets(pair.from_left.packets),
            packets(pair.from_right.packets)
        )
    })
}

fn roads(facts: Facts<'_>, side: Side) -> Option<String> {
    let tallies: Vec<_> = facts.run.flight.roads.iter().filter(|tally| tally.side == side).collect();
    if tallies.is_empty() {
        return None;
    }
    let each = tallies
        .iter()
        .map(|tally| format!("{}: {} out, {} in", way(tally.road, tally.is_udp), tally.out, tally.inward));
    let each = each.collect::<Vec<_>>().join("; ");
    let blocked = facts.refused(side, Way::Out, Refused::Firewall);
    let (udp, _) = facts.sent(side);
    let only = if blocked > 0 && udp == 0 { " Nothing but TCP left its firewall." } else { "" };
    Some(format!("Packets of the {} side – {each}.{only}", side.name()))
}

const fn way(road: Road, is_udp: bool) -> &'static str {
    match (road, is_udp) {
        (Road::Direct, _) => "to the other place",
        (Road::ToRelay, _) => "to the other side's relay",
        (Road::Server(relay), _) => match relay {
            Relay::Udp => "server over UDP",
            Relay::Tcp => "server over TCP",
            Relay::Tls => "server over TLS",
            Relay::Proxy => "server through the proxy",
        },
        (Road::Other, true) => "elsewhere over UDP",
        (Road::Other, false) => "elsewhere over TCP",
    }
}

/// What its gate did not let through.
fn stopped(facts: Facts<'_>, side: Side) -> Option<String> {
    let is_stopped = |gate: &&GateTally| gate.side == side && gate.fate != "passed" && gate.packets > 0;
    let each = facts.run.flight.gates.iter().filter(is_stopped).map(|gate| {
        let way = if gate.way == Way::Out { "out" } else { "in" };
        format!("{} on the way {way} ({})", gate.packets, gate.fate)
    });
    let each: Vec<_> = each.collect();
    (!each.is_empty()).then(|| format!("The {} gate did not let through: {}.", side.name(), each.join("; ")))
}

fn line(facts: Facts<'_>, side: Side) -> Option<String> {
    let (lost, all) = facts.lost(side).filter(|(lost, _)| *lost > 0)?;
    Some(format!("The {} line lost {lost} of {}.", side.name(), packets(all)))
}

fn program(facts: Facts<'_>, side: Side) -> Option<String> {
    let how = match facts.ended(side)? {
        Ended::Exited(0) => "ended by itself, and well".to_owned(),
        Ended::Exited(code) => format!("ended with exit code {code}"),
        Ended::Signalled(signal) => format!("was ended by signal {signal}"),
        Ended::Hung => "did not end in time, and was ended".to_owned(),
    };
    Some(format!("The {} program {how}.", side.name()))
}

/// The key events, one a line.
pub(super) fn timeline(facts: Facts<'_>) -> Vec<String> {
    let events = &facts.run.flight.events;
    let is_like =
        |event: &&Happening, other: &Happening| (event.side, event.what) == (other.side, other.what);
    let mut told = Vec::new();
    for (at, event) in events.iter().enumerate() {
        if !matches!(event.what, What::CheckHeard | What::CheckAnswered) {
            told.push(moment(event, times(event.times)));
            continue;
        }
        // Every pair is checked again and again: the first of all is worth a line.
        if events.iter().take(at).any(|before| is_like(&before, event)) {
            continue;
        }
        let all = events.iter().filter(|other| is_like(other, event));
        let (count, pairs) = all.fold((0, 0), |(count, pairs), other| (count + other.times, pairs + 1));
        let more = match (count, pairs) {
            (count, 1) => times(count),
            (count, pairs) => format!(", the first of {count} by {pairs} addresses"),
        };
        told.push(moment(event, more));
    }
    told
}

fn times(times: u64) -> String {
    if times > 1 { format!(" ({times} times)") } else { String::new() }
}

fn moment(event: &Happening, more: String) -> String {
    let side = event.side.map_or("", Side::name);
    let what = match event.what {
        What::FirstPacket => "first packet:",
        What::Opened => "connected to",
        What::Candidate => "candidate:",
        What::Gathered => "gathered:",
        What::NotGathered => "did not get",
        What::Answer => "server answers",
        What::Allocation => "server:",
        What::NotPermitted => "not permitted:",
        What::CheckHeard => "check heard",
        What::CheckAnswered => "check answered",
        What::Connected => "nominated:",
        What::Switched => "changes to",
        What::Media => "data:",
        What::RelayLost => "relay lost:",
        What::Failed => "gives up:",
        What::Fault => "server misbehaves:",
        What::Judged => "judged:",
        What::Ended => "program ended:",
        What::Other => "",
    };
    let gap = if what.is_empty() { "" } else { " " };
    format!("{:>7} ms  {side:<5}  {what}{gap}{}{more}", event.at.as_millis(), event.detail)
}
