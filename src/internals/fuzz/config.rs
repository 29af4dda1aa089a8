//! The configuration: any text is loaded, checked and reported, and no report shows a secret.

use std::io;
use std::path::Path;

use toml::Table;
use toml::Value;

use crate::config;
use crate::config::Loaded;
use crate::config::Machine;
use crate::config::SecretFile;
use crate::config::Severity;
use crate::config::Source;
use crate::proto::types::Entropy;

use super::choices::Dice;

/// What every secret holds that lies outside the text: it is never shown, whatever the text says.
const FETCHED: &str = "fetched-0123456789-fetched";
/// By this an input marks a secret in the text. Where the mark stands elsewhere as well, it may be shown.
const MARK: &str = "hushhush";
/// Slips tried for one text.
const SLIPS: u32 = 12;
/// More than any configuration that people write.
const TEXT_MAX: usize = 16_384;

pub(super) fn body(input: &[u8]) {
    let text = String::from_utf8_lossy(&input[..input.len().min(TEXT_MAX)]);
    let shown = judge(&text);
    if !hides_every_mark(&text) {
        return;
    }
    assert!(!shown.contains(MARK), "a secret is shown:\n{shown}");
    // One slip of the pen, and the text cannot be understood: its secrets are secrets all the same.
    let mut dice = Dice(u64::from(crc32fast::hash(text.as_bytes())));
    for _ in 0..SLIPS {
        let slipped = slip(&text, &mut dice);
        let shown = judge(&slipped);
        let may_show = slipped.parse::<Table>().is_ok() && !hides_every_mark(&slipped);
        assert!(may_show || !shown.contains(MARK), "a slip shows a secret:\n{slipped}\n\n{shown}");
    }
}

/// Loads `text`; answers all that is shown of it.
fn judge(text: &str) -> String {
    let Loaded { report, checked } = config::load("a.toml", text, &Elsewhere);
    assert_eq!(checked.is_some(), report.count(Severity::Error) == 0);
    let lines = text.matches('\n').count() + 1;
    for problem in report.problems() {
        let (line, column) = report.position(problem);
        assert!((1..=lines).contains(&line) && column >= 1);
        assert!(!problem.rule.is_empty() && !problem.fix.is_empty(), "{problem:?}");
    }
    let mut shown = [report.render(true), report.render(false)].concat();
    assert!(shown.matches("a.toml:").count() >= 2 * report.problems().len());
    if let Some(checked) = checked {
        for listed in checked.listed() {
            shown.push_str(&listed.value);
        }
        shown.push_str(&format!("{:?}", checked.build(&Machine::default())));
    }
    // The text itself may quote it, in which case it is not the secret that is shown.
    assert!(text.contains(FETCHED) || !shown.contains(FETCHED), "a secret from elsewhere is shown:\n{shown}");
    shown
}

/// `text` with one character taken out, or one more. The mark itself stays whole.
fn slip(text: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<_> = text.chars().collect();
    let len = u32::try_from(chars.len()).expect("a short text");
    let at = dice.below(len) as usize;
    match dice.below(2) {
        0 => _ = chars.remove(at),
        _ => {
            let slips = ['"', '\'', '[', ']', '{', '}', '=', ',', '\n', '#', '.', ' '];
            let which = dice.below(u32::try_from(slips.len()).expect("few"));
            chars.insert(at, slips[which as usize]);
        }
    }
    let slipped: String = chars.into_iter().collect();
    if slipped.matches(MARK).count() == text.matches(MARK).count() { slipped } else { text.to_owned() }
}

/// Whether the mark stands in the text, and only in values that are secrets.
fn hides_every_mark(text: &str) -> bool {
    let marks = text.matches(MARK).count();
    let Ok(table) = text.parse::<Table>() else { return false };
    let Some(Value::Table(auth)) = table.get("auth") else { return false };
    let in_secrets: usize =
        [auth.get("secrets"), auth.get("users")].iter().flatten().map(|value| within(value)).sum();
    let keys = auth.get("oauth").and_then(Value::as_array).into_iter().flatten();
    let in_keys: usize = keys.filter_map(|entry| entry.get("key")).map(within).sum();
    marks > 0 && marks == in_secrets + in_keys
}

/// How often the mark stands in the values of `value`; not in its keys, which are names.
fn within(value: &Value) -> usize {
    match value {
        Value::String(text) => text.matches(MARK).count(),
        Value::Array(values) => values.iter().map(within).sum(),
        // `{ file = "…" }` and its like name a place, which is no secret.
        Value::Table(entries) => {
            entries.iter().filter(|(key, _)| !names_a_place(key)).map(|(_, value)| within(value)).sum()
        }
        _ => 0,
    }
}

fn names_a_place(key: &str) -> bool {
    matches!(key, "file" | "env" | "credential")
}

/// Files and variables that all hold the same, but for a few that cannot be read.
struct Elsewhere;

impl Source for Elsewhere {
    fn environment(&self, name: &str) -> Option<Vec<u8>> {
        match name.len() % 4 {
            0 => None,
            1 => Some(format!("{FETCHED}\u{1}").into()),
            _ => Some(FETCHED.into()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<SecretFile> {
        let len = path.as_os_str().len();
        match len % 4 {
            0 => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(SecretFile { bytes: format!("{FETCHED}\n").into(), world_readable: len % 4 == 1 }),
        }
    }
}
