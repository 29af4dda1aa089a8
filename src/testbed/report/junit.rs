//! The report for continuous integration: JUnit XML, as most servers for that read it. A left place is a suite, a call a case.

use std::fmt::Write as _;
use std::time::Duration;

use super::Cell;
use super::Matrix;
use super::Run;
use super::words;
use super::words::escaped;

/// A matrix as JUnit XML. The time of a case is that to connect.
#[must_use]
pub fn junit(matrix: &Matrix) -> String {
    let cells = matrix.cells();
    let rows: Vec<_> = cells.chunks(matrix.places.len().max(1)).collect();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"swingbridge testbed, {} laboratory\" {}>\n",
        matrix.lab.word(),
        counts(&cells)
    );
    for row in rows {
        let Some(first) = row.first() else { continue };
        let _ = writeln!(out, "  <testsuite name=\"{}\" {}>", first.left, counts(row));
        for cell in row {
            cases(&mut out, matrix, cell);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// A pair that was left out is one case that was skipped.
fn counts(cells: &[Cell<'_>]) -> String {
    let calls: usize = cells.iter().map(|cell| cell.runs.len()).sum();
    let skipped = cells.iter().filter(|cell| cell.runs.is_empty()).count();
    let runs = || cells.iter().flat_map(|cell| &cell.runs);
    let failures = runs().filter(|run| !run.is_as_expected()).count();
    let time: Duration = runs().filter_map(|run| run.connected).sum();
    let tests = calls + skipped;
    format!(
        "tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{:.3}\"",
        time.as_secs_f64()
    )
}

fn cases(out: &mut String, matrix: &Matrix, cell: &Cell<'_>) {
    let class = format!("testbed.{}.{}", matrix.lab.word(), cell.left);
    if cell.runs.is_empty() {
        let why = matrix.why_left_out(cell.left, cell.right).unwrap_or("left out");
        let _ = write!(
            out,
            "    <testcase classname=\"{class}\" name=\"{} calls {}\" time=\"0\">\n      <skipped message=\"{}\"/>\n    \
             </testcase>\n",
            cell.left,
            cell.right,
            escaped(why)
        );
    }
    for run in &cell.runs {
        case(out, &class, run);
    }
}

fn case(out: &mut String, class: &str, run: &Run) {
    let seconds = run.connected.unwrap_or_default().as_secs_f64();
    let _ = write!(
        out,
        "    <testcase classname=\"{class}\" name=\"{} calls {}, seed {}\" time=\"{seconds:.3}\"",
        run.left, run.right, run.seed
    );
    let Some(expected) = run.expected.filter(|_| !run.is_as_expected()) else {
        out.push_str("/>\n");
        return;
    };
    let _ = write!(
        out,
        ">\n      <failure type=\"verdict\" message=\"{}, expected was {expected}\">{}</failure>\n    </testcase>\n",
        run.verdict,
        escaped(&words::clean(&run.notes.join("; ")))
    );
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::super::sample;
    use super::*;

    #[test]
    fn it_is_xml_and_counts_what_it_has() {
        for (name, matrix) in sample::every() {
            let text = junit(&matrix);
            let (mut reader, mut found) = (Reader::from_str(&text), Vec::new());
            reader.config_mut().check_end_names = true;
            loop {
                match reader.read_event().unwrap_or_else(|error| panic!("{name}: {error}")) {
                    Event::Start(tag) | Event::Empty(tag) => found.push(tag.name().as_ref().to_owned()),
                    Event::Eof => break,
                    _ => {}
                }
            }
            let count = |word: &str| found.iter().filter(|each| *each == word).count();
            assert_eq!(count("testsuite"), matrix.places.len(), "{name}");
            let skipped = matrix.cells().iter().filter(|cell| cell.runs.is_empty()).count();
            assert_eq!(count("testcase"), matrix.runs.len() + skipped, "{name}");
            let wrong = matrix.runs.iter().filter(|run| !run.is_as_expected()).count();
            assert_eq!((count("failure"), count("skipped")), (wrong, skipped), "{name}");
            assert!(text.contains(&format!("failures=\"{wrong}\"")), "{name}");
        }
    }

    #[test]
    fn words_of_others_are_words() {
        let text = junit(&sample::mixed());
        assert!(text.contains("no proxy &lt;script&gt;alert(&#39;&amp;&quot;&#39;)"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("<script"));
    }
}
