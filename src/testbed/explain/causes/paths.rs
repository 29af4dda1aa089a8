//! Causes that lie on the way: firewalls, filters, lines, checks, and data.

use crate::nat::Refused;
use crate::testbed::Relay;
use crate::testbed::Verdict;
use crate::testbed::Why;
use crate::testbed::real_lab::Road;
use crate::testbed::real_lab::Side;
use crate::testbed::real_lab::Way;
use crate::testbed::report::What;

use super::super::facts::Facts;
use super::super::facts::packets;
use super::super::theory::over;
use super::Cause;

/// The only door of a firewall was not taken, or led nowhere.
pub(super) fn walls(facts: Facts<'_>) -> Vec<Cause> {
    Side::BOTH.into_iter().filter_map(|side| wall(facts, side)).collect()
}

fn wall(facts: Facts<'_>, side: Side) -> Option<Cause> {
    let (name, way) = (side.name(), facts.needs(side)?);
    if !facts.has_roads() {
        return None;
    }
    let stopped = facts.refused(side, Way::Out, Refused::Firewall);
    let (out, inward) = facts.road(side, Road::Server(way));
    let (udp, tcp) = facts.sent(side);
    let at_wall = match stopped {
        0 => "The firewall stopped nothing.".to_owned(),
        stopped => format!("The firewall stopped {}.", packets(stopped)),
    };
    if out > 0 && inward > 0 {
        return None;
    }
    if out > 0 {
        return Some(Cause::new(
            format!("The {name} client asked over {}, and nothing came back.", over(way)),
            format!("{} left, and none came. {at_wall}", packets(out)),
            "See in `server.log` whether the server heard it, and whether its certificate is believed (SWINGBRIDGE_AUTHORITY).",
        ));
    }
    if stopped == 0 && udp + tcp == 0 {
        return None;
    }
    let tried = match (udp + tcp, tcp) {
        (0, _) => "and the program tried nothing that its firewall lets out".to_owned(),
        (_, 0) => "and what else left does not reach the server".to_owned(),
        _ => "and the program tried other doors alone".to_owned(),
    };
    Some(Cause::new(
        format!("{} is the only way out of the {name} place, {tried}.", capital(over(way))),
        format!("No packet left by it. {at_wall}"),
        match way {
            Relay::Proxy => {
                format!("Have the {name} program ask the proxy of SWINGBRIDGE_PROXY for CONNECT to port 443.")
            }
            Relay::Tls => {
                format!("Have the {name} program use `turns:` with port 443: SWINGBRIDGE_TURN_URIS has it.")
            }
            Relay::Tcp | Relay::Udp => {
                format!("Have the {name} program use `turn:…?transport=tcp`: SWINGBRIDGE_TURN_URIS has it.")
            }
        },
    ))
}

fn capital(text: &str) -> String {
    // What carries messages begins with a capital but for an article.
    text.strip_prefix("the ").map_or_else(|| text.to_owned(), |rest| format!("The {rest}"))
}

/// Whether a direct call had to be possible, and is not there.
fn misses_direct(facts: Facts<'_>) -> bool {
    facts.run.expected == Some(Verdict::Direct) && facts.run.verdict != Verdict::Direct
}

/// A side that never sent anything to the other's place.
pub(super) fn unchecked(facts: Facts<'_>) -> Vec<Cause> {
    let is_mute = |side: &Side| {
        let has_sent = facts.sent(*side) != (0, 0);
        misses_direct(facts) && has_sent && facts.road(*side, Road::Direct).0 == 0
    };
    let cause = |side: Side| {
        let (name, other) = (side.name(), side.other().name());
        Cause::new(
            format!(
                "The {name} client never tried the direct way: no packet of it went to the {other} place."
            ),
            format!(
                "It sent to the server and its relays alone, and so the {name} filter was never opened for the {other} side."
            ),
            format!(
                "Look whether the {other} side's candidates reach it by signalling, whether it asks the server for its own by \
                 Binding, and whether it is set to relays alone."
            ),
        )
    };
    Side::BOTH.into_iter().filter(is_mute).map(cause).collect()
}

/// Checks that left and were not let in.
pub(super) fn filtered(facts: Facts<'_>) -> Vec<Cause> {
    if !misses_direct(facts) {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for side in Side::BOTH {
        let (name, other) = (side.name(), side.other());
        let (out, _) = facts.road(side, Road::Direct);
        let (_, came) = facts.road(other, Road::Direct);
        if out == 0 || came > 0 {
            continue;
        }
        let filtered = facts.refused(other, Way::In, Refused::Filtered);
        let unmapped = facts.refused(other, Way::In, Refused::NoMapping);
        let other = other.name();
        let because = match (filtered, unmapped) {
            (0, 0) => format!("{} left the {name} place, and none came in at the {other} one.", packets(out)),
            _ => format!(
                "{} left the {name} place; at the {other} gate {} stopped by the filter, and {} found no mapping.",
                packets(out),
                were(filtered),
                packets(unmapped)
            ),
        };
        causes.push(Cause::new(
            format!("No check of the {name} client came through to the {other} one."),
            because,
            format!(
                "Both sides have to send checks to each other's server-reflexive candidate at about the same time, and again for \
                 some seconds (RFC 8445 § 14): see whether the {other} client does, and to which port."
            ),
        ));
    }
    if let (Why::Learned(at), true) = (facts.why(), causes.is_empty()) {
        let (one, other) = (Side::BOTH[at].name(), Side::BOTH[1 - at].name());
        causes.push(Cause::new(
            format!("The {other} client made no peer-reflexive candidate of the {one} client's checks, or did not use it."),
            format!("The {one} NAT shows it a port that no candidate told of, and only that one works."),
            "RFC 8445 § 7.3.1.3 asks for it: a check from a new address makes a candidate, and is answered by one of its own.",
        ));
    }
    causes
}

fn were(count: u64) -> String {
    format!("{} {}", packets(count), if count == 1 { "was" } else { "were" })
}

/// Of so many packets one lost is too much for a client that does not repeat.
const LOSS_PERCENT: f64 = 2.0;

/// A line that loses much.
pub(super) fn lines(facts: Facts<'_>) -> Vec<Cause> {
    let of = |side: Side| {
        let (lost, all) = facts.lost(side).filter(|(lost, _)| *lost > 0)?;
        let percent = lost as f64 * 100.0 / all as f64;
        (percent >= LOSS_PERCENT).then(|| {
            Cause::new(
                format!("The {} line lost {percent:.0} % of its packets.", side.name()),
                format!("It lost {} of {all}.", packets(lost)),
                "Losses change the time and not the verdict, if checks and requests are repeated (RFC 8489 § 6.2.1): see whether \
                 the program repeats them, or try it without `--loss` and `--rate`.",
            )
        })
    };
    Side::BOTH.into_iter().filter_map(of).collect()
}

/// Datagrams that came in parts, or hosts that have used up their ports.
pub(super) fn too_long(facts: Facts<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (side, way) in Side::BOTH.into_iter().flat_map(|side| [(side, Way::Out), (side, Way::In)]) {
        let name = side.name();
        let parts = facts.refused(side, way, Refused::Fragment);
        if parts > 0 {
            causes.push(Cause::new(
                format!("Datagrams were too long for the way: the {name} NAT stopped parts of them."),
                format!("{} could not be told apart at the {name} gate.", packets(parts)),
                "Keep datagrams below 1,200 bytes, or find the MTU of the path (RFC 8489 § 6.1).",
            ));
        }
        let no_port = facts.refused(side, way, Refused::NoPort);
        if no_port > 0 {
            causes.push(Cause::new(
                format!("The {name} NAT had no port left."),
                format!("{} found none: carriers give each host a share (RFC 6888).", packets(no_port)),
                format!("Have the {name} program use fewer sockets, and each for more than one peer."),
            ));
        }
    }
    causes
}

/// An agent gave up, and said why.
pub(super) fn gave_up(facts: Facts<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for side in Side::BOTH {
        let name = side.name();
        for event in facts.events(side, What::Failed) {
            let at = event.at.as_secs_f64();
            let (what, next) = match event.detail.as_str() {
                "no candidates" => ("found no candidate of its own", "See why each server gave none."),
                "no pair works" => (
                    "checked every pair, and none works",
                    "Compare the candidates of both sides with what the gates stopped.",
                ),
                "timeout" => (
                    "had not connected within its time",
                    "See whether the other side's description ever came.",
                ),
                "consent lost" => (
                    "had a connection, and its checks were answered no more (RFC 7675 § 5.1)",
                    "See what ended there at that time: a mapping, an allocation, or the other program.",
                ),
                "relay lost" => (
                    "had a connection, and lost the relay that it went by",
                    "See how the server answered its Refresh.",
                ),
                _ => ("gave up", "Read what it printed."),
            };
            causes.push(Cause::new(
                format!("The {name} client {what}."),
                format!("It said so {at:.1} s into the call: {}.", event.detail),
                next,
            ));
        }
    }
    causes
}

/// There was a pair, and no data by it.
pub(super) fn no_media(facts: Facts<'_>) -> Vec<Cause> {
    let mute: Vec<_> = Side::BOTH.into_iter().filter(|side| is_deaf(facts, *side)).collect();
    let cause = |side: Side| {
        let (name, other) = (side.name(), side.other().name());
        Cause::new(
            format!("The pair was nominated, and no data of the {other} client comes to the {name} one."),
            format!("Checks were answered; of data the {name} side got none, or none at the end."),
            format!(
                "See whether the {other} program sends by the pair that was nominated, and whether a permission or a channel ran \
                 out (RFC 8656 §§ 9, 12)."
            ),
        )
    };
    mute.into_iter().map(cause).collect()
}

fn is_deaf(facts: Facts<'_>, side: Side) -> bool {
    let note = format!("media of the {} side does not arrive", side.other().name());
    let has_note = facts.run.notes.iter().any(|told| told.contains(&note));
    let is_connected = facts.has_event(side, What::Connected);
    facts.run.verdict == Verdict::Failed && (has_note || is_connected && !facts.has_event(side, What::Media))
}

/// The call is there, by another road than it has to be.
pub(super) fn other_road(facts: Facts<'_>) -> Vec<Cause> {
    let Some(expected) = facts.run.expected else { return Vec::new() };
    let cause = match (expected, facts.run.verdict) {
        (Verdict::Relayed(_), Verdict::Direct) => Cause::new(
            "The two met directly where no direct pair can work.",
            "Either something leads around the laboratory, or its NATs are not what the report says.",
            "Report it with the capture: the model of the NATs is at fault, or the verdict is.",
        ),
        (Verdict::Relayed(wanted), Verdict::Relayed(used)) if used > wanted => Cause::new(
            format!("A less direct relay was used: {} in place of {}.", used.word(), wanted.word()),
            less_direct(facts, wanted),
            "Prefer relayed candidates over UDP to those over TCP, TLS and a proxy, in this order (RFC 8445 § 5.1.2.1 leaves it \
             to the agent), and give up none of them before it had time to answer.",
        ),
        (Verdict::Relayed(wanted), Verdict::Relayed(used)) if used < wanted => Cause::new(
            format!("A relay over {} was used, which this place should not let out.", used.word()),
            format!("Expected was {}.", wanted.word()),
            "Report it with the capture: the firewall of the place is at fault, or the verdict is.",
        ),
        (Verdict::Direct, Verdict::Relayed(_)) => Cause::new(
            "The client stayed with the relay although a direct pair works.",
            "A relayed pair has the lowest priority (RFC 8445 § 5.1.2.1), so a better one has to replace it as soon as it works.",
            "See whether it nominates the first pair that works and never changes, or was set to relays alone.",
        ),
        _ => return Vec::new(),
    };
    vec![cause]
}

fn less_direct(facts: Facts<'_>, wanted: Relay) -> String {
    let told = Side::BOTH.map(|side| {
        let (out, inward) = facts.road(side, Road::Server(wanted));
        format!("the {} side sent {} by {} and got {inward}", side.name(), packets(out), wanted.word())
    });
    if facts.has_roads() {
        format!("Of the better one {}.", told.join(", "))
    } else {
        "Nobody counted the other one.".to_owned()
    }
}
