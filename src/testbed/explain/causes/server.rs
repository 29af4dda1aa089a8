//! Causes that lie between a client and its server.

use crate::testbed::Verdict;
use crate::testbed::real_lab::Side;
use crate::testbed::report::Befallen;
use crate::testbed::report::What;

use super::super::facts::Facts;
use super::super::facts::some;
use super::super::theory::over;
use super::Cause;

/// The server misbehaved on purpose.
pub(super) fn faults(facts: Facts<'_>) -> Vec<Cause> {
    let is_odd = !facts.run.is_as_expected() || facts.run.verdict == Verdict::Failed;
    let faults = facts.run.flight.faults.iter();
    let mut causes: Vec<_> = faults.clone().filter(|fault| fault.passed == Some(false)).map(broken).collect();
    let others =
        faults.filter(|fault| is_odd && fault.passed != Some(false) && fault.befallen != Some(false));
    causes.extend(others.map(|fault| {
        Cause::new(
            format!(
                "The server misbehaved on purpose to {}, by the scenario `{}`.",
                whom(fault),
                fault.scenario
            ),
            told(fault),
            "The verdict of a pair of places is that of a server that behaves: judge this call by the scenario, or leave it out.",
        )
    }));
    causes
}

fn broken(fault: &Befallen) -> Cause {
    let why = if fault.why.is_empty() { "it did not do what the scenario expects" } else { &fault.why };
    let what = format!("{} failed the scenario `{}`: {why}.", capital(&whom(fault)), fault.scenario);
    let next = format!(
        "docs/testbed.md has the row `{}`: what a client has to do then, by when, and which section says so.",
        fault.scenario
    );
    if fault.befallen == Some(false) {
        return Cause::new(
            what,
            "Nothing ever befell it: the call was over before, or it never asked for what the fault is about.",
            format!("Have the call last longer, or have it do what sets the fault off. {next}"),
        );
    }
    Cause::new(what, told(fault), next)
}

fn whom(fault: &Befallen) -> String {
    fault.side.map_or_else(|| "a client".to_owned(), |side| format!("the {} client", side.name()))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn told(fault: &Befallen) -> String {
    match fault.events.as_slice() {
        [] => "The report says so.".to_owned(),
        [first] => format!("The server noted: {first}."),
        [first, .., last] => format!("The server noted first: {first}; and last: {last}."),
    }
}

/// The server does not believe who the client is.
pub(super) fn authentication(facts: Facts<'_>) -> Vec<Cause> {
    let of = |side: Side| {
        let name = side.name();
        let refused = facts.answered(side, "allocate", "401");
        if refused < 2 || facts.answered(side, "allocate", "granted") > 0 {
            return None;
        }
        Some(Cause::new(
            format!(
                "Authentication failed at the {name}: the server answered 401 {}.",
                some(refused, "time")
            ),
            "The first 401 is right, as the first request carries no integrity (RFC 8489 § 9.2.3); a second one means that the \
             name, the password or the realm is wrong.",
            format!(
                "Have the {name} program take SWINGBRIDGE_USERNAME and SWINGBRIDGE_PASSWORD, and make its key with the realm that \
                 the server tells."
            ),
        ))
    };
    Side::BOTH.into_iter().filter_map(of).collect()
}

/// What an error of Allocate means, and what to do about it.
const CODES: [(&str, &str, &str); 8] = [
    (
        "400",
        "it does not understand the request",
        "Look at the request in the capture: an attribute is missing, or out of place.",
    ),
    ("403", "it does not allow that", "See what the server's configuration denies."),
    (
        "420",
        "it does not know an attribute that it must understand",
        "The answer's UNKNOWN-ATTRIBUTES names it.",
    ),
    (
        "437",
        "this five-tuple has an allocation already",
        "Take another port for each allocation, or give the old one back.",
    ),
    (
        "438",
        "the nonce has run out",
        "Have the program ask again with the nonce of the 438 (RFC 8489 § 9.2.5).",
    ),
    (
        "441",
        "the allocation is of another user",
        "Use one user name for all requests of an allocation (RFC 8656 § 7.4).",
    ),
    (
        "486",
        "this user has as many allocations as allowed",
        "Allocate less, or wait for a minute (RFC 8656 § 7.4).",
    ),
    ("508", "the server has no room", "Wait for a minute, or use another server (RFC 8656 § 7.4)."),
];

/// The server refused to allocate, for another reason.
pub(super) fn refusals(facts: Facts<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for side in Side::BOTH {
        if facts.answered(side, "allocate", "granted") > 0 {
            continue;
        }
        for (code, means, next) in CODES {
            let times = facts.answered(side, "allocate", code);
            if times > 0 {
                causes.push(Cause::new(
                    format!("The server gave the {} client no relay: {means}.", side.name()),
                    format!("It answered Allocate with {code} {}.", some(times, "time")),
                    next,
                ));
            }
        }
    }
    causes
}

/// A side that only a relay can help has none.
pub(super) fn no_relay(facts: Facts<'_>) -> Vec<Cause> {
    if facts.run.verdict != Verdict::Failed {
        return Vec::new();
    }
    let of = |side: Side| {
        let way = facts.needs(side)?;
        if facts.has_relay(side) != Some(false) {
            return None;
        }
        let failures: Vec<_> =
            facts.events(side, What::NotGathered).map(|event| event.detail.as_str()).collect();
        let because = match failures.as_slice() {
            [] => "It has told all its candidates, and no relayed one is among them.".to_owned(),
            failures => format!("It got no answer that helps: {}.", failures.join("; ")),
        };
        Some(Cause::new(
            format!(
                "The {} client has no relayed candidate, and from its place nothing else works.",
                side.name()
            ),
            because,
            format!("Have it allocate over {}: that is what leaves its place.", over(way)),
        ))
    };
    Side::BOTH.into_iter().filter_map(of).collect()
}

/// The relay does not let the peer's data pass.
pub(super) fn no_permission(facts: Facts<'_>) -> Vec<Cause> {
    if facts.run.verdict != Verdict::Failed {
        return Vec::new();
    }
    let mut causes = Vec::new();
    for side in Side::BOTH {
        let name = side.name();
        let refused: Vec<_> =
            facts.events(side, What::NotPermitted).map(|event| event.detail.as_str()).collect();
        if !refused.is_empty() {
            causes.push(Cause::new(
                format!("The server does not let the {name} client reach a peer."),
                format!("It was asked for, and refused: {}.", refused.join("; ")),
                "Private and denied addresses are refused; one candidate that is refused is no harm if another is let through.",
            ));
        }
        let has_asked = ["createpermission", "create-permission", "channelbind", "channel-bind"]
            .iter()
            .any(|method| facts.answered(side, method, "") > 0);
        if facts.answered(side, "allocate", "granted") > 0 && !has_asked {
            causes.push(Cause::new(
                format!("The {name} client has a relay, and never asked for a permission."),
                "Without one the relay drops whatever the other side sends (RFC 8656 § 9).",
                format!(
                    "Have the {name} program permit the address of each remote candidate before it checks it."
                ),
            ));
        }
    }
    causes
}
