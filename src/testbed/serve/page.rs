//! The page with clients and buttons, and the same for programs.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::proto::types::Entropy;
use crate::proto::wire::ErrorCode;
use crate::testbed::edge::ClientView;
use crate::testbed::edge::Edge;
use crate::testbed::edge::Judgement;
use crate::testbed::scenario::Do;
use crate::testbed::scenario::Target;

use super::board::Board;

/// Notes of one client that the page shows.
const SHOWN: usize = 40;

/// Each button: its word and what it does.
pub(super) fn buttons() -> [(&'static str, Do); 18] {
    [
        ("drop", Do::Drop),
        ("delay 3 s", Do::Delay(Duration::from_secs(3))),
        ("corrupt", Do::Corrupt),
        ("wrong MAC", Do::WrongMac),
        ("stale nonce", Do::StaleNonce),
        ("300", Do::Redirect(Target::Other)),
        ("401 realm", Do::Realm("elsewhere.example".into())),
        ("403", Do::Error(ErrorCode::Forbidden)),
        ("437", Do::Error(ErrorCode::AllocationMismatch)),
        ("441", Do::Error(ErrorCode::WrongCredentials)),
        ("486", Do::Error(ErrorCode::AllocationQuotaReached)),
        ("508", Do::Error(ErrorCode::InsufficientCapacity)),
        ("lifetime 30 s", Do::Lifetime(Duration::from_secs(30))),
        ("move port", Do::MovePort),
        ("vanish", Do::Vanish),
        ("restart", Do::Restart),
        ("rebind", Do::Rebind),
        ("MTU 576", Do::Mtu(576)),
    ]
}

/// A verdict's word and reason.
fn verdict(judgement: &Judgement) -> (&'static str, &str) {
    match judgement {
        Judgement::Nothing => ("nothing yet", ""),
        Judgement::Waiting => ("waiting", ""),
        Judgement::Kept => ("passed", ""),
        Judgement::Broken(why) => ("failed", why),
    }
}

/// The page.
pub(super) fn html<E: Entropy>(edge: &Edge<E>, board: &Board) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
         <title>swingbridge testbed</title><style>body{font-family:sans-serif;margin:2em}\
         pre{background:#eee;padding:1em;overflow:auto}.failed{color:#b00}.passed{color:#070}\
         form{display:inline}</style><h1>This server misbehaves on request</h1>\
         <p>The TURN user name <code>SCENARIO.anything</code> chooses a scenario for that client alone: ",
    );
    let names: Vec<String> =
        edge.scenarios().named.keys().map(|name| format!("<code>{}</code>", escaped(name))).collect();
    page.push_str(&names.join(", "));
    page.push_str(".</p>");
    for client in edge.clients() {
        section(&mut page, client, board);
    }
    page.push_str("</html>\n");
    page
}

fn section(page: &mut String, client: ClientView<'_>, board: &Board) {
    let (word, why) = verdict(client.judgement);
    let name = escaped(client.name);
    let state = if client.live { "has an allocation" } else { "has no allocation" };
    let class = if matches!(word, "passed" | "failed") { word } else { "open" };
    let _ = write!(page, "<h2>{name}</h2><p>{state}. <b class={class}>{word}</b> {}", escaped(why));
    if !client.expected.is_empty() {
        let _ = write!(page, "<br>Expected: {}", escaped(client.expected));
    }
    page.push_str("</p><p>");
    for (at, (word, _)) in buttons().iter().enumerate() {
        let _ = write!(
            page,
            "<form method=post action=/press><input type=hidden name=client value=\"{name}\">\
             <button name=button value={at}>{word}</button></form> "
        );
    }
    page.push_str("</p><pre>");
    for note in board.of(client.name).rev().take(SHOWN) {
        let _ = writeln!(page, "{}", escaped(&note.to_string()));
    }
    page.push_str("</pre>");
}

/// Clients, their records and verdicts, for programs.
pub(super) fn json<E: Entropy>(edge: &Edge<E>, board: &Board) -> String {
    let clients: Vec<_> = edge
        .clients()
        .map(|client| {
            let (word, why) = verdict(client.judgement);
            let notes: Vec<String> = board.of(client.name).map(ToString::to_string).collect();
            json!({
                "name": client.name,
                "scenario": client.scenario,
                "expected": client.expected,
                "live": client.live,
                "verdict": word,
                "why": why,
                "record": notes,
            })
        })
        .collect();
    format!("{}\n", json!({ "clients": clients }))
}

/// As HTML shows it, also inside quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}

/// The value of `key` in a form's body.
pub(super) fn field(body: &str, key: &str) -> Option<String> {
    let value = body.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_put_nothing_into_the_page() {
        assert_eq!(escaped("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn a_field_of_a_form_is_read_as_browsers_write_it() {
        let body = "client=quota.al%C3%AFce+b%3C&button=3";
        assert_eq!(field(body, "client").as_deref(), Some("quota.alïce b<"));
        assert_eq!(field(body, "button").as_deref(), Some("3"));
        for (body, key) in [("", "a"), ("ab=1", "a"), ("a=%4", "a"), ("a=%zz", "a"), ("a=%ff", "a")] {
            assert_eq!(field(body, key), None, "{body}");
        }
    }
}
