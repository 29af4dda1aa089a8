//! From text to known keys with their spans. Everything unknown or misspelt is reported here.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use super::problem::Problem;
use super::schema::KEYS;
use super::schema::Key;
use super::schema::Kind;
use super::schema::Unset;
use super::schema::find;
use super::schema::is_section;
use super::suggest;

/// A key that stands in the document, or its default.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'static Key,
    pub(crate) value: DeValue<'a>,
    /// Where the value stands; `None` for a default.
    pub(crate) span: Option<Range<usize>>,
}

/// All that was understood of a text.
#[derive(Debug, Default)]
pub(crate) struct Document<'a> {
    /// By path. Each key with a default is there.
    pub(crate) entries: BTreeMap<&'static str, Entry<'a>>,
    /// Where the section headers stand, by name.
    pub(crate) sections: BTreeMap<String, Range<usize>>,
    pub(crate) problems: Vec<Problem>,
    /// Stretches of the text that may hold a secret.
    pub(crate) hidden: Vec<Range<usize>>,
    /// Whether the text is no TOML, so that values are guesses.
    pub(crate) broken: bool,
    text: &'a str,
}

/// Reads `text` as far as it can be understood.
pub(crate) fn parse(text: &str) -> Document<'_> {
    let mut document = Document { text, ..Document::default() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in without_cascade(&errors) {
        document.syntax(error);
    }
    document.walk(table.get_ref());
    for key in KEYS {
        if let (Unset::Value(default), false) = (key.unset, document.entries.contains_key(key.path)) {
            let value = DeValue::parse(default).expect("defaults are TOML: a test of this file parses each");
            document.entries.insert(key.path, Entry { key, value: value.into_inner(), span: None });
        }
    }
    document
}

impl<'a> Document<'a> {
    fn syntax(&mut self, error: &toml::de::Error) {
        let text = self.text;
        let span = error.span().unwrap_or(0..0);
        let rule = match error.message() {
            message if message.starts_with("invalid boolean") => "a text without quotes",
            message => message,
        };
        let fix = syntax_fix(error.message());
        self.problems.push(Problem::error("", Some(span.clone()), rule, fix));
        self.broken = true;
        // A text that could not be understood may hold a secret anywhere: of the line only what is surely none is
        // shown.
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let shown = line_start + showable(text, line_start..line_end);
        if shown < line_end {
            self.hidden.push(shown..line_end);
        }
    }

    fn walk(&mut self, root: &DeTable<'a>) {
        for (name, value) in root {
            let name_text = name.get_ref().as_ref();
            if let Some(key) = find(name_text) {
                self.insert(key, value);
                continue;
            }
            if !is_section(name_text) {
                self.unknown("", name, value);
                continue;
            }
            self.sections.insert(name_text.to_owned(), name.span());
            let DeValue::Table(section) = value.get_ref() else {
                self.hide(value);
                if self.broken {
                    continue;
                }
                self.problems.push(no_section(name_text, value));
                continue;
            };
            self.section(name_text, section);
        }
    }

    fn section(&mut self, path: &str, section: &DeTable<'a>) {
        for (name, value) in section {
            let inner = format!("{path}.{}", name.get_ref());
            match (find(&inner), value.get_ref()) {
                (Some(key), _) => self.insert(key, value),
                (None, DeValue::Table(section)) if is_section(&inner) => {
                    self.sections.insert(inner.clone(), name.span());
                    self.section(&inner, section);
                }
                (None, _) if is_section(&inner) && !self.broken => {
                    self.hide(value);
                    self.problems.push(no_section(&inner, value));
                }
                (None, _) => self.unknown(path, name, value),
            }
        }
    }

    fn insert(&mut self, key: &'static Key, value: &Spanned<DeValue<'a>>) {
        match key.kind {
            Kind::Secrets => self.hide_secrets(value),
            Kind::Users => match value.get_ref() {
                DeValue::Table(users) => users.values().for_each(|value| self.hide_secrets(value)),
                _ => self.hide(value),
            },
            Kind::TokenKeys | Kind::MrasKeys => self.hide_token_keys(value),
            _ => {}
        }
        let entry = Entry { key, value: value.get_ref().clone(), span: Some(value.span()) };
        self.entries.insert(key.path, entry);
    }

    fn unknown(
        &mut self,
        section: &str,
        name: &Spanned<std::borrow::Cow<'a, str>>,
        value: &Spanned<DeValue<'a>>,
    ) {
        // `secret = "..."` is unknown here and a secret all the same.
        self.hide(value);
        let name_text = name.get_ref().as_ref();
        if self.broken {
            // In a broken text a value may have been taken for a name, and a value's place is a guess.
            if !is_ours(name_text) {
                return;
            }
            let end = name.span().end.min(self.text.len());
            let line_end = self.text[end..].find('\n').map_or(self.text.len(), |newline| end + newline);
            self.hidden.push(end..line_end);
        }
        let is_table = matches!(value.get_ref(), DeValue::Table(_)) && section.is_empty();
        let what = if is_table { "section" } else { "key" };
        let key = if section.is_empty() { String::new() } else { format!("[{section}]") };
        self.problems.push(Problem::error(
            key.trim_matches(['[', ']']),
            Some(name.span()),
            format!("unknown {what} `{name_text}`"),
            suggest::for_unknown_key(section, name_text),
        ));
    }

    /// Hides all of `value`.
    fn hide(&mut self, value: &Spanned<DeValue<'a>>) {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().for_each(|value| self.hide(value)),
            DeValue::Table(table) => table.values().for_each(|value| self.hide(value)),
            _ => self.hidden.push(value.span()),
        }
    }

    /// Hides the key of each table of `value`, and all that is no such table.
    fn hide_token_keys(&mut self, value: &Spanned<DeValue<'a>>) {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().for_each(|value| self.hide_token_keys(value)),
            DeValue::Table(table) => {
                for (name, value) in table {
                    match name.get_ref().as_ref() {
                        "kid" | "algorithm" | "not_before" | "not_after" => {}
                        "key" | "key1" | "key2" => self.hide_secrets(value),
                        _ => self.hide(value),
                    }
                }
            }
            _ => self.hide(value),
        }
    }

    /// Hides the secrets of `value`, but not where they are to be fetched from.
    fn hide_secrets(&mut self, value: &Spanned<DeValue<'a>>) {
        match value.get_ref() {
            DeValue::Array(array) => array.iter().for_each(|value| self.hide_secrets(value)),
            DeValue::Table(table) => {
                for (name, value) in table {
                    if !matches!(name.get_ref().as_ref(), "file" | "env" | "credential") {
                        self.hide(value);
                    }
                }
            }
            _ => self.hidden.push(value.span()),
        }
    }
}

fn no_section(path: &str, value: &Spanned<DeValue<'_>>) -> Problem {
    Problem::error(
        path,
        Some(value.span()),
        format!("`{path}` is a section, not {}", article(value.get_ref())),
        format!("write [{path}] on a line of its own and its keys below"),
    )
}

/// The errors less those that an array without an end draws after it.
fn without_cascade(errors: &[toml::de::Error]) -> impl Iterator<Item = &toml::de::Error> {
    let says = |error: &toml::de::Error, what: &str| error.message().starts_with(what);
    let unclosed = errors.iter().any(|error| says(error, "unclosed array"));
    let first =
        errors.iter().position(|error| unclosed && says(error, "missing comma between array elements"));
    // A string without an end takes the array's end along.
    let in_string = move |at: &toml::de::Error| {
        errors.iter().any(|error| error.span() == at.span() && says(error, "invalid basic string"))
    };
    errors
        .iter()
        .take(first.map_or(errors.len(), |first| first + 1))
        .filter(move |error| !(says(error, "unclosed array") && in_string(error)))
}

/// How many bytes of a line of a broken text can be shown: all of a header or of a key that holds no secret, the
/// name alone of what is nearly one of ours, nothing of anything else.
fn showable(text: &str, line: Range<usize>) -> usize {
    let header = text[..line.start].lines().rev().map(str::trim).find(|line| line.starts_with('['));
    let section = header.map_or("", |header| header.trim_matches(['[', ']']).trim());
    let line = &text[line];
    let (name, rest) = line.find('=').map_or((line, ""), |equals| line.split_at(equals));
    let path = if section.is_empty() { name.trim().to_owned() } else { format!("{section}.{}", name.trim()) };
    // Where a newline was forgotten, the next key and its value stand behind this one's.
    let another = KEYS.iter().any(|key| key.is_secret() && rest.contains(key.name()));
    if !another && find(&path).is_some_and(|key| !key.is_secret()) {
        return line.len();
    }
    let first_word = name.split_whitespace().next().unwrap_or("");
    if rest.is_empty()
        && section.is_empty()
        && KEYS.iter().any(|key| !key.is_secret() && key.path == first_word)
    {
        return line.len();
    }
    if is_ours(name) { name.len() + usize::from(!rest.is_empty()) } else { 0 }
}

/// Whether `text` is one of our names, or nearly: a key with or without its section, or a section's header.
fn is_ours(text: &str) -> bool {
    let bare = text.trim().trim_matches(['[', ']']).trim();
    let names =
        KEYS.iter().flat_map(|key| [key.path, key.name(), key.section()]).filter(|name| !name.is_empty());
    suggest::nearest(bare, names).is_some()
}

/// What the parser's complaint most often means.
fn syntax_fix(message: &str) -> &'static str {
    const ARRAY: &str = "check brackets, braces and commas: udp = [\"0.0.0.0:3478\", \"[::]:3478\"]";
    const HEADER: &str = "a section stands in brackets on a line of its own: [listen]";
    const QUOTES: &str = "texts stand in double quotes on one line: realm = \"example.net\"";
    const CURES: [(&str, &str); 10] = [
        ("duplicate key", "keep one of them; each key and each section stands once"),
        ("unquoted key", "keys are written in letters a to z, digits, _ and -"),
        ("key with no value", "write key = value"),
        ("between array elements", "close the array above with ], or write the comma before this"),
        ("unclosed table", HEADER),
        ("array", ARRAY),
        ("inline table", ARRAY),
        ("table", HEADER),
        ("string", QUOTES),
        ("boolean", QUOTES),
    ];
    let cure = CURES.iter().find(|(part, _)| message.contains(part));
    cure.map_or("write one key = value on a line, texts in double quotes, sections as [name]", |(_, cure)| {
        cure
    })
}

/// The kind of `value`, as people say it.
pub(crate) fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_every_example_is_toml() {
        for key in KEYS {
            let text = match key.unset {
                Unset::Value(text) | Unset::Nothing { example: text, .. } => text,
            };
            assert!(DeValue::parse(text).is_ok(), "{}: {text}", key.path);
        }
    }

    #[test]
    fn an_empty_text_gives_every_default() {
        let document = parse("");
        assert!(document.problems.is_empty());
        for key in KEYS {
            let has_default = matches!(key.unset, Unset::Value(_));
            assert_eq!(document.entries.contains_key(key.path), has_default, "{}", key.path);
        }
    }

    #[test]
    fn several_syntax_errors_and_unknown_keys_are_all_reported() {
        let document = parse("realm = \"a\nrelm = \"b\"\n[log\nlevel = \"info\"\n[limts]\nx = 1\n");
        assert!(document.problems.len() >= 3, "{:#?}", document.problems);
    }

    #[test]
    fn whatever_holds_a_secret_is_hidden() {
        for text in [
            "[auth]\nsecrets = [\"hunter2\"]",
            "[auth]\nsecrets = \"hunter2\"",
            "auth.secrets = [[\"hunter2\"]]",
            "[auth]\nsecrets = [{ fle = \"hunter2\" }]",
            "[auth]\nusers = { a = \"hunter2\" }",
            "[auth]\nusers = { file = \"hunter2\" }",
            "[auth]\nusers = [\"hunter2\"]",
            "[auth.users]\na = \"hunter2\"",
            "[auth]\nsecret = \"hunter2\"",
            "[auht]\nsecrets = [\"hunter2\"]",
            "auth = \"hunter2\"",
            "[auth]\nsecrets = [\"hunter2]",
            "[auth]\nsecrets = [hunter2]",
            "[auth]\nsecrets = [\n\"hunter2\nx",
            "[auth]\nsecrets = [\"a\", \"hunter2\"",
            "[auth]\nsecrets = ['hunter2]",
            "[auth]\nsecrets = \"\"\"hunter2",
            "[auth]\nsecrets: \"hunter2\"",
            "[auth]\nsecrets=[\"x\"] \"hunter2\"",
        ] {
            let document = parse(text);
            let report = crate::config::Report::new("a", text, document.problems, document.hidden);
            let shown = report.render(false);
            assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        }
    }

    #[test]
    fn no_slip_of_the_keyboard_shows_a_secret() {
        // Long enough that the slip itself cannot hide it.
        let secret = "hunter2-hunter2-hunter2";
        let sound = [
            "realm = \"a\"\n[auth]\nsecrets = [\"SECRET\", { env = \"X\" }]\nnonce_lifetime = \"1h\"\n",
            "[auth]\nsecrets = [\n  \"SECRET\",\n  'SECRET',\n]\n[log]\nlevel = \"info\"\n",
            "[auth.users]\nalice = \"SECRET\"\nlevel = \"SECRET\"\n",
            "[auth]\nusers = { alice = \"SECRET\", bob = 'SECRET' }\nsecrets = [\"\"\"SECRET\"\"\"]\n",
            "auth.secrets = [\"\"\"\nSECRET\"\"\"]\nlog.level = \"info\"\n",
            "[auth]\nmobility = true\nusers = { a = \"SECRET\" }\n",
            "[auth]\nserver_name = \"t\"\noauth = [{ key = \"SECRET\" }]\n",
        ];
        for text in sound.map(|text| text.replace("SECRET", secret)) {
            for at in 0..text.len() {
                let mut slips = vec![text[..at].to_owned(), format!("{}{}", &text[..at], &text[at + 1..])];
                slips.extend(
                    ["\"", "'", "=", "[", "]", "{", "}", "\n", "#", ",", "x", "\\"]
                        .map(|extra| format!("{}{extra}{}", &text[..at], &text[at..])),
                );
                for slip in slips {
                    let shown =
                        crate::config::load("a", &slip, &crate::config::source::Nowhere).report.render(false);
                    assert!(!shown.contains("hunter2"), "{slip}\n{shown}");
                }
            }
        }
    }

    #[test]
    fn where_a_secret_is_fetched_from_is_shown() {
        let text = "[auth]\nsecrets = [{ file = \"s.txt\" }]\nusers = { a = { env = \"A\" } }";
        assert!(parse(text).hidden.is_empty());
    }
}
