//! `swingbridge testbed explain`: why a call did or did not connect, in plain words.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

use clap::Args as ArgGroup;

use crate::cli::Exit;
use crate::cli::output;
use crate::proto::types::limits::LAB_REPORT_MAX;
use crate::testbed::Place;
use crate::testbed::explain;
use crate::testbed::explain::Explanation;
use crate::testbed::explain::Report;

pub(super) const HELP: &str = "\
Examples:
  swingbridge testbed run --left symmetric --right cgn --json call.json
  swingbridge testbed explain call.json
      Why that call ended as it did, and what to look at next.
  swingbridge testbed explain flight
      The same of the folder that `--record flight` left.
  swingbridge testbed explain matrix.json --pair symmetric,cgn
      One pair of a matrix. Without --pair each that did not end as it has to.

docs/testbed.md has a chapter on it: \"Why did it not connect?\".

Exit codes:
  0  it is explained, however the call ended
  2  the request is wrong, or the report is none
  3  the machine refused: the report cannot be read";

/// `swingbridge testbed explain`.
#[derive(Debug, ArgGroup)]
pub struct TestbedExplainArgs {
    /// What `--json` of `testbed run` or `testbed matrix` wrote, or the folder that `--record` left.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Of a matrix: the call between these two places.
    #[arg(long, value_name = "LEFT,RIGHT", value_delimiter = ',')]
    pub pair: Vec<Place>,
    /// Print the explanation for programs.
    #[arg(long)]
    pub json: bool,
}

/// Files of a folder that has a report, the first that is there.
const REPORTS: [&str; 2] = ["run.json", "matrix.json"];
/// What else a folder of a run has, and what it is.
const BESIDE: [(&str, &str); 3] = [
    ("left.log", "what the left program printed"),
    ("right.log", "what the right program printed"),
    ("server.log", "what the server printed"),
];
/// Lines at the end of a log that are shown of a program that ended badly.
const TAIL_LINES: usize = 8;
/// Bytes at the end of a log that are looked at.
const TAIL_BYTES: u64 = 16 * 1_024;
/// Captures of a folder that are named.
const CAPTURES_MAX: usize = 4;

/// Explains.
pub(super) fn run(args: &TestbedExplainArgs) -> Exit {
    match carry_out(args) {
        Ok(text) => output::out(&text, Exit::Done),
        Err((problem, exit)) => output::complain(&format!("error: {problem}\n"), exit),
    }
}

fn carry_out(args: &TestbedExplainArgs) -> Result<String, (String, Exit)> {
    let (file, folder) = report_of(&args.run)?;
    let wrong = |what: String| (format!("`{}`: {what}", file.display()), Exit::Wrong);
    let report = explain::read(&text_of(&file)?).map_err(|problem| wrong(problem.to_string()))?;
    let pair = match args.pair.as_slice() {
        [] => None,
        [left, right] => Some([*left, *right]),
        _ => return Err(("--pair names two places: LEFT,RIGHT".to_owned(), Exit::Wrong)),
    };
    let one = match (report, pair) {
        (Report::Run(run), None) => explain::explain(&run),
        (Report::Run(run), Some(pair)) if [run.left, run.right] == pair => explain::explain(&run),
        (Report::Run(run), Some(_)) => {
            return Err(wrong(format!(
                "it is of one call, between {} and {}: leave out --pair",
                run.left, run.right
            )));
        }
        (Report::Matrix { runs, .. }, Some(pair)) => match explain::choose(&runs, pair) {
            Some(run) => explain::explain(run),
            None => return Err(wrong(format!("it has no call between {} and {}", pair[0], pair[1]))),
        },
        (Report::Matrix { runs, left_out }, None) => {
            let mut many = explain::explain_many(&runs, &left_out);
            if let Some(folder) = &folder {
                many.explained.iter_mut().for_each(|(_, _, one)| one.more = more(folder, one));
            }
            return Ok(if args.json { explain::json_of_many(&many) } else { explain::text_of_many(&many) });
        }
    };
    let one = Explanation { more: folder.map(|folder| more(&folder, &one)).unwrap_or_default(), ..one };
    Ok(if args.json { explain::json(&one) } else { explain::text(&one) })
}

/// The file of the report, and the folder that it is in if a folder was named.
fn report_of(path: &Path) -> Result<(PathBuf, Option<PathBuf>), (String, Exit)> {
    if !path.is_dir() {
        return Ok((path.to_owned(), None));
    }
    let found = REPORTS.iter().map(|name| path.join(name)).find(|file| file.is_file());
    let none = || {
        let what = format!("`{}` has neither {} nor {}", path.display(), REPORTS[0], REPORTS[1]);
        (format!("{what}: name a folder that --record left, or a file of --json"), Exit::Wrong)
    };
    found.map(|file| (file, Some(path.to_owned()))).ok_or_else(none)
}

fn text_of(path: &Path) -> Result<String, (String, Exit)> {
    let unread = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Wrong } else { Exit::Refused };
        (format!("`{}` cannot be read: {error}", path.display()), exit)
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LAB_REPORT_MAX + 1).read_to_end(&mut bytes))
        .map_err(unread)?;
    if bytes.len() as u64 > LAB_REPORT_MAX {
        return Err((format!("`{}` has more than {LAB_REPORT_MAX} bytes", path.display()), Exit::Wrong));
    }
    String::from_utf8(bytes)
        .map_err(|_| (format!("`{}`: it is no JSON: it is not UTF-8", path.display()), Exit::Wrong))
}

/// What else a folder has of a call, and how the logs of programs end that did not end well.
fn more(folder: &Path, one: &Explanation) -> Vec<String> {
    let mut more = Vec::new();
    let [left, right] = one.places;
    let of_call = format!("{left}-{right}-{}.pcapng", one.seed);
    let mut captures: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".pcapng"))
        .collect();
    captures.sort();
    if captures.contains(&of_call) {
        captures = vec![of_call];
    }
    for name in captures.iter().take(CAPTURES_MAX) {
        more.push(format!(
            "{}: every packet, with a comment; open it with Wireshark",
            folder.join(name).display()
        ));
    }
    for (name, what) in BESIDE {
        let path = folder.join(name);
        if path.is_file() {
            more.push(format!("{}: {what}", path.display()));
            if !one.is_fine && name != "server.log" {
                more.extend(tail(&path).into_iter().map(|line| format!("  | {line}")));
            }
        }
    }
    more
}

/// The last lines of a log.
fn tail(path: &Path) -> Vec<String> {
    use std::io::Seek as _;
    use std::io::SeekFrom;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).map(|line| (*line).to_owned()).collect()
}
