//! `swingbridge check`: every mistake of a file, or what a sound file means.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;
use serde_json::json;

use crate::config;
use crate::config::Checked;
use crate::config::OperatingSystem;
use crate::config::Report;
use crate::config::Settings;
use crate::config::Severity;
use crate::net::probe;
use crate::proto::peers::OwnRelays;
use crate::proto::peers::Verdict;

use super::CheckArgs;
use super::Exit;
use super::args::ReportFormat;
use super::input;
use super::limits;
use super::machine;
use super::output;

/// Checks a file, and says what is wrong with it or what it means.
pub(crate) fn run(args: &CheckArgs) -> Exit {
    let name = args.file.display().to_string();
    let text = match input::read_config(&args.file) {
        Ok(text) => text,
        Err(error) => return unreadable(&name, &error),
    };
    let loaded = config::load(&name, &text, &OperatingSystem::beside(&args.file));
    match (loaded.checked, args.peer) {
        (None, _) => refuse(&loaded.report, args.format),
        (Some(checked), Some(peer)) => judge(checked, &loaded.report, peer, args.format),
        (Some(checked), None) => {
            // The file may be meant for another machine, so this is no error here.
            let foreign = checked.foreign(&machine::observe(), probe::can_be_bound, Severity::Warning);
            approve(checked, &loaded.report.with(foreign), args.format)
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Exit {
    let help = "write the path of a configuration; conf/minimal.toml is one to begin with";
    output::complain(&format!("error: `{name}` cannot be read: {error}\n  = help: {help}\n"), Exit::Wrong)
}

fn refuse(report: &Report, format: ReportFormat) -> Exit {
    match format {
        ReportFormat::Text => {
            let text = format!("{}{}\n", report.render(output::stdout_has_colours()), tally(report));
            output::out(&text, Exit::Wrong)
        }
        ReportFormat::Json => {
            output::out(&line(&json!({ "sound": false, "problems": problems(report) })), Exit::Wrong)
        }
    }
}

/// No relayed address is live while a file is checked.
struct NoneLive;

impl OwnRelays for NoneLive {
    fn is_live(&self, _address: SocketAddr) -> bool {
        false
    }
}

fn judge(checked: Checked, report: &Report, peer: SocketAddr, format: ReportFormat) -> Exit {
    let policy = checked.build(&machine::observe()).policy.build();
    let Verdict { allowed, because } = policy.explain(peer, &NoneLive);
    let exit = if allowed { Exit::Done } else { Exit::Failed };
    let word = if allowed { "allowed" } else { "denied" };
    match format {
        ReportFormat::Text => {
            let warned = output::complain(&report.render(output::stderr_has_colours()), exit);
            output::out(&format!("{peer} is {word}: {because}\n"), warned)
        }
        ReportFormat::Json => {
            let verdict = json!({ "peer": peer.to_string(), "allowed": allowed, "because": because });
            output::out(&line(&json!({ "sound": true, "problems": problems(report), "peer": verdict })), exit)
        }
    }
}

fn approve(checked: Checked, report: &Report, format: ReportFormat) -> Exit {
    let keys = keys(&checked);
    let chosen = checked.listed().iter().any(|listed| listed.key.path == "relay.addresses" && listed.named);
    let key_lines = key_lines(&checked);
    let settings = checked.build(&machine::observe());
    match format {
        ReportFormat::Text => {
            let mut text = report.render(output::stdout_has_colours());
            text.push_str(&tally(report));
            text.push_str("\n\n");
            text.push_str(&summary(&settings, chosen));
            text.push_str(&key_lines);
            text.push_str(&limit_lines());
            output::out(&text, Exit::Done)
        }
        ReportFormat::Json => {
            let limits: serde_json::Map<_, _> = limits::all()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::String(value)))
                .collect();
            let object = json!({
                "sound": true,
                "problems": problems(report),
                "listeners": listeners(&settings),
                "keys": keys,
                "limits": limits,
            });
            output::out(&line(&object), Exit::Done)
        }
    }
}

fn listeners(settings: &Settings) -> Vec<Value> {
    let udp = settings.listen_udp.iter().map(|listener| ("udp", listener.bind, listener.external));
    let streams = settings.listen_stream.iter().map(|listener| ("tcp", listener.bind, listener.external));
    udp.chain(streams)
        .map(|(transport, bind, external)| {
            json!({ "transport": transport, "bind": bind.to_string(), "external": external.to_string() })
        })
        .collect()
}

fn tally(report: &Report) -> String {
    let number = |severity: Severity| {
        let count = report.count(severity);
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {}{plural}", severity.word())
    };
    match (report.count(Severity::Error), report.count(Severity::Warning)) {
        (0, 0) => format!("{}: no problems", report.name()),
        (0, _) => format!("{}: no errors, {}", report.name(), number(Severity::Warning)),
        (_, 0) => format!("{}: {}", report.name(), number(Severity::Error)),
        _ => format!("{}: {}, {}", report.name(), number(Severity::Error), number(Severity::Warning)),
    }
}

fn summary(settings: &Settings, relays_chosen: bool) -> String {
    let mut out = String::from("Listeners\n");
    // Writing to a String cannot fail.
    for listener in &settings.listen_udp {
        let _ = writeln!(out, "  udp    {}{}", listener.bind, shown_as(listener.bind, listener.external));
    }
    for listener in &settings.listen_stream {
        let left_out = if listener.defaulted { ", left out if it cannot be had" } else { "" };
        let shown = shown_as(listener.bind, listener.external);
        let _ = writeln!(out, "  tcp    {}{shown}{left_out}", listener.bind);
    }
    let tls = match &settings.certificates[..] {
        [] => "off: there is no certificate".to_owned(),
        all => {
            let names: Vec<_> = all.iter().map(|one| one.names().join(", ")).collect();
            format!("on every tcp listener, for {}", names.join("; "))
        }
    };
    let _ = writeln!(out, "  tls    {tls}");
    let admin = settings
        .admin
        .map_or("off".to_owned(), |admin| format!("http://{admin}/metrics, http://{admin}/health"));
    let _ = writeln!(out, "  admin  {admin}");
    out.push_str("\nRelay\n");
    if relays_chosen {
        for relay in &settings.relays {
            let _ = writeln!(out, "  {}{}", relay.bind, shown_as(relay.bind, relay.external));
        }
    } else {
        out.push_str("  the source address of the default route of each family, else loopback\n");
    }
    let (low, high) = (settings.ports.start(), settings.ports.end());
    let _ = writeln!(out, "  ports {low}-{high}: {} for each address", u32::from(high - low) + 1);
    let credentials = &settings.credentials;
    let _ = writeln!(out, "\nCredentials\n  secrets       {}", credentials.secrets.len());
    let _ = writeln!(out, "  static users  {}", credentials.users.len());
    out
}

fn shown_as<A: PartialEq + std::fmt::Display>(bind: A, external: A) -> String {
    if bind == external { String::new() } else { format!(", shown as {external}") }
}

fn key_lines(checked: &Checked) -> String {
    let mut out = String::from("\nKeys (from the file or by default; how a change takes effect)\n");
    let width = checked.listed().iter().map(|listed| listed.key.path.len()).max().unwrap_or(0);
    for listed in checked.listed() {
        let from = if listed.named { "file   " } else { "default" };
        let takes = listed.key.takes.word();
        let _ = writeln!(out, "  {:width$}  {from}  {takes:7}  {}", listed.key.path, escaped(&listed.value));
    }
    out
}

fn limit_lines() -> String {
    let all = limits::all();
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::from("\nLimits built in (bytes, counts or spans of time)\n");
    for (name, value) in all {
        let _ = writeln!(out, "  {name:width$}  {value}");
    }
    out
}

/// `text` without what could move a terminal's cursor.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() })
        .collect()
}

fn keys(checked: &Checked) -> Vec<Value> {
    let entry = |listed: &config::Listed| {
        json!({
            "key": listed.key.path,
            "value": listed.value,
            "from": if listed.named { "file" } else { "default" },
            "takes": listed.key.takes.word(),
        })
    };
    checked.listed().iter().map(entry).collect()
}

fn problems(report: &Report) -> Vec<Value> {
    let entry = |problem: &config::Problem| {
        let (line, column) = report.position(problem);
        json!({
            "severity": problem.severity.word(),
            "file": report.name(),
            "line": line,
            "column": column,
            "key": problem.key,
            "rule": problem.rule,
            "fix": problem.fix,
        })
    };
    report.problems().iter().map(entry).collect()
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}
