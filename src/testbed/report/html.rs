//! The report as one page of HTML that needs nothing beside itself.

use std::fmt::Write as _;

use super::Cell;
use super::Matrix;
use super::Run;
use super::style;
use super::words;
use super::words::escaped;

/// A matrix as a page.
#[must_use]
pub fn html(matrix: &Matrix) -> String {
    let title = "Who meets whom";
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
         <header><p class=\"faint\">swingbridge testbed, {lab} laboratory</p><h1>{title}</h1></header>\n",
        style = style::STYLE,
        lab = matrix.lab.word(),
    );
    let cells = matrix.cells();
    let class = if matrix.is_as_expected() { "good" } else { "bad" };
    let conclusion = words::conclusion(matrix);
    let (word, of) = conclusion.split_once(": ").unwrap_or((&conclusion, ""));
    let _ =
        write!(page, "<section class=\"verdict {class}\"><strong>{word}</strong>\n<p>{of}</p></section>\n");
    grid(&mut page, matrix, &cells);
    asked(&mut page, matrix);
    list(&mut page, matrix, &cells);
    page.push_str(style::MEANING);
    if !matrix.notes.is_empty() {
        page.push_str("<h2>Notes</h2>\n");
        for note in &matrix.notes {
            let _ = writeln!(page, "<p>{}</p>", escaped(note));
        }
    }
    let _ = write!(
        page,
        "<footer class=\"faint\">swingbridge {}</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}

fn grid(page: &mut String, matrix: &Matrix, cells: &[Cell<'_>]) {
    let _ = write!(
        page,
        "<div class=\"wide\"><table class=\"matrix\" style=\"--places: {}\">\n<thead><tr><th>left \\ right</th>",
        matrix.places.len()
    );
    for place in &matrix.places {
        let _ = write!(page, "<th scope=\"col\">{place}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in cells.chunks(matrix.places.len().max(1)) {
        let Some(first) = row.first() else { continue };
        let _ = write!(page, "<tr><th scope=\"row\">{}</th>", first.left);
        row.iter().for_each(|cell| field(page, cell));
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n<ul class=\"legend\">");
    for class in ["direct", "udp", "tcp", "tls", "proxy"] {
        let of = if class == "direct" { "" } else { "relay over " };
        let _ = write!(page, "<li><i class=\"{class}\"></i>{of}{class}</li>");
    }
    page.push_str("</ul></div>\n");
}

fn field(page: &mut String, cell: &Cell<'_>) {
    let (class, word) = match cell.verdicts().as_slice() {
        [] => ("none", "left out"),
        [(verdict, _)] => (words::short(*verdict), words::short(*verdict)),
        [(verdict, _), ..] => (words::short(*verdict), "mixed"),
    };
    let (wrong, mark) = if cell.is_as_expected() { ("", "") } else { (" wrong", " ✗") };
    let _ = write!(
        page,
        "<td class=\"{class}{wrong}\"><a href=\"#{}-{}\"><b>{word}{mark}</b><span>{}</span></a></td>",
        cell.left,
        cell.right,
        words::span(cell.connected_within(0.5))
    );
}

fn asked(page: &mut String, matrix: &Matrix) {
    let last = matrix.seed.saturating_add(u64::from(matrix.seeds.saturating_sub(1)));
    let rows = [
        ("left client", matrix.clients[0].clone()),
        ("right client", matrix.clients[1].clone()),
        ("seeds", format!("{} to {last} for each pair of places", matrix.seed)),
        ("links", matrix.links.join("; ")),
    ];
    page.push_str("<h2>What was asked</h2>\n<dl>\n");
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(page, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
    }
    page.push_str("</dl>\n");
}

fn list(page: &mut String, matrix: &Matrix, cells: &[Cell<'_>]) {
    page.push_str(
        "<h2>Each pair of places</h2>\n<div class=\"wide\"><table class=\"list\">\n<thead><tr><th>left</th><th>right</th>\
         <th>verdict</th><th class=\"expected\">expected</th><th class=\"number\">median</th>\
         <th class=\"number p95\">p95</th>\
         <th>calls</th></tr></thead>\n<tbody>\n",
    );
    for cell in cells {
        let off = if cell.is_as_expected() { "" } else { " class=\"off\"" };
        let verdict = match matrix.why_left_out(cell.left, cell.right) {
            Some(why) if cell.runs.is_empty() => format!("left out: {why}"),
            _ => words::verdicts(cell, |verdict| verdict.to_string()),
        };
        let _ = write!(
            page,
            "<tr id=\"{left}-{right}\"{off}><td>{left}</td><td>{right}</td>\
             <td data-expected=\"{expected}\">{}</td><td class=\"expected\">{expected}</td>\
             <td class=\"number\">{}</td><td class=\"number p95\">{}</td><td>",
            escaped(&verdict),
            words::span(cell.connected_within(0.5)),
            words::span(cell.connected_within(0.95)),
            left = cell.left,
            right = cell.right,
            // A word, and another in brackets.
            expected = cell.expected().map(|verdict| verdict.to_string()).unwrap_or_default(),
        );
        if cell.runs.is_empty() {
            page.push('0');
        } else {
            let _ = write!(page, "<details><summary>{}</summary>", cell.runs.len());
            cell.runs.iter().for_each(|run| call(page, run));
            page.push_str("</details>");
        }
        page.push_str("</td></tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn call(page: &mut String, run: &Run) {
    let connected = match run.connected {
        Some(_) => format!(" after {}", words::span(run.connected)),
        None => String::new(),
    };
    let _ = write!(page, "<p>seed {}: {}{connected}</p><ul>", run.seed, run.verdict);
    for pair in &run.traffic {
        let _ = write!(
            page,
            "<li>{} – {}: {} and {} packets, {} and {} bytes</li>",
            pair.left,
            pair.right,
            pair.from_left.packets,
            pair.from_right.packets,
            pair.from_left.bytes,
            pair.from_right.bytes
        );
    }
    for note in &run.notes {
        let _ = write!(page, "<li>{}</li>", escaped(note));
    }
    page.push_str("</ul>");
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_page_is_one_well_formed_file_that_needs_no_other() {
        for (name, matrix) in sample::every() {
            let page = html(&matrix);
            if let Some(folder) = std::env::var_os("SWINGBRIDGE_REPORTS") {
                let path = std::path::Path::new(&folder).join(format!("matrix-{name}.html"));
                std::fs::write(path, &page).expect("the folder is writable");
            }
            for outside in ["http:", "https:", "<script", "<link", "<img", "@import", "url(", "src="] {
                assert!(!page.contains(outside), "{name}: {outside}");
            }
            assert!(!page.contains('\u{1b}'), "{name}");
            well_formed(name, &page);
        }
    }

    #[test]
    fn what_is_wrong_is_marked_and_leads_to_its_row() {
        let page = html(&sample::mixed());
        assert!(page.contains("<strong>not as expected</strong>"));
        assert!(page.contains("<td class=\"failed wrong\"><a href=\"#open-open\"><b>failed ✗</b>"), "{page}");
        assert!(page.contains("<tr id=\"open-open\" class=\"off\">"));
        assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)"));
        assert!(!html(&sample::good()).contains('✗'));
    }

    /// Every element that is opened is closed, in order, and every link leads somewhere.
    fn well_formed(name: &str, page: &str) {
        let mut open = Vec::new();
        for tag in page.split('<').skip(1) {
            let (tag, _) =
                tag.split_once('>').unwrap_or_else(|| panic!("{name}: a tag without an end: {tag}"));
            let word = tag.split_whitespace().next().expect("a tag has a name");
            if tag.starts_with('!') || word == "meta" {
                continue;
            }
            match tag.strip_prefix('/') {
                Some(word) => assert_eq!(open.pop(), Some(word), "{name}"),
                None => open.push(word),
            }
        }
        assert!(open.is_empty(), "{name}: {open:?}");
        for link in page.split("href=\"#").skip(1) {
            let (to, _) = link.split_once('"').expect("an attribute ends");
            assert_eq!(page.matches(&format!("id=\"{to}\"")).count(), 1, "{name}: {to}");
        }
    }
}
