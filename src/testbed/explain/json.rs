//! An explanation for programs. `docs/testbed.md` says what each name means; a name that stands there is not taken back.

use serde_json::Value;
use serde_json::json;

use crate::testbed::Verdict;

use super::Explanation;
use super::Many;

/// Names this form.
const FORM: &str = "swingbridge-explanation/1";

/// One explanation as one JSON object, with a newline at its end.
#[must_use]
pub fn json(one: &Explanation) -> String {
    let mut object = json!({ "form": FORM, "version": env!("CARGO_PKG_VERSION") });
    object["call"] = call(one);
    format!("{object:#}\n")
}

/// What a matrix comes to as one JSON object, with a newline at its end.
#[must_use]
pub fn json_of_many(many: &Many) -> String {
    let object = json!({
        "form": FORM,
        "version": env!("CARGO_PKG_VERSION"),
        "pairs": many.pairs,
        "calls": many.calls,
        "not_as_expected": many.wrong,
        "left_out": many.left_out,
        "explained": many.explained.iter().map(|(_, _, one)| call(one)).collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}

fn call(one: &Explanation) -> Value {
    json!({
        "left": one.places[0].name(),
        "right": one.places[1].name(),
        "seed": one.seed,
        "verdict": verdict(one.verdict),
        "expected": one.expected.map(verdict),
        "fine": one.is_fine,
        "summary": one.summary,
        "standing": one.standing,
        "possible": { "pair": one.theory.pair, "why": one.theory.why, "rules": one.theory.rules },
        "seen": one.seen,
        "timeline": one.timeline,
        "causes": one.causes.iter().map(|cause| json!({
            "what": cause.what,
            "because": cause.because,
            "next": cause.next,
        })).collect::<Vec<_>>(),
        "more": one.more,
    })
}

fn verdict(verdict: Verdict) -> Value {
    let (word, relay) = match verdict {
        Verdict::Direct => ("direct", None),
        Verdict::Relayed(relay) => ("relayed", Some(relay.word())),
        Verdict::Failed => ("failed", None),
    };
    json!({ "word": word, "relay": relay })
}
