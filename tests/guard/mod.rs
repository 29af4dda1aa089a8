//! What the guards share: the source files of the package, and their text without comments, strings and tests.

#![allow(dead_code, reason = "each guard is a program of its own and uses its part of this")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// One source file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Where it is, from the package's root, with forward slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its text with comments, string and character literals blanked out: same bytes a line, same lines.
    pub(crate) code: String,
    /// [`Self::code`] with everything behind `#[cfg(test)]` blanked out too; all of it in a file of tests.
    pub(crate) shipped: String,
    /// For each line, whether it belongs to a test.
    pub(crate) is_test: Vec<bool>,
}

impl Source {
    /// Reads `text` as the file `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let items = test_items(&code);
        let mut is_test = vec![false; text.lines().count()];
        for (from, to) in &items {
            is_test[line_of(&code, *from) - 1..line_of(&code, *to - 1)].fill(true);
        }
        let shipped = blank_items(&code, &items);
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped, is_test }
    }
}

/// The package's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of the file at `path` from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file under src/, sorted. Files that are declared as `#[cfg(test)] mod name;` count as tests.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources: Vec<_> = files("src")
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .map(|path| Source::new(path, &read(path)))
        .collect();
    let tests: BTreeSet<_> = sources.iter().flat_map(test_files).collect();
    for source in &mut sources {
        let is_test = |test: &String| {
            source.path == format!("{test}.rs") || source.path.starts_with(&format!("{test}/"))
        };
        if tests.iter().any(is_test) {
            source.shipped = blank(&source.code);
            source.is_test.fill(true);
        }
    }
    sources
}

/// Every file under `folder`, from the root, sorted, without build products and version control.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path: PathBuf = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "node_modules") {
                    folders.push(path);
                }
            } else {
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// The line of byte `offset`, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
}

/// The byte behind the bracket that closes the one at `open`.
pub(crate) fn behind_bracket(code: &str, open: usize) -> usize {
    let bytes = code.as_bytes();
    let (opening, closing) = match bytes[open] {
        b'{' => (b'{', b'}'),
        b'[' => (b'[', b']'),
        b'(' => (b'(', b')'),
        other => panic!("{} is no bracket", char::from(other)),
    };
    let mut depth = 0_usize;
    for (offset, byte) in bytes.iter().enumerate().skip(open) {
        if *byte == opening {
            depth += 1;
        } else if *byte == closing {
            depth -= 1;
            if depth == 0 {
                return offset + 1;
            }
        }
    }
    bytes.len()
}

fn blank(text: &str) -> String {
    text.chars().map(|each| if each == '\n' { '\n' } else { ' ' }).collect()
}

/// Replaces each byte of a comment and of a literal's inside by a space.
pub(crate) fn blank_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The end of the comment or literal that begins at `at`; `at` itself if none does.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    let in_word = at > 0 && is_word(bytes[at - 1]);
    match rest[0] {
        b'r' | b'b' | b'c' if !in_word => prefixed_end(bytes, at),
        b'"' => quoted_end(bytes, at + 1, b'"'),
        b'\'' => character_end(bytes, at),
        _ => at,
    }
}

/// `r"…"`, `br#"…"#`, `b"…"`, `b'…'`, `c"…"`; a name that merely begins with these letters is none.
fn prefixed_end(bytes: &[u8], at: usize) -> usize {
    let letters = bytes[at..].iter().take(2).take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let raw = bytes[at..at + letters].contains(&b'r');
    let behind = at + letters;
    let hashes = bytes[behind..].iter().take_while(|byte| **byte == b'#').count();
    match bytes.get(behind + hashes) {
        Some(b'"') if raw => {
            let closing = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            let inside = behind + hashes + 1;
            let length = bytes[inside..].windows(closing.len()).position(|window| window == closing);
            length.map_or(bytes.len(), |length| inside + length + closing.len())
        }
        Some(b'"') if hashes == 0 => quoted_end(bytes, behind + 1, b'"'),
        Some(b'\'') if hashes == 0 && &bytes[at..behind] == b"b" => quoted_end(bytes, behind + 1, b'\''),
        _ => at,
    }
}

/// A character literal, or `at` where the quote begins a lifetime.
fn character_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'\\') => quoted_end(bytes, at + 1, b'\''),
        Some(_) => {
            let text = String::from_utf8_lossy(&bytes[at + 1..bytes.len().min(at + 6)]).into_owned();
            let width = text.chars().next().map_or(1, char::len_utf8);
            if bytes.get(at + 1 + width) == Some(&b'\'') { at + 2 + width } else { at }
        }
        None => at,
    }
}

fn quoted_end(bytes: &[u8], inside: usize, quote: u8) -> usize {
    let mut at = inside;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = at;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The attributes that keep an item out of the shipped program.
const TEST_ATTRIBUTES: [&str; 4] = ["#[cfg(test)]", "#[cfg(all(test,", "#[cfg(any(test,", "#[test]"];

/// Blanks out each of `items`.
fn blank_items(code: &str, items: &[(usize, usize)]) -> String {
    let mut shipped = code.as_bytes().to_vec();
    for (from, to) in items {
        for byte in &mut shipped[*from..*to] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8_lossy(&shipped).into_owned()
}

/// Each item behind a test attribute: to its closing brace, or to its semicolon.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for attribute in TEST_ATTRIBUTES {
        for (from, _) in code.match_indices(attribute) {
            let behind = behind_bracket(code, from + 1);
            items.push((from, item_end(code, behind)));
        }
    }
    items
}

/// The end of the item that begins behind `at`: further attributes, then everything to a `;`, or to the brace that
/// closes its first one.
fn item_end(code: &str, at: usize) -> usize {
    let bytes = code.as_bytes();
    let mut at = at;
    while at < bytes.len() {
        match bytes[at] {
            b'[' | b'(' => at = behind_bracket(code, at),
            b'{' => return behind_bracket(code, at),
            b';' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The files, without their ending, of modules that `source` declares as `#[cfg(test)] mod name;`.
fn test_files(source: &Source) -> Vec<String> {
    let (folder, name) = source.path.rsplit_once('/').expect("a folder");
    let name = name.strip_suffix(".rs").expect("a Rust file");
    let folder = match name {
        "mod" | "lib" | "main" => folder.to_owned(),
        name => format!("{folder}/{name}"),
    };
    test_items(&source.code)
        .into_iter()
        .filter_map(|(from, to)| {
            let item = source.code[from..to].strip_suffix(';')?;
            let (_, module) = item.rsplit_once("mod ")?;
            Some(format!("{folder}/{}", module.trim()))
        })
        .collect()
}
