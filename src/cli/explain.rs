//! What the path of packets is to be, from the configuration to the machine: the wish, the table of
//! `serve --explain-path`, and the descriptors that allocations take.

use std::fmt::Write as _;

use serde_json::json;

use crate::config::PathTier;
use crate::config::Settings;
use crate::net::probe;
use crate::proto::types::limits;
use crate::relay::Tier;
use crate::relay::Verdict;
use crate::relay::Wish;
use crate::relay::explain;

use super::Exit;
use super::args::ReportFormat;
use super::output;
use super::serve::refused;

/// Descriptors of the process beside those of allocations and clients' connections: listeners, rings, files.
const DESCRIPTORS_BESIDE: u64 = 64;
/// Of each worker: its poll, its wake, and what it shares among allocations.
const DESCRIPTORS_PER_WORKER: u64 = 16;

/// What the relay ports shall stand on.
pub(super) fn wish(settings: &Settings) -> Wish {
    Wish {
        tier: match settings.path {
            PathTier::Auto => None,
            PathTier::Sockets => Some(Tier::Sockets),
            PathTier::SkLookup => Some(Tier::SkLookup),
            PathTier::Tc => Some(Tier::Tc),
            PathTier::Xdp => Some(Tier::Xdp),
        },
        addresses: settings.relays.iter().map(|relay| relay.bind).collect(),
        ports: settings.ports.clone(),
        interfaces: settings.kernel_interfaces.clone(),
        drop_privileges: true,
    }
}

/// Tries every tier and prints what became of it.
pub(super) fn path(settings: &Settings, format: ReportFormat) -> Exit {
    let wish = wish(settings);
    let verdicts = explain(&wish, settings.workers);
    let text = match format {
        ReportFormat::Text => table(settings.path.word(), &verdicts),
        ReportFormat::Json => {
            let tiers: Vec<_> = verdicts.iter().map(as_json).collect();
            let chosen = verdicts.iter().find(|verdict| verdict.chosen).map(|verdict| verdict.tier.word());
            let all = json!({ "asked": settings.path.word(), "chosen": chosen, "tiers": tiers });
            format!("{all:#}\n")
        }
    };
    output::out(&text, Exit::Done)
}

fn as_json(verdict: &Verdict) -> serde_json::Value {
    let needs: Vec<_> = verdict.tier.needs().iter().map(|one| one.word()).collect();
    let mut tier = json!({ "path": verdict.tier.word(), "verdict": word(verdict), "needs": needs });
    if let Some(refusal) = &verdict.refusal {
        tier["reason"] = refusal.reason.as_str().into();
        tier["cure"] = refusal.cure.as_str().into();
    }
    tier
}

fn word(verdict: &Verdict) -> &'static str {
    match (&verdict.refusal, verdict.chosen) {
        (Some(_), _) => "refused",
        (None, true) => "chosen",
        (None, false) => "possible",
    }
}

fn table(asked: &str, verdicts: &[Verdict]) -> String {
    let mut out = match verdicts.iter().find(|verdict| verdict.chosen) {
        Some(verdict) => format!("[relay] path = \"{asked}\": packets travel by {}\n\n", verdict.tier.word()),
        None => format!("[relay] path = \"{asked}\" cannot be had: `serve` would refuse to start\n\n"),
    };
    for verdict in verdicts {
        let (tier, word) = (verdict.tier, word(verdict));
        let told = match &verdict.refusal {
            Some(refusal) => &refusal.reason,
            None => tier.meaning(),
        };
        let _ = writeln!(out, "  {:<10} {word:<9} {told}", tier.word());
        if let Some(refusal) = &verdict.refusal {
            let _ = writeln!(out, "  {:<20} = help: {}", "", refusal.cure);
        }
    }
    out
}

/// Raises the number of descriptors to what the system lets it be. If that is fewer than the operator's own limits need,
/// nothing is started; if it is fewer than the ports would let there be, that is said.
pub(super) fn descriptors(settings: &Settings, warnings: &mut Vec<String>) -> Result<(), Exit> {
    let Ok(limit) = probe::raise_descriptor_limit() else { return Ok(()) };
    let ports = settings.ports.len() as u64 * settings.relays.len() as u64;
    let beside = DESCRIPTORS_BESIDE
        + u64::from(settings.workers) * (DESCRIPTORS_PER_WORKER + settings.listen_udp.len() as u64);
    match judge(limit, beside, settings.allocations_total.into(), ports) {
        Room::Enough => Ok(()),
        Room::Fewer { allocations } => {
            warnings.push(format!(
                "descriptors are enough for {allocations} allocations, and there are {ports} relay ports: \
                 LimitNOFILE={} in the unit, or `ulimit -n`, lets there be as many",
                beside + ports
            ));
            Ok(())
        }
        Room::TooFew { needed } => Err(refused(&format!(
            "`[limits] allocations_total` = {} needs {needed} descriptors, and this process may have {limit}\n  \
             = help: LimitNOFILE={needed} in the unit, or `ulimit -Hn {needed}`, or fewer allocations",
            settings.allocations_total
        ))),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Room {
    Enough,
    /// Enough to begin with, but not for every port.
    Fewer {
        allocations: u64,
    },
    /// Not enough for what the operator asked for.
    TooFew {
        needed: u64,
    },
}

/// `asked` allocations, or with 0 as many as there are `ports`, of which each takes a descriptor.
fn judge(limit: u64, beside: u64, asked: u64, ports: u64) -> Room {
    let allocations = limit.saturating_sub(beside);
    let most = ports.min(limits::ALLOCATIONS_MAX.into());
    match asked {
        0 if allocations < most => Room::Fewer { allocations },
        0 => Room::Enough,
        _ if allocations < asked.min(most) => Room::TooFew { needed: beside + asked.min(most) },
        _ => Room::Enough,
    }
}

#[cfg(test)]
mod tests {
    use crate::relay::Refusal;

    use super::*;

    fn verdicts() -> Vec<Verdict> {
        let refusal = |tier| Refusal { tier, reason: "it rains".to_owned(), cure: "wait".to_owned() };
        vec![
            Verdict { tier: Tier::Tc, refusal: Some(refusal(Tier::Tc)), chosen: false },
            Verdict { tier: Tier::SkLookup, refusal: None, chosen: true },
            Verdict { tier: Tier::Sockets, refusal: None, chosen: false },
        ]
    }

    #[test]
    fn the_table_tells_of_each_tier_what_became_of_it_and_the_cure() {
        let table = table("auto", &verdicts());
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[0], "[relay] path = \"auto\": packets travel by sk_lookup");
        assert_eq!(lines[2], "  tc         refused   it rains");
        assert_eq!(lines[3], "                       = help: wait");
        assert!(lines[4].starts_with("  sk_lookup  chosen    "));
        assert!(lines[5].starts_with("  sockets    possible  "));
    }

    #[test]
    fn a_path_that_was_named_and_cannot_be_had_is_said_to_be_none() {
        let mut verdicts = verdicts();
        verdicts[1].chosen = false;
        assert!(table("tc", &verdicts).starts_with("[relay] path = \"tc\" cannot be had"));
    }

    #[test]
    fn programs_are_told_the_same() {
        let told = as_json(&verdicts()[0]);
        assert_eq!(
            told,
            json!({ "path": "tc", "verdict": "refused", "needs": ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"],
                    "reason": "it rains", "cure": "wait" })
        );
        assert_eq!(as_json(&verdicts()[1])["verdict"], "chosen");
    }

    #[test]
    fn descriptors_are_refused_where_the_operator_named_more_and_missed_aloud_where_nobody_did() {
        assert_eq!(judge(20_000, 100, 0, 10_000), Room::Enough);
        assert_eq!(judge(1_024, 100, 0, 10_000), Room::Fewer { allocations: 924 });
        assert_eq!(judge(1_024, 100, 900, 10_000), Room::Enough);
        assert_eq!(judge(1_024, 100, 1_000, 10_000), Room::TooFew { needed: 1_100 });
        // No more than there are ports.
        assert_eq!(judge(1_024, 100, 100_000, 500), Room::Enough);
        assert_eq!(judge(50, 100, 1, 500), Room::TooFew { needed: 101 });
    }
}
