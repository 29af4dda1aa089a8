//! Why a call did not end as it had to: what the report speaks for, the most likely first, and what to look at next.

mod paths;
mod programs;
mod server;

use crate::testbed::Verdict;

use super::facts::Facts;

/// Why a call may have ended as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What went wrong, in a sentence.
    pub what: String,
    /// What speaks for it.
    pub because: String,
    /// What to look at, or to change, next.
    pub next: String,
}

impl Cause {
    fn new(what: impl Into<String>, because: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), because: because.into(), next: next.into() }
    }
}

/// More would hide the likely ones.
const CAUSES_MAX: usize = 6;

/// A sort of cause: what of the report speaks for it.
type Sort = fn(Facts<'_>) -> Vec<Cause>;

/// Every sort, the most likely first: what ends a call early explains what is missing later.
const SORTS: [Sort; 18] = [
    server::faults,
    programs::laboratory,
    programs::crashed,
    programs::silent,
    paths::walls,
    server::authentication,
    server::refusals,
    server::no_relay,
    server::no_permission,
    paths::unchecked,
    paths::filtered,
    paths::lines,
    paths::too_long,
    paths::gave_up,
    paths::no_media,
    paths::other_road,
    programs::gave_in,
    programs::ended_late,
];

/// The likely causes; none where nothing has to be mended.
pub(super) fn causes(facts: Facts<'_>) -> Vec<Cause> {
    if facts.is_fine() {
        return Vec::new();
    }
    let mut causes: Vec<_> = SORTS.iter().flat_map(|sort| sort(facts)).collect();
    causes.truncate(CAUSES_MAX);
    if causes.is_empty() {
        causes.push(nothing_speaks(facts));
    }
    causes
}

fn nothing_speaks(facts: Facts<'_>) -> Cause {
    let what = match facts.run.verdict {
        Verdict::Failed => "The call failed, and the report does not say of what.",
        _ => "The call went another way than it has to, and the report does not say why.",
    };
    let because = if facts.has_roads() {
        "Nothing that was counted stands out."
    } else {
        "The report has neither packets nor events: a version before this one wrote it, or it was cut."
    };
    Cause::new(
        what,
        because,
        "Make the call again with `--record DIR`, and read the capture and what the programs printed.",
    )
}
