//! Who may use whom. The table below is the map of the house; this test reads every path in src/ and holds it against
//! the table. A room may use only rooms above its line, so no cycle can be written.

mod guard;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use guard::Source;
use guard::line_of;

/// A room and what it may use: whole rooms, or single items of them. Its own inside it may always use.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
}

/// Stands for every room.
const EVERYTHING: &str = "*";

const ROOMS: &[Room] = &[
    // Said: pure.
    Room { name: "proto::types", may_use: &[] },
    Room { name: "proto::wire", may_use: &["proto::types"] },
    Room { name: "proto::peers", may_use: &["proto::types"] },
    Room { name: "proto::binding", may_use: &["proto::types", "proto::wire"] },
    Room { name: "proto::auth", may_use: &["proto::types", "proto::wire", "proto::binding"] },
    Room { name: "proto::media", may_use: &["proto::types", "proto::wire", "proto::peers"] },
    Room {
        name: "proto::turn",
        may_use: &[
            "proto::types",
            "proto::wire",
            "proto::peers",
            "proto::auth",
            "proto::media::Counters",
            "proto::media::NewAllocation",
            "proto::media::TableChange",
            "proto::media::Bandwidth",
            "proto::media::Bucket",
        ],
    },
    Room { name: "proto::client", may_use: &["proto::types", "proto::wire", "proto::auth"] },
    Room { name: "nat", may_use: &["proto::types"] },
    Room { name: "place", may_use: &["nat"] },
    Room {
        name: "sim",
        may_use: &[
            "nat",
            "proto::types",
            "proto::wire",
            "proto::peers",
            "proto::binding",
            "proto::auth",
            "proto::media",
            "proto::turn",
            "proto::client",
        ],
    },
    Room { name: "ice", may_use: &["proto::types", "proto::wire", "proto::client"] },
    // Done: input and output.
    Room { name: "ring", may_use: &[] },
    Room { name: "net", may_use: &["proto::types", "proto::wire"] },
    Room {
        name: "relay",
        may_use: &[
            "proto::types",
            "proto::wire",
            "proto::peers",
            "proto::auth",
            "proto::media",
            "ring",
            "net",
        ],
    },
    Room { name: "listen", may_use: &["proto::types", "proto::wire", "ring", "net", "relay"] },
    Room { name: "acme", may_use: &["proto::types", "net"] },
    Room { name: "mras", may_use: &["proto::types", "proto::auth", "net"] },
    Room {
        name: "control",
        may_use: &[
            "proto::types",
            "proto::wire",
            "proto::peers",
            "proto::auth",
            "proto::media",
            "proto::turn",
            "ring",
            "relay",
        ],
    },
    // Served: for people.
    Room {
        name: "admin",
        may_use: &[
            "proto::types",
            "proto::wire::ErrorCode",
            "proto::media::DropReason",
            "proto::turn::EndReason",
            "proto::turn::Event",
            "proto::turn::OpenFailure",
            "relay::stats",
            "control::view",
        ],
    },
    Room {
        name: "config",
        may_use: &[
            "proto::types",
            "proto::peers",
            "proto::auth",
            "proto::binding",
            "proto::turn",
            "relay::config",
            "admin::config",
            "net::Certificate",
            "net::certificate",
        ],
    },
    Room {
        name: "load",
        may_use: &[
            "proto::types",
            "proto::wire",
            "proto::auth",
            "proto::client",
            "nat",
            "place",
            "ice",
            "net",
        ],
    },
    Room {
        name: "testbed",
        may_use: &[
            "proto::types",
            "proto::wire",
            "proto::peers",
            "proto::binding",
            "proto::auth",
            "proto::media",
            "proto::turn",
            "proto::client",
            "nat",
            "place",
            "ice",
            "net",
            "control",
            "relay",
            "load",
        ],
    },
    Room { name: "cli", may_use: &[EVERYTHING] },
    // For programs that use a relay.
    Room { name: "client", may_use: &["proto::types", "proto::client"] },
    // For the programs beside the library.
    Room {
        name: "internals",
        may_use: &[
            "proto::types",
            "proto::wire",
            "proto::peers",
            "proto::binding",
            "proto::auth",
            "proto::media",
            "proto::turn",
            "proto::client",
            "config",
            "mras",
            "testbed::proxy",
        ],
    },
];

/// Files that only declare what lies below them.
const DECLARING: &[&str] = &["src/lib.rs", "src/proto/mod.rs"];

/// What the program's entry may use of the library.
const MAIN_MAY_USE: &[&str] = &["cli"];

/// Modules that may not name what stands beside them, whatever the rooms say.
struct Ban {
    module: &'static str,
    paths: &'static [&'static str],
    instead: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        module: "proto",
        paths: PURE,
        instead: "take it as an argument, or do it in a room of the second wing",
    },
    Ban { module: "nat", paths: PURE, instead: "take it as an argument" },
    Ban { module: "sim", paths: PURE, instead: "make it a number of this world" },
    Ban { module: "ice", paths: PURE, instead: "take it as an input, or put it out" },
    Ban { module: "relay::egress", paths: PURE, instead: "sort bytes here and send them in net" },
    Ban {
        module: "ring",
        paths: &["tokio", "std::sync::Mutex", "std::thread"],
        instead: "rings neither lock nor run",
    },
    Ban {
        module: "relay",
        paths: &["tokio", "std::sync::Mutex"],
        instead: "workers are plain threads without locks",
    },
    Ban { module: "config", paths: &["tokio", "socket2", "std::thread"], instead: "configuration is values" },
];

const PURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::os",
    "std::process",
    "std::thread",
    "axum",
    "getrandom",
    "libc",
    "rtrb",
    "rustix",
    "socket2",
    "tokio",
    "tracing",
];

#[test]
fn no_room_uses_what_the_map_forbids() {
    let violations: Vec<_> = guard::sources().iter().flat_map(violations).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_map_names_every_room_that_exists_and_no_other() {
    let existing: BTreeSet<_> =
        guard::sources().iter().filter_map(|source| folder_of(&source.path)).collect();
    let named: BTreeSet<_> = ROOMS.iter().map(|room| room.name.to_owned()).collect();
    assert_eq!(existing, named, "left: folders of src/; right: ROOMS in tests/layers.rs");
}

#[test]
fn each_room_uses_only_rooms_above_its_line() {
    for (line, room) in ROOMS.iter().enumerate() {
        for used in room.may_use.iter().filter(|used| **used != EVERYTHING) {
            let above = ROOMS[..line].iter().any(|other| is_within(used, other.name));
            assert!(above, "{} may use {used}, which no room above its line holds", room.name);
        }
    }
}

#[test]
fn the_architecture_page_shows_the_same_map() {
    let page = guard::read("docs/architecture.md");
    let shown: BTreeMap<_, BTreeSet<_>> = page.lines().filter_map(row).collect();
    for room in ROOMS {
        let may_use: BTreeSet<_> = room
            .may_use
            .iter()
            .map(|used| if *used == EVERYTHING { "everything" } else { used })
            .map(str::to_owned)
            .collect();
        assert_eq!(shown.get(room.name), Some(&may_use), "docs/architecture.md, row of {}", room.name);
    }
}

/// `| `room` | `used`, `used` | …` as room and what it may use.
fn row(line: &str) -> Option<(String, BTreeSet<String>)> {
    let mut cells = line.strip_prefix('|')?.split('|');
    let room = cells.next()?.trim().strip_prefix('`')?.strip_suffix('`')?;
    let used = cells.next()?;
    let words = used.split(',').map(|word| word.trim().trim_matches('`').to_owned());
    Some((room.to_owned(), words.filter(|word| !word.is_empty() && word != "–").collect()))
}

/// `src/room/…` and `src/proto/room/…`.
fn folder_of(path: &str) -> Option<String> {
    let mut parts = path.strip_prefix("src/")?.split('/');
    let (first, second) = (parts.next()?, parts.next()?);
    match (first, parts.next()) {
        ("proto", None) => None,
        ("proto", Some(_)) => Some(format!("proto::{second}")),
        _ => Some(first.to_owned()),
    }
}

/// Everything in `source` that the map forbids, as `file:line: rule; fix`.
fn violations(source: &Source) -> Vec<String> {
    let module = module_of(&source.path);
    let mut found = Vec::new();
    for (path, line) in paths(&source.shipped, &module) {
        let place = format!("{}:{line}", source.path);
        match path.strip_prefix("crate::") {
            Some(ours) => {
                found.extend(judge(&source.path, &module, ours).map(|rule| format!("{place}: {rule}")))
            }
            None => found.extend(banned(&module, &path).map(|rule| format!("{place}: {rule}"))),
        }
    }
    found
}

fn judge(file: &str, module: &str, path: &str) -> Option<String> {
    if DECLARING.contains(&file) {
        return None;
    }
    if file == "src/main.rs" {
        let allowed = MAIN_MAY_USE.iter().any(|used| is_within(path, used));
        return (!allowed).then(|| {
            format!("the program's entry may not use `{path}`; let it call `cli` and nothing else")
        });
    }
    let Some(room) = ROOMS.iter().find(|room| is_within(module, room.name)) else {
        return Some(
            "this file lies in no room of the map; add a row to ROOMS in tests/layers.rs".to_owned(),
        );
    };
    let may = |used: &&str| *used == EVERYTHING || is_within(path, used);
    if is_within(path, room.name) || room.may_use.iter().any(may) {
        return None;
    }
    Some(format!(
        "`{}` may not use `{path}`, only [{}]; move the code to the room that may, pass the value in as an argument, \
         or, where the map itself is wrong, change ROOMS in tests/layers.rs and docs/architecture.md with the reason",
        room.name,
        room.may_use.join(", ")
    ))
}

fn banned(module: &str, path: &str) -> Option<String> {
    let ban = BANS.iter().find(|ban| {
        is_within(module, ban.module) && ban.paths.iter().any(|banned| is_within(path, banned))
    })?;
    Some(format!("`{}` may not name `{path}`; {}", ban.module, ban.instead))
}

/// Whether `path` is `outer` or lies in it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module of the file at `path`, without `crate::`; empty for the crate's root.
fn module_of(path: &str) -> String {
    let inner = path.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs")).expect("a file of src/");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    if matches!(inner, "lib" | "main") { String::new() } else { inner.replace('/', "::") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    PathSep,
    Other(u8),
}

/// Every path of at least two segments in `code`, with its line. Paths of this crate begin with `crate::`, whichever
/// way they were written; groups are taken apart.
fn paths(code: &str, module: &str) -> Vec<(String, usize)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut inline: Vec<(usize, &str)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let (token, offset) = tokens[at];
        match token {
            Token::Other(b'{') => depth += 1,
            Token::Other(b'}') => {
                depth = depth.saturating_sub(1);
                inline.retain(|(opened_at, _)| *opened_at < depth);
            }
            Token::Word("mod") => {
                if let (Some((Token::Word(name), _)), Some((Token::Other(b'{'), _))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    inline.push((depth, name));
                }
            }
            Token::Word(_) if begins_path(&tokens, at) => {
                let mut leaves = Vec::new();
                let behind = leaves_of(&tokens, at, String::new(), &mut leaves);
                let here = inline.iter().fold(module.to_owned(), |path, (_, name)| join(&path, name));
                found.extend(leaves.iter().map(|leaf| (resolve(leaf, &here), line_of(code, offset))));
                at = behind;
                continue;
            }
            Token::Word(_) | Token::PathSep | Token::Other(_) => {}
        }
        at += 1;
    }
    found
}

fn begins_path(tokens: &[(Token<'_>, usize)], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| tokens[before].0);
    // `pub(in crate::room)` says who may look in, not what is used.
    let is_visibility =
        before == Some(Token::Word("in")) && at >= 2 && tokens[at - 2].0 == Token::Other(b'(');
    if is_visibility {
        return false;
    }
    tokens.get(at + 1).is_some_and(|next| next.0 == Token::PathSep) && before != Some(Token::PathSep)
}

/// Reads the path or use-tree at `at`; answers where it ends.
fn leaves_of(tokens: &[(Token<'_>, usize)], at: usize, prefix: String, leaves: &mut Vec<String>) -> usize {
    match tokens.get(at).map(|token| token.0) {
        Some(Token::Word(word)) => {
            let path = join(&prefix, word);
            let goes_on = tokens.get(at + 1).is_some_and(|next| next.0 == Token::PathSep);
            let more = tokens.get(at + 2).map(|token| token.0);
            if goes_on && matches!(more, Some(Token::Word(_) | Token::Other(b'{' | b'*'))) {
                return leaves_of(tokens, at + 2, path, leaves);
            }
            leaves.push(path);
            at + 1
        }
        Some(Token::Other(b'{')) => {
            let mut at = at + 1;
            while let Some((token, _)) = tokens.get(at) {
                match token {
                    Token::Other(b'}') => return at + 1,
                    Token::Word("as") => at += 2,
                    Token::Other(b',') => at += 1,
                    _ => at = leaves_of(tokens, at, prefix.clone(), leaves),
                }
            }
            at
        }
        _ => {
            leaves.push(join(&prefix, "*"));
            at + 1
        }
    }
}

/// Turns `super::…` and `self::…` into `crate::…`, and so the library's own name.
fn resolve(path: &str, here: &str) -> String {
    let mut here: Vec<_> = here.split("::").filter(|part| !part.is_empty()).collect();
    let mut rest = path;
    if let Some(ours) = path.strip_prefix(concat!(env!("CARGO_PKG_NAME"), "::")) {
        return format!("crate::{ours}");
    }
    if !path.starts_with("super::") && !path.starts_with("self::") {
        return path.to_owned();
    }
    loop {
        if let Some(shorter) = rest.strip_prefix("super::") {
            here.pop();
            rest = shorter;
        } else if let Some(shorter) = rest.strip_prefix("self::") {
            rest = shorter;
        } else {
            break;
        }
    }
    here.insert(0, "crate");
    here.push(rest);
    here.join("::")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") }
}

fn tokens(code: &str) -> Vec<(Token<'_>, usize)> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length =
            bytes[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        if length > 0 {
            tokens.push((Token::Word(&code[at..at + length]), at));
            at += length;
        } else if bytes[at..].starts_with(b"::") {
            tokens.push((Token::PathSep, at));
            at += 2;
        } else {
            if !bytes[at].is_ascii_whitespace() {
                tokens.push((Token::Other(bytes[at]), at));
            }
            at += 1;
        }
    }
    tokens
}

mod of_the_checker {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        violations(&Source::new(path, text))
    }

    #[test]
    fn a_planted_violation_is_found_with_its_line_rule_and_fix() {
        let found = check("src/proto/wire/decode.rs", "//! Doc.\n\nuse crate::proto::turn::Event;\n");
        assert_eq!(found.len(), 1, "{found:?}");
        for part in
            ["src/proto/wire/decode.rs:3", "`proto::wire` may not use `proto::turn::Event`", "pass the value"]
        {
            assert!(found[0].contains(part), "{found:?}");
        }
    }

    #[test]
    fn every_way_of_writing_the_path_is_seen() {
        for text in [
            "use crate::relay::Report;",
            "pub use crate::relay::Report as R;",
            "use crate::{proto::types::Tick, relay::Report};",
            "use crate::{\n    proto::types::{Tick, Now},\n    relay::{self, Report},\n};",
            "use crate::relay::*;",
            "use crate::*;",
            "use super::super::super::relay::Report;",
            "mod inner { use super::super::super::super::relay::Report; }",
            "fn f(_: crate::relay::Report) {}",
            "fn f() -> Vec<crate::relay::Report> { vec![] }",
            "const C: u8 = crate :: relay :: C;",
            "impl crate::relay::Work for X {}",
            "use swingbridge::relay::Report;",
            "fn f() { for each in crate::relay::ALL {} }",
        ] {
            let found = check("src/proto/auth/nonce.rs", text);
            assert!(!found.is_empty(), "unseen: {text}");
            assert!(found.iter().all(|each| each.contains("`proto::auth` may not use")), "{found:?}");
        }
    }

    #[test]
    fn comments_strings_and_tests_are_no_use() {
        for text in [
            "// use crate::relay::Report;",
            "/// See [`crate::relay::Report`].",
            "/* /* nested */ use crate::relay::Report; */",
            "const A: &str = \"crate::relay::Report\";",
            "const A: &str = r#\"say \" crate::relay::Report\"#;",
            "#[cfg(test)]\nmod tests {\n    use crate::relay::Report;\n    fn f() { let _ = '}'; }\n}\n",
            "#[cfg(test)]\nuse crate::relay::Report;\n",
            "pub(in crate::proto) fn f() {}",
        ] {
            assert_eq!(check("src/proto/auth/nonce.rs", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_stands_behind_a_test_module_is_still_read() {
        let text = "#[cfg(test)]\nmod tests { const Q: char = '\"'; }\nuse crate::relay::Report;\n";
        let found = check("src/proto/auth/nonce.rs", text);
        assert!(found.len() == 1 && found[0].contains("nonce.rs:3"), "{found:?}");
    }

    #[test]
    fn what_the_map_allows_passes() {
        for (path, text) in [
            (
                "src/proto/auth/nonce.rs",
                "use crate::proto::types::Tick;\nuse super::credential::Credentials;",
            ),
            ("src/proto/turn/server.rs", "use crate::proto::media::{Counters, TableChange};"),
            ("src/admin/metrics.rs", "use crate::control::view::ControlView;\nuse super::Sources;"),
            ("src/cli/serve.rs", "use crate::{config, control, relay};"),
            ("src/main.rs", "fn main() { swingbridge::cli::run() }"),
            ("src/lib.rs", "pub use crate::proto::types::Tick;"),
        ] {
            assert_eq!(check(path, text), Vec::<String>::new(), "{path}");
        }
    }

    #[test]
    fn an_item_that_the_map_names_does_not_open_its_room() {
        for (path, text) in [
            ("src/proto/turn/server.rs", "use crate::proto::media::Table;"),
            ("src/proto/turn/server.rs", "use crate::proto::media;"),
            ("src/proto/turn/server.rs", "use crate::proto::media::TableChanges;"),
            ("src/admin/http.rs", "use crate::control::task::Task;"),
            ("src/relay/worker.rs", "use crate::config::Config;"),
            ("src/main.rs", "use swingbridge::relay::Report;"),
        ] {
            assert_eq!(check(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn a_folder_without_a_row_is_a_violation() {
        let found = check("src/attic/old.rs", "use crate::proto::types::Tick;");
        assert!(found.len() == 1 && found[0].contains("no room of the map"), "{found:?}");
    }

    #[test]
    fn the_pure_wing_names_no_machine() {
        for text in [
            "use std::thread;",
            "use std::{fmt, fs};",
            "fn f() { std::process::exit(1) }",
            "use tokio::net::UdpSocket;",
            "fn f() { tracing::info!(\"x\") }",
        ] {
            assert_eq!(check("src/proto/auth/nonce.rs", text).len(), 1, "{text}");
        }
        assert_eq!(check("src/proto/auth/nonce.rs", "use std::net::SocketAddr;"), Vec::<String>::new());
    }

    #[test]
    fn a_lifetime_is_no_character_and_a_quote_in_one_no_string() {
        let text =
            "fn f<'a>(x: &'a str) -> char { match x { _ => '\\'' } }\nuse crate::relay::Report; // '\n";
        let found = check("src/proto/auth/nonce.rs", text);
        assert!(found.len() == 1 && found[0].contains("nonce.rs:2"), "{found:?}");
        let found = check("src/proto/auth/nonce.rs", "const Q: u8 = b'\"';\nuse crate::relay::Report;\n");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
