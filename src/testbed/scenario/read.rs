//! From the text of a file to a scenario.

use toml::de::DeTable;
use toml::de::DeValue;

use crate::proto::wire::ErrorCode;
use crate::testbed::Place;

use super::Do;
use super::Ends;
use super::Expect;
use super::Fault;
use super::Lab;
use super::Link;
use super::Moment;
use super::Problems;
use super::Scenario;
use super::Target;
use super::Times;
use super::Trigger;
use super::Way;
use super::When;
use super::table::Findings;
use super::table::Table;
use super::table::Word;
use super::table::number_of;
use super::value;

/// Occasions that can be counted.
const COUNT_MAX: u32 = 1_000_000;
/// Faults of one file.
const FAULTS_MAX: usize = 64;

/// What is done, by the word alone.
const WORDS: [(&str, Do); 9] = [
    ("drop", Do::Drop),
    ("corrupt", Do::Corrupt),
    ("stale-nonce", Do::StaleNonce),
    ("wrong-mac", Do::WrongMac),
    ("move-port", Do::MovePort),
    ("vanish", Do::Vanish),
    ("restart", Do::Restart),
    ("rebind", Do::Rebind),
    ("redirect", Do::Redirect(Target::Other)),
];

/// What is done, with a value.
const KEYS: [&str; 6] = ["delay", "error", "redirect", "realm", "lifetime", "mtu"];

/// Reads the scenario `name` of `text`, which stands in `file`.
pub(super) fn read(name: &str, file: &str, text: &str) -> Result<Scenario, Problems> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut findings = Findings::new(text);
    for error in &errors {
        let message = error.message().lines().next().unwrap_or("it is no TOML").to_owned();
        findings.add(&error.span().unwrap_or(0..0), message, "write it as TOML wants it (https://toml.io)");
    }
    let mut scenario = Scenario { name: name.into(), ..Scenario::default() };
    if errors.is_empty() {
        let mut root = Table::new(table.get_ref(), table.span(), "a scenario");
        fill(&mut scenario, &mut root, &mut findings);
        root.finish(&mut findings);
    }
    let all = findings.into_problems();
    if all.is_empty() { Ok(scenario) } else { Err(Problems { file: file.to_owned(), all }) }
}

fn fill(scenario: &mut Scenario, root: &mut Table<'_, '_>, findings: &mut Findings<'_>) {
    scenario.about = root.text("about", findings).map_or_else(Box::default, |word| word.text.into());
    if let Some(value) = root.get("fault") {
        match value.get_ref() {
            DeValue::Array(faults) if faults.len() <= FAULTS_MAX => {
                for each in faults {
                    match each.get_ref() {
                        DeValue::Table(table) => {
                            let table = Table::new(table, each.span(), "a fault");
                            scenario.faults.extend(fault(table, findings));
                        }
                        _ => findings.add(&each.span(), "a fault is a table", "write [[fault]]"),
                    }
                }
            }
            DeValue::Array(_) => {
                let instead = format!("write at most {FAULTS_MAX}");
                findings.add(&value.span(), "these are too many faults", instead);
            }
            _ => findings.add(&value.span(), "`fault` is one table", "write [[fault]], in two brackets"),
        }
    }
    scenario.expect = root.table("expect", "[expect]", findings).and_then(|table| expect(table, findings));
    if let Some(table) = root.table("lab", "[lab]", findings) {
        scenario.lab = lab(table, findings);
    }
}

fn fault(mut table: Table<'_, '_>, findings: &mut Findings<'_>) -> Option<Fault> {
    let span = table.span.clone();
    let when = match table.table("when", "`when`", findings) {
        Some(when_table) => when(when_table, findings),
        None => {
            if table.get("when").is_none() {
                let instead = "write when = { request = \"refresh\" }, say";
                findings.add(&span, "the fault does not say when", instead);
            }
            None
        }
    };
    let what = what(&mut table, findings);
    table.finish(findings);
    let (when, what) = (when?, what?);
    if !fits(&when.trigger, &what) {
        let (done, by) = (what.word(), occasion(&when.trigger));
        let instead = format!("set it off by {}", occasions_of(&what));
        findings.add(&span, format!("{done:?} cannot be done to {by}"), instead);
    }
    Some(Fault { when, what })
}

fn when(mut table: Table<'_, '_>, findings: &mut Findings<'_>) -> Option<When> {
    let trigger = match table.one_of(&["request", "answer", "media", "after"], findings) {
        Some("request") => table.parsed("request", findings, value::method_or_any).map(Trigger::Request),
        Some("answer") => table.parsed("answer", findings, value::method_or_any).map(Trigger::Answer),
        Some("media") => {
            let ways = [("to-peer", Way::ToPeer), ("to-client", Way::ToClient), ("both", Way::Both)];
            table.parsed("media", findings, |text| value::one_of(text, &ways)).map(Trigger::Media)
        }
        Some(_) => {
            let since = table.parsed("since", findings, |text| value::one_of(text, &MOMENTS));
            let span = table.parsed("after", findings, value::span);
            span.map(|span| Trigger::After { span, since: since.unwrap_or(Moment::Start) })
        }
        None => None,
    };
    let counts = !matches!(trigger, Some(Trigger::After { .. }));
    let nth = if counts { table.number("nth", 1..=COUNT_MAX, findings) } else { None };
    let times = if counts { times(&mut table, findings) } else { None };
    table.finish(findings);
    Some(When { trigger: trigger?, nth: nth.unwrap_or(1), times: times.unwrap_or(Times::Some(1)) })
}

const MOMENTS: [(&str, Moment); 5] = [
    ("start", Moment::Start),
    ("allocated", Moment::Allocated),
    ("refreshed", Moment::Refreshed),
    ("permitted", Moment::Permitted),
    ("media", Moment::Media),
];

fn times(table: &mut Table<'_, '_>, findings: &mut Findings<'_>) -> Option<Times> {
    let value = table.get("times")?;
    match value.get_ref() {
        DeValue::String(text) if text == "all" => Some(Times::All),
        other => match number_of(other).filter(|number| (1..=COUNT_MAX).contains(number)) {
            Some(number) => Some(Times::Some(number)),
            None => {
                let instead = format!("write a whole number from 1 to {COUNT_MAX}, or \"all\"");
                findings.add(&value.span(), "`times` is no such number", instead);
                None
            }
        },
    }
}

fn what(table: &mut Table<'_, '_>, findings: &mut Findings<'_>) -> Option<Do> {
    let Some(value) = table.get("do") else {
        findings.add(&table.span, "the fault does not say what it does", "write do = \"drop\", say");
        return None;
    };
    match value.get_ref() {
        DeValue::String(text) => match WORDS.iter().find(|(word, _)| word == text) {
            Some((_, what)) => Some(what.clone()),
            None => {
                let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
                let instead = format!("write one of {}, or {{ {} = … }}", words.join(", "), KEYS.join(", "));
                findings.add(&value.span(), Word { text, span: value.span() }.is_not("do"), instead);
                None
            }
        },
        DeValue::Table(inner) => {
            let mut inner = Table::new(inner, value.span(), "`do`");
            let done = what_with_value(&mut inner, findings);
            inner.finish(findings);
            done
        }
        _ => {
            findings.add(&value.span(), "`do` is neither a word nor a table", "write do = \"drop\", say");
            None
        }
    }
}

fn what_with_value(table: &mut Table<'_, '_>, findings: &mut Findings<'_>) -> Option<Do> {
    match table.one_of(&KEYS, findings)? {
        "delay" => table.parsed("delay", findings, value::span).map(Do::Delay),
        "error" => {
            let number = table.number("error", 300..=699, findings)?;
            let code = u16::try_from(number).ok().and_then(ErrorCode::from_number);
            if code.is_none() {
                let known: Vec<String> =
                    ErrorCode::ALL.iter().map(|code| code.number().to_string()).collect();
                let span = table.span.clone();
                findings.add(
                    &span,
                    format!("no TURN server says {number}"),
                    format!("there are {}", known.join(", ")),
                );
            }
            code.map(Do::Error)
        }
        "redirect" => table.parsed("redirect", findings, target).map(Do::Redirect),
        "realm" => table.parsed("realm", findings, realm).map(Do::Realm),
        "lifetime" => table.parsed("lifetime", findings, value::span).map(Do::Lifetime),
        _ => {
            let mtu = table.number("mtu", 100..=65_535, findings)?;
            u16::try_from(mtu).ok().map(Do::Mtu)
        }
    }
}

fn target(text: &str) -> Result<Target, String> {
    match text {
        "same" => Ok(Target::Same),
        "other" => Ok(Target::Other),
        "next" => Ok(Target::Next),
        _ => text.parse().map(Target::Address).map_err(|_| {
            "write \"same\", \"other\", \"next\", or an IP address and a port: \"192.0.2.9:3478\"".to_owned()
        }),
    }
}

fn realm(text: &str) -> Result<Box<str>, String> {
    if text.is_empty() || text.len() > 127 || !text.is_ascii() {
        return Err("write 1 to 127 characters of ASCII".to_owned());
    }
    Ok(text.into())
}

/// Whether the fault can befall that.
const fn fits(trigger: &Trigger, what: &Do) -> bool {
    match what {
        Do::Drop | Do::Delay(_) => !matches!(trigger, Trigger::After { .. }),
        Do::Corrupt => matches!(trigger, Trigger::Answer(_) | Trigger::Media(_)),
        Do::Error(_) | Do::StaleNonce | Do::Redirect(_) | Do::Realm(_) => {
            matches!(trigger, Trigger::Request(_))
        }
        Do::WrongMac | Do::Lifetime(_) => matches!(trigger, Trigger::Answer(_)),
        Do::MovePort | Do::Vanish | Do::Restart | Do::Rebind | Do::Mtu(_) => true,
    }
}

const fn occasion(trigger: &Trigger) -> &'static str {
    match trigger {
        Trigger::Request(_) => "a request",
        Trigger::Answer(_) => "an answer",
        Trigger::Media(_) => "data",
        Trigger::After { .. } => "nothing but time",
    }
}

const fn occasions_of(what: &Do) -> &'static str {
    match what {
        Do::Corrupt => "`answer` or `media`",
        Do::Error(_) | Do::StaleNonce | Do::Redirect(_) | Do::Realm(_) => "`request`",
        Do::WrongMac | Do::Lifetime(_) => "`answer`",
        _ => "`request`, `answer` or `media`",
    }
}

fn expect(mut table: Table<'_, '_>, findings: &mut Findings<'_>) -> Option<Expect> {
    let span = table.span.clone();
    let mut words =
        |key| table.text(key, findings).map_or_else(Box::default, |word: Word<'_>| word.text.into());
    let (client, rule) = (words("client"), words("rule"));
    let within = table.parsed("within", findings, value::span);
    if within.is_none() && table.get("within").is_none() {
        findings.add(&span, "[expect] does not say by when", "write within = \"10s\", say");
    }
    let granted = table.parsed("granted", findings, value::method);
    let at_most = table.number("at_most", 0..=COUNT_MAX, findings);
    let ends = [("live", Ends::Live), ("gone", Ends::Gone)];
    let ends = table.parsed("ends", findings, |text| value::one_of(text, &ends));
    table.finish(findings);
    Some(Expect { client, rule, within: within?, granted, at_most, ends })
}

fn lab(mut table: Table<'_, '_>, findings: &mut Findings<'_>) -> Lab {
    let mut place = |key, findings: &mut Findings<'_>| {
        table.parsed(key, findings, |text| {
            text.parse::<Place>().map_err(|_| {
                let names: Vec<String> =
                    Place::ALL.iter().map(|place| format!("{:?}", place.name())).collect();
                format!("write one of {}", names.join(", "))
            })
        })
    };
    let (left, right) = (place("left", findings), place("right", findings));
    let mut side = |key, name| table.table(key, name, findings).map(|table| link(table, findings));
    let both = side("link", "[lab.link]").unwrap_or_default();
    let left_link = side("left_link", "[lab.left_link]").unwrap_or(both);
    let right_link = side("right_link", "[lab.right_link]").unwrap_or(both);
    table.finish(findings);
    Lab { left, right, left_link, right_link }
}

fn link(mut table: Table<'_, '_>, findings: &mut Findings<'_>) -> Link {
    let mut share = |key| table.parsed(key, findings, value::share).unwrap_or_default();
    let (loss_ppm, duplication_ppm, reorder_ppm) = (share("loss"), share("duplication"), share("reorder"));
    let mut span = |key| table.parsed(key, findings, value::span).unwrap_or_default();
    let (delay, jitter) = (span("delay"), span("jitter"));
    let rate = table.parsed("rate", findings, value::rate);
    table.finish(findings);
    Link { loss_ppm, duplication_ppm, reorder_ppm, delay, jitter, rate }
}
