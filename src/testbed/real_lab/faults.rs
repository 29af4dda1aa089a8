//! How each side bore what the server did wrong: for programs as a part of the outcome, and for people.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::testbed::edge::Judgement;
use crate::testbed::edge::Kind;
use crate::testbed::edge::Note;
use crate::testbed::report::What;
use crate::testbed::serve::Account;

use super::addresses::Side;
use super::plan::Script;

/// Why nothing is known of a side.
const NOBODY: &str = "no client showed the user name of this side with the right password";
const NOT_BEFALLEN: &str = "nothing befell it: it never did what sets the fault off, or ended before";
const NOT_EXPECTED: &str = "the scenario expects nothing";

/// Something that befell a side, and when.
pub(super) type Told = (Duration, Side, What, String);

/// What befell each side. Its answers are not among it: the routers see them.
pub(super) fn happened(script: &Script, accounts: &[Account], origin: Instant, start: Instant) -> Vec<Told> {
    let before = start.saturating_duration_since(origin);
    let of = |side: Side| {
        let user = script.user(side);
        accounts.iter().filter(move |account| account.name == user).flat_map(move |account| {
            account.record.iter().filter_map(move |note| {
                let at = Duration::from_millis(note.at.as_millis()).saturating_sub(before);
                Some((at, side, what(note.kind)?, note.words.clone()))
            })
        })
    };
    Side::BOTH.into_iter().flat_map(of).collect()
}

const fn what(kind: Kind) -> Option<What> {
    match kind {
        Kind::Request | Kind::Answer => None,
        Kind::Allocation => Some(What::Allocation),
        Kind::Fault => Some(What::Fault),
        Kind::Judged => Some(What::Judged),
    }
}

/// An entry for each side. The ticks of notes are counted from `origin`, the times of the run from `start`.
pub(super) fn told(script: &Script, accounts: &[Account], origin: Instant, start: Instant) -> Value {
    let at = |note: &Note| {
        let since_origin = note.at.as_millis() as f64;
        since_origin - start.saturating_duration_since(origin).as_secs_f64() * 1e3
    };
    let sides = Side::BOTH.map(|side| {
        let user = script.user(side);
        let Some(account) = accounts.iter().find(|account| account.name == user) else {
            return json!({
                "side": side.name(), "user": user, "scenario": script.name, "passed": false, "befallen": [],
                "why": NOBODY, "events": [],
            });
        };
        let of_kind = |kind: Kind| account.record.iter().filter(move |note| note.kind == kind);
        let befallen: Vec<_> = of_kind(Kind::Fault).map(|note| note.words.as_str()).collect();
        let (passed, why) = verdict(account);
        json!({
            "side": side.name(),
            "user": user,
            "scenario": script.name,
            "expected": account.expected,
            "passed": passed,
            "befallen": befallen,
            "why": why,
            "live": account.live,
            "further": account.further,
            "early": of_kind(Kind::Judged).count() > 1,
            "events": account.record.iter().map(|note| json!({
                "at_ms": at(note), "kind": note.kind.word(), "words": note.words,
            })).collect::<Vec<_>>(),
        })
    });
    json!(sides)
}

/// Whether a client passed, and why not. Where nothing is expected nobody can fail.
fn verdict(account: &Account) -> (Option<bool>, &str) {
    match &account.judgement {
        Judgement::Kept => (Some(true), ""),
        Judgement::Broken(why) => (Some(false), why),
        Judgement::Waiting => (Some(false), "its time was not over"),
        Judgement::Nothing if account.expects => (Some(false), NOT_BEFALLEN),
        Judgement::Nothing => (None, NOT_EXPECTED),
    }
}

fn entries(json: &Value) -> &[Value] {
    json["faults"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether no side failed.
pub(super) fn are_borne(json: &Value) -> bool {
    entries(json).iter().all(|side| side["passed"] != false)
}

/// For people: a line for each side, and what it is that has failed, if anything has.
pub(super) fn summary(json: &Value, has_connected: bool) -> String {
    let mut text = String::new();
    for entry in entries(json) {
        let word = |name: &str| entry[name].as_str().unwrap_or_default();
        let verdict = match entry["passed"].as_bool() {
            Some(true) => "passed",
            Some(false) => "failed",
            None => "not judged",
        };
        text += &format!("  {:<5} fault   {}: {verdict}", word("side"), word("scenario"));
        if !word("why").is_empty() {
            text += &format!(": {}", word("why"));
        }
        if entry["early"] == true {
            text += " (its program ended before the deadline)";
        }
        text.push('\n');
        let befallen = entry["befallen"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(first) = befallen.first().and_then(Value::as_str) {
            let more = befallen.len() - 1;
            let more = if more == 0 { String::new() } else { format!(", and {more} more") };
            text += &format!("        befallen: {first}{more}; further requests: {}\n", entry["further"]);
        }
        if entry["passed"] == false && !word("expected").is_empty() {
            text += &format!("        expected: {}\n", word("expected"));
        }
    }
    if !text.is_empty() {
        let failed = entries(json).iter().filter(|entry| entry["passed"] == false);
        let failed: Vec<_> = failed.filter_map(|entry| entry["side"].as_str()).collect();
        let call = if has_connected { "the call is good" } else { "the call failed" };
        text += &match failed.is_empty() {
            true => format!("  {call}; the faults were borne\n"),
            false => format!("  {call}; the faults were not borne: {}\n", failed.join(", ")),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::types::Tick;

    fn account(side: &str, judgement: Judgement, kinds: &[Kind]) -> Account {
        let note = |kind: &Kind| Note {
            at: Tick::from(Duration::from_millis(1_500)),
            client: None,
            from: None,
            kind: *kind,
            words: format!("{} happened", kind.word()),
        };
        Account {
            name: format!("quota.{side}"),
            scenario: "quota".to_owned(),
            expected: "waits".to_owned(),
            expects: true,
            live: true,
            further: 2,
            judgement,
            record: kinds.iter().map(note).collect(),
        }
    }

    fn json(accounts: &[Account]) -> Value {
        let script = Script { name: "quota".into(), ..Script::default() };
        let origin = Instant::now();
        json!({ "faults": told(&script, accounts, origin, origin + Duration::from_millis(500)) })
    }

    #[test]
    fn each_side_has_its_verdict_and_its_record() {
        let why = "sent 2 further allocate requests, at most 0 expected";
        let json = json(&[
            account("right", Judgement::Broken(why.to_owned()), &[Kind::Request, Kind::Fault]),
            account("left", Judgement::Kept, &[Kind::Fault, Kind::Fault, Kind::Judged, Kind::Judged]),
        ]);
        let [left, right] = entries(&json) else { panic!("{json}") };
        assert_eq!(
            (&left["side"], &left["passed"], &left["early"]),
            (&json!("left"), &json!(true), &json!(true))
        );
        assert_eq!(right["passed"], false);
        assert_eq!((&right["why"], &right["further"]), (&json!(why), &json!(2)));
        assert_eq!(right["befallen"], json!(["fault happened"]));
        let request = json!({ "at_ms": 1000.0, "kind": "request", "words": "request happened" });
        assert_eq!(right["events"][0], request);
        assert!(!are_borne(&json));
        let text = summary(&json, true);
        assert!(text.contains("right fault   quota: failed: sent 2 further"), "{text}");
        assert!(text.contains("fault happened, and 1 more"), "{text}");
        assert!(text.ends_with("the call is good; the faults were not borne: right\n"), "{text}");
    }

    #[test]
    fn who_was_spared_or_never_came_has_not_passed() {
        let spared = json(&[account("left", Judgement::Nothing, &[Kind::Request])]);
        let [left, right] = entries(&spared) else { panic!("{spared}") };
        assert_eq!((&left["why"], &left["passed"]), (&json!(NOT_BEFALLEN), &json!(false)));
        assert_eq!((&right["why"], &right["passed"]), (&json!(NOBODY), &json!(false)));
        assert!(
            summary(&spared, false).ends_with("the call failed; the faults were not borne: left, right\n")
        );
        let kept = json(&["left", "right"].map(|side| account(side, Judgement::Kept, &[Kind::Fault])));
        assert!(are_borne(&kept) && summary(&kept, true).ends_with("the faults were borne\n"));
        // A scenario without [expect] fails nobody; a run without faults has nothing to tell.
        let free = ["left", "right"]
            .map(|side| Account { expects: false, ..account(side, Judgement::Nothing, &[Kind::Fault]) });
        let free = json(&free);
        assert!(are_borne(&free) && entries(&free)[0]["passed"].is_null());
        assert!(are_borne(&json!({})) && summary(&json!({}), true).is_empty());
    }
}
