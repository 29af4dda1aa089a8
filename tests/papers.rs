//! The manual pages and the completions of shells are made from the declaration of the command line, and committed: this
//! test keeps them alike. `SWINGBRIDGE_BLESS=1 cargo test --test papers` writes them anew.
#![cfg(feature = "server")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use clap::Command;
use clap::CommandFactory as _;
use clap_complete::Shell;
use swingbridge::cli::Args;

const PAGES: &str = "docs/man";
const COMPLETIONS: &str = "conf/completions";

#[test]
fn the_committed_manual_pages_are_those_of_the_command() {
    compare(PAGES, &pages());
}

#[test]
fn the_committed_completions_are_those_of_the_command() {
    compare(COMPLETIONS, &completions());
}

#[test]
fn every_subcommand_and_every_flag_has_its_place_in_the_pages() {
    let pages = pages();
    let page = |name: &str| String::from_utf8_lossy(&pages[name]).replace('\\', "");
    for subcommand in command().get_subcommands() {
        let name = format!("swingbridge-{}.1", subcommand.get_name());
        assert!(page("swingbridge.1").contains(subcommand.get_name()), "{name}");
        for flag in subcommand.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(page(&name).contains(&format!("--{flag}")), "{name} lacks --{flag}");
        }
        assert!(page(&name).contains("Exit codes:"), "{name}");
    }
}

fn command() -> Command {
    // The width of the terminal must not show.
    let mut command = Args::command().term_width(80).disable_help_subcommand(true);
    command.build();
    command
}

fn pages() -> BTreeMap<String, Vec<u8>> {
    let mut pages = BTreeMap::new();
    let command = command();
    let render = |command: Command| {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).expect("memory takes everything");
        as_written(&String::from_utf8(page).expect("text")).into_bytes()
    };
    for subcommand in command.get_subcommands() {
        let name = format!("swingbridge-{}", subcommand.get_name());
        // The page is called what `man` is asked for.
        let title: &'static str = Box::leak(name.clone().into_boxed_str());
        pages.insert(format!("{name}.1"), render(subcommand.clone().name(title)));
    }
    pages.insert("swingbridge.1".to_owned(), render(command));
    pages
}

/// The page with its examples set line by line, as the help shows them, not filled to the width of a paragraph.
fn as_written(page: &str) -> String {
    let (before, rest) = page.split_once(".SH EXTRA\n").expect("every help ends with examples");
    let (examples, after) = rest
        .split_once(".SH ")
        .map_or((rest, String::new()), |(examples, after)| (examples, format!(".SH {after}")));
    format!("{before}.SH \"EXAMPLES AND EXIT CODES\"\n.nf\n{examples}.fi\n{after}")
}

fn completions() -> BTreeMap<String, Vec<u8>> {
    [(Shell::Bash, "swingbridge.bash"), (Shell::Zsh, "_swingbridge"), (Shell::Fish, "swingbridge.fish")]
        .map(|(shell, name)| {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "swingbridge", &mut script);
            (name.to_owned(), script)
        })
        .into()
}

fn compare(folder: &str, made: &BTreeMap<String, Vec<u8>>) {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if std::env::var_os("SWINGBRIDGE_BLESS").is_some() {
        for (name, text) in made {
            fs::write(folder.join(name), text).expect("the folder of the checkout is writable");
        }
    }
    let there: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
        .expect("the folder is committed")
        .map(|entry| entry.expect("it can be read").path())
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, fs::read(path).expect("it can be read"))
        })
        .collect();
    let names = |papers: &BTreeMap<String, Vec<u8>>| papers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(made));
    for (name, text) in made {
        assert!(
            there[name] == *text,
            "{name} is not what the command line says: SWINGBRIDGE_BLESS=1 cargo test --test papers writes it anew"
        );
    }
}
