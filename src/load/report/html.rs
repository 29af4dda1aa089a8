//! The report as one page of HTML that needs nothing beside itself: style, tables and plots are inside.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::load::outcome::IceOutcome;
use crate::load::outcome::Report;
use crate::load::outcome::Side;
use crate::load::outcome::Verdict;
use crate::load::plan::Mode;

use super::figures::figures;
use super::figures::speaker;
use super::plot;
use super::plot::Plot;
use super::plot::Size;
use super::style;
use super::sum;
use super::table;
use super::table::Rows;
use super::words;

/// The report as a page.
#[must_use]
pub fn html(report: &Report) -> String {
    let plan = &report.plan;
    let title = format!("{} of {}", words::mode_word(&plan.mode), names(report));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <header><p class=\"faint\">swingbridge load</p><h1>{title}</h1>\n<p>{mode}</p></header>\n",
        title = escaped(&title),
        style = style::STYLE,
        mode = escaped(&words::mode(&plan.mode)),
    );
    verdict(&mut page, report);
    tiles(&mut page, report);
    asked(&mut page, report);
    plots(&mut page, report);
    tables(&mut page, report);
    notes(&mut page, report);
    let is_ice = matches!(plan.mode, Mode::Ice { .. });
    page.push_str(if is_ice { style::MEANING_OF_PAIRS } else { style::MEANING });
    let _ = write!(
        page,
        "<footer class=\"faint\">swingbridge {} · seed {} · {}</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        plan.generator.seed,
        words::moment(report.began_unix)
    );
    page
}

fn names(report: &Report) -> String {
    report.plan.servers.iter().map(|server| server.uri.as_str()).collect::<Vec<_>>().join(" and ")
}

/// Text of others, so that none of it is taken for markup, within an element or an attribute.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for each in text.chars() {
        match each {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            each if each.is_control() => out.push('\u{fffd}'),
            each => out.push(each),
        }
    }
    Cow::Owned(out)
}

fn verdict(page: &mut String, report: &Report) {
    let (class, word, says) = match &report.verdict {
        Verdict::Done => ("", "done", "It went through; nothing was to be judged."),
        Verdict::Met => ("good", "met", words::held(&report.plan)),
        Verdict::Broken(_) => ("bad", "broken", words::not_held(&report.plan)),
        Verdict::GeneratorLimited(_) => (
            "bad",
            "generator-limited",
            "The figures are the limit of the machine that the load came from, and say nothing of the server.",
        ),
        Verdict::Stopped => {
            ("", "stopped", "Ended early by the user; the figures are of what was measured until then.")
        }
    };
    let _ = write!(page, "<section class=\"verdict {class}\"><strong>{word}</strong>\n<p>{says}</p>\n");
    match &report.verdict {
        Verdict::Broken(why) => list(page, why),
        Verdict::GeneratorLimited(why) => list(page, std::slice::from_ref(why)),
        _ => {}
    }
    let sentences = words::comparison(report);
    if !sentences.is_empty() {
        list(page, &sentences);
    }
    if sum::limited(report).is_none() {
        for side in &report.sides {
            if let Some(capacity) = &side.capacity {
                let sentence = words::capacity(capacity);
                let _ = writeln!(page, "<p><b>Capacity</b>: {}</p>", escaped(&sentence));
            }
        }
    }
    page.push_str("</section>\n");
}

fn list(page: &mut String, sentences: &[String]) {
    page.push_str("<ul>");
    for sentence in sentences {
        let _ = write!(page, "<li>{}</li>", escaped(sentence));
    }
    page.push_str("</ul>\n");
}

/// The few figures that are looked for first.
fn tiles(page: &mut String, report: &Report) {
    for (index, side) in report.sides.iter().enumerate() {
        page.push_str("<section class=\"tiles\" aria-label=\"Key figures\">\n");
        let of =
            if report.sides.len() > 1 { format!("{}: ", table::side_name(index)) } else { String::new() };
        for (value, what) in key_figures(report, side) {
            let _ =
                writeln!(page, "<div class=\"tile\"><b>{}</b><span>{of}{what}</span></div>", escaped(&value));
        }
        page.push_str("</section>\n");
    }
}

fn key_figures(report: &Report, side: &Side) -> Vec<(String, &'static str)> {
    if let Some(ice) = &side.ice {
        return vec![
            (format!("{} of {}", words::count(ice.connected), words::count(ice.pairs)), "pairs connected"),
            (words::span(ice.time.quantile(0.5)), "p50 to connect"),
            (words::span(ice.time.quantile(0.99)), "p99 to connect"),
            (words::span(ice.time.max()), "slowest"),
        ];
    }
    let Some(step) = speaker(side) else { return Vec::new() };
    let setup = sum::setup(side);
    if let Mode::Churn { .. } = report.plan.mode {
        return vec![
            (words::number(sum::rate(setup.cycles, step.length)), "whole cycles a second"),
            (format!("{} of {}", words::count(setup.served), words::count(setup.asked)), "clients served"),
            (words::span(setup.allocate.quantile(0.99)), "Allocate p99"),
            (words::span(setup.allocate.max()), "Allocate max"),
        ];
    }
    let (flow, one) = if report.sides.len() > 1 {
        (sum::all(side), "lost in all rounds")
    } else {
        (sum::both(step), "lost")
    };
    vec![
        (words::count(step.calls.into()), if step.calls == 1 { "call" } else { "calls" }),
        (words::number(sum::arrived(step).round()), "packets/s arrived"),
        (words::bits(sum::arrived_bits(step)), "payload arrived"),
        (words::percent(words::loss(&flow)), one),
        (words::span(flow.latency.quantile(0.5)), "p50 one-way"),
        (words::span(flow.latency.quantile(0.99)), "p99 one-way"),
        (words::span(flow.latency.max()), "slowest packet"),
    ]
}

fn asked(page: &mut String, report: &Report) {
    let plan = &report.plan;
    let mut rows: Vec<(&str, String)> = Vec::new();
    for (index, server) in plan.servers.iter().enumerate() {
        let name = match (plan.servers.len(), index) {
            (1, _) => "server",
            (_, 0) => "server A",
            _ => "server B",
        };
        rows.push((name, words::server(server)));
    }
    rows.extend(words::nats(plan).into_iter().map(|sentence| ("NATs", sentence)));
    if let Some(traffic) = words::traffic(plan) {
        rows.push(("each call", format!("{traffic}; {}", words::peer(&plan.peer))));
    }
    if let Some(warm_up) = words::warm_up(plan) {
        rows.push(("warm-up", warm_up));
    }
    if let Some(objective) = words::objective(&plan.objective) {
        rows.push(("objective", objective));
    }
    let machine = &report.machine;
    rows.push(("from", format!("{}, {}", words::some(machine.cores as u64, "core"), machine.kernel)));
    rows.push(("when", format!("{}, for {}", words::moment(report.began_unix), words::chosen(report.took))));
    page.push_str("<h2>What was asked</h2>\n<dl>\n");
    for (name, value) in rows {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(&value));
    }
    page.push_str("</dl>\n");
}

const WIDE: Size = Size { width: 580, height: 290, letters: 12, labels: 7 };
const NARROW: Size = Size { width: 330, height: 240, letters: 12, labels: 4 };

fn plots(page: &mut String, report: &Report) {
    page.push_str("<h2>Figures</h2>\n<div class=\"figures\">\n");
    for plot in figures(report) {
        if let (Some(wide), Some(narrow)) = (plot::svg(&plot, WIDE), plot::svg(&plot, NARROW)) {
            figure(page, &plot, &wide, &narrow);
        }
    }
    page.push_str("</div>\n");
}

fn figure(page: &mut String, plot: &Plot, wide: &str, narrow: &str) {
    let _ = write!(
        page,
        "<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>\n<ul class=\"legend\">",
        plot.title, plot.says
    );
    for curve in &plot.curves {
        let _ = write!(
            page,
            "<li><i style=\"background:var(--{})\"></i>{}</li>",
            curve.ink.name(),
            escaped(&curve.name)
        );
    }
    let _ = write!(
        page,
        "</ul>\n<div class=\"wide\">{wide}</div>\n<div class=\"narrow\">{narrow}</div>\n</figure>\n"
    );
}

fn tables(page: &mut String, report: &Report) {
    if matches!(report.plan.mode, Mode::Compare { .. }) {
        rows(page, "Both servers, both directions together", &table::compare(&report.sides));
    }
    for (index, side) in report.sides.iter().enumerate() {
        let of =
            if report.sides.len() > 1 { format!(" ({})", table::side_name(index)) } else { String::new() };
        if sum::has_media(side) {
            rows(page, &format!("Packets{of}"), &table::media(side, sum::is_judged(report)));
        }
        if let Some(ice) = &side.ice {
            connections(page, ice);
        }
        let setup = sum::setup(side);
        if setup.asked > 0 {
            if side.steps.iter().filter(|step| step.setup.asked > 0).count() > 1 {
                rows(page, &format!("Setup of each load{of}"), &table::rounds(side));
            }
            rows(page, &format!("Setup{of}"), &table::setup(side));
        }
        failures(page, &setup.failures);
        let profile = words::profile_word(&report.plan.traffic.profile);
        rows(page, &format!("What the generator used, {profile}{of}"), &table::own_cost(side));
        rows(page, &format!("What the server used{of}"), &table::server_cost(side));
    }
}

fn rows(page: &mut String, title: &str, rows: &Rows) {
    if rows.rows.is_empty() {
        return;
    }
    let class = |head: &str| if table::is_word(head) { " class=\"word\"" } else { "" };
    let _ = write!(page, "<h2>{}</h2>\n<div class=\"table\"><table>\n<thead><tr>", escaped(title));
    for head in &rows.heads {
        let _ = write!(page, "<th{}>{}</th>", class(head), escaped(head));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &rows.rows {
        page.push_str("<tr>");
        for (cell, head) in row.iter().zip(&rows.heads) {
            let _ = write!(page, "<td{}>{}</td>", class(head), escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn connections(page: &mut String, ice: &IceOutcome) {
    if !ice.by_kind.is_empty() {
        page.push_str("<h2>Connected by</h2>\n<dl>\n");
        for (kinds, count) in &ice.by_kind {
            let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escaped(kinds), words::count(*count));
        }
        page.push_str("</dl>\n");
    }
    rows(page, "Between NATs", &table::nats(ice));
    failures(page, &ice.failures);
}

fn failures(page: &mut String, failures: &BTreeMap<String, u64>) {
    if failures.is_empty() {
        return;
    }
    page.push_str("<h2>Failures</h2>\n<ul>\n");
    for (failure, count) in failures {
        let meaning = words::meaning(failure).map_or_else(String::new, |meaning| format!(" – {meaning}"));
        let _ =
            writeln!(page, "<li>{} × {}{}</li>", words::count(*count), escaped(failure), escaped(&meaning));
    }
    page.push_str("</ul>\n");
}

fn notes(page: &mut String, report: &Report) {
    if !report.notes.is_empty() {
        page.push_str("<h2>Notes</h2>\n");
        list(page, &report.notes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_page_is_one_well_formed_file_that_needs_no_other() {
        for (name, report) in sample::every() {
            let page = html(&report);
            if let Some(folder) = std::env::var_os("SWINGBRIDGE_REPORTS") {
                let path = std::path::Path::new(&folder).join(format!("{name}.html"));
                std::fs::write(path, &page).expect("the folder is writable");
            }
            for outside in ["http:", "https:", "<script", "<link", "<img", "@import", "url(", "xmlns", "src="]
            {
                assert!(!page.contains(outside), "{name}: {outside}");
            }
            assert!(
                page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)"),
                "{name}: the URI is shown as it is"
            );
            assert!(!page.contains(sample::PASSWORD), "{name}");
            assert!(page.len() < 600_000, "{name}: {} bytes", page.len());
            well_formed(name, &page);
        }
    }

    #[test]
    fn plots_have_the_colours_of_the_page_alone() {
        for (name, report) in sample::every() {
            let page = html(&report);
            let drawn = page.split_once("</style>").expect("it has a style").1;
            for own in ["fill=\"#", "stroke=\"#"] {
                assert!(!drawn.contains(own), "{name}: a colour of its own");
            }
            assert!(drawn.matches("<svg").count() >= 2, "{name}: has no plot");
        }
    }

    #[test]
    fn between_nats_there_is_a_row_for_each_ending() {
        let page = html(&sample::nats());
        for part in [
            "<h2>Between NATs</h2>",
            "<td class=\"word\">8 relayed (udp)</td><td>yes</td>",
            ">1 failed</td><td>NO</td>",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!html(&sample::ice()).contains("Between NATs"));
    }

    #[test]
    fn a_generator_at_its_limit_gives_no_capacity() {
        let page = html(&sample::limited());
        assert!(page.contains("<strong>generator-limited</strong>") && !page.contains("<b>Capacity</b>"));
        assert!(html(&sample::capacity()).contains("<b>Capacity</b>: 625 calls"));
    }

    /// Every element that is opened is closed, in order.
    fn well_formed(name: &str, page: &str) {
        let mut open = Vec::new();
        for tag in page.split('<').skip(1) {
            let (tag, _) =
                tag.split_once('>').unwrap_or_else(|| panic!("{name}: a tag without an end: {tag}"));
            let word = tag.split_whitespace().next().expect("a tag has a name");
            if tag.starts_with('!') || tag.ends_with('/') || word == "meta" {
                continue;
            }
            if let Some(word) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(word), "{name}");
            } else {
                open.push(word);
            }
        }
        assert!(open.is_empty(), "{name}: {open:?}");
    }
}
