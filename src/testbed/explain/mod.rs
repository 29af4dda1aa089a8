//! Why a call did or did not connect, in plain words: from the report of a run or a matrix, and nothing else.
//!
//! ```text
//!   --json ── read ──► Run ──► standing   where each side is, by the behaviour of its NATs
//!                          ──► theory     which pair can work, by the derivation that gives the expected verdict
//!                          ──► seen       what was counted and what happened
//!                          ──► causes     what went wrong, the most likely first, and what to look at next
//!                                └──► text, json
//! ```
//!
//! All of it is a function of a report. What a report does not say is not known, and nothing is made of it.

mod causes;
mod facts;
mod field;
mod json;
mod many;
mod read;
mod seen;
mod standing;
#[cfg(test)]
mod tests;
mod text;
mod theory;

use crate::testbed::Place;
use crate::testbed::Verdict;
use crate::testbed::report::Run;

pub use causes::Cause;
pub use field::Problem;
pub use json::json;
pub use json::json_of_many;
pub use many::Many;
pub use many::choose;
pub use many::explain_many;
pub use read::Report;
pub use read::flight_of;
pub use read::read;
pub use standing::standing;
pub use text::text;
pub use text::text_of_many;
pub use theory::Theory;
pub use theory::theory;

use facts::Facts;

/// Why one call ended as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Where the clients stand: left, right.
    pub places: [Place; 2],
    /// What chance was drawn from.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// How it has to end, if something says so.
    pub expected: Option<Verdict>,
    /// Whether nothing has to be mended.
    pub is_fine: bool,
    /// The whole in one sentence.
    pub summary: String,
    /// What stands before each client.
    pub standing: [String; 2],
    /// What the standards say.
    pub theory: Theory,
    /// What was seen.
    pub seen: Vec<String>,
    /// When what happened.
    pub timeline: Vec<String>,
    /// Why it did not end as it has to, the most likely first; none where it did.
    pub causes: Vec<Cause>,
    /// Files and commands that tell more.
    pub more: Vec<String>,
}

/// Explains one call.
#[must_use]
pub fn explain(run: &Run) -> Explanation {
    let facts = Facts { run };
    let causes = causes::causes(facts);
    let places = [run.left, run.right];
    Explanation {
        places,
        seed: run.seed,
        verdict: run.verdict,
        expected: run.expected,
        is_fine: facts.is_fine(),
        summary: summary(facts, &causes),
        standing: places.map(standing),
        theory: theory(places),
        seen: seen::seen(facts),
        timeline: seen::timeline(facts),
        causes,
        more: Vec::new(),
    }
}

/// The whole in one sentence.
fn summary(facts: Facts<'_>, causes: &[Cause]) -> String {
    let how = match facts.run.verdict {
        Verdict::Direct => "It connected directly",
        Verdict::Relayed(_) => "It connected by a relay",
        Verdict::Failed => "It did not connect",
    };
    let how = match facts.run.verdict {
        Verdict::Relayed(relay) => format!("{how} over {}", theory::over(relay)),
        _ => how.to_owned(),
    };
    let Some(first) = causes.first() else {
        return match facts.run.verdict {
            Verdict::Direct => {
                format!("{how}, as it has to: a direct pair can work between these places, and did.")
            }
            _ => format!("{how}, as it has to: no direct pair can work between these places."),
        };
    };
    let but = match facts.run.expected {
        Some(expected) if expected != facts.run.verdict => format!(", and has to be {expected}"),
        _ if facts.run.verdict == Verdict::Failed => String::new(),
        _ => ", as it has to, and yet not all is well".to_owned(),
    };
    format!("{how}{but}. Most likely: {}", lower_first(&first.what))
}

/// A sentence as the rest of another.
fn lower_first(text: &str) -> String {
    // Names and abbreviations keep their letters.
    let is_word = ["The ", "No ", "A ", "Nothing ", "Neither ", "Datagrams ", "Authentication "];
    if is_word.iter().any(|word| text.starts_with(word)) {
        let mut chars = text.chars();
        return chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect());
    }
    text.to_owned()
}
