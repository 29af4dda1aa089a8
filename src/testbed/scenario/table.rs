//! A table of a scenario file, read key by key. What is left at the end nobody knows.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

use super::problem::Problem;

/// The mistakes found so far, and the text they are in.
#[derive(Debug)]
pub(super) struct Findings<'t> {
    text: &'t str,
    found: Vec<(usize, Problem)>,
}

impl<'t> Findings<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, at: &Range<usize>, what: impl Into<String>, instead: impl Into<String>) {
        let start = self.text.floor_char_boundary(at.start.min(self.text.len()));
        let line = 1 + self.text[..start].matches('\n').count();
        self.found.push((start, Problem { line: Some(line), what: what.into(), instead: instead.into() }));
    }

    /// In the order of the text.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(at, _)| *at);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// A table and which of its keys were asked for.
#[derive(Debug)]
pub(super) struct Table<'a, 't> {
    table: &'a DeTable<'t>,
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// What it is called in what people read.
    name: &'static str,
    asked: BTreeSet<&'static str>,
}

impl<'a, 't> Table<'a, 't> {
    pub(super) const fn new(table: &'a DeTable<'t>, span: Range<usize>, name: &'static str) -> Self {
        Self { table, span, name, asked: BTreeSet::new() }
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    /// The value of `key` as a text.
    pub(super) fn text(&mut self, key: &'static str, findings: &mut Findings<'_>) -> Option<Word<'a>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Word { text, span: value.span() }),
            _ => {
                findings.add(&value.span(), format!("`{key}` is no text"), "write it in quotes");
                None
            }
        }
    }

    /// The value of `key` as a text that `read` understands; its error says what to write instead.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings<'_>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let word = self.text(key, findings)?;
        let found = read(word.text);
        found.map_err(|instead| findings.add(&word.span, word.is_not(key), instead)).ok()
    }

    /// The value of `key` as a number of this range.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u32>,
        findings: &mut Findings<'_>,
    ) -> Option<u32> {
        let value = self.get(key)?;
        let number = number_of(value.get_ref()).filter(|number| range.contains(number));
        if number.is_none() {
            let instead = format!("write a whole number from {} to {}", range.start(), range.end());
            findings.add(&value.span(), format!("`{key}` is no such number"), instead);
        }
        number
    }

    /// The value of `key` as a table.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        name: &'static str,
        findings: &mut Findings<'_>,
    ) -> Option<Self> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(table, value.span(), name)),
            _ => {
                findings.add(&value.span(), format!("`{key}` is no table"), format!("write {key} = {{ … }}"));
                None
            }
        }
    }

    /// The first of `keys` that is there; more than one of them, or none, is a mistake.
    pub(super) fn one_of(
        &mut self,
        keys: &[&'static str],
        findings: &mut Findings<'_>,
    ) -> Option<&'static str> {
        let mut there = keys.iter().filter(|key| self.table.contains_key(**key));
        let first = there.next().copied();
        if first.is_none() {
            let what = format!("{} says nothing", self.name);
            findings.add(&self.span, what, format!("write one of {}", listed(keys)));
        } else if there.next().is_some() {
            let what = format!("{} says more than one thing", self.name);
            findings.add(&self.span, what, format!("write only one of {}", listed(keys)));
        }
        first
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, findings: &mut Findings<'_>) {
        for key in self.table.keys().filter(|key| !self.asked.contains(key.get_ref().as_ref())) {
            let known: Vec<&str> = self.asked.iter().copied().collect();
            let what = format!("{} knows no key `{}`", self.name, key.get_ref());
            findings.add(&key.span(), what, format!("there are {}", listed(&known)));
        }
    }
}

/// A text and where it stands.
#[derive(Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) span: Range<usize>,
}

impl Word<'_> {
    pub(super) fn is_not(&self, key: &str) -> String {
        format!("{:?} is no `{key}`", self.text)
    }
}

/// A whole number that fits.
pub(super) fn number_of(value: &DeValue<'_>) -> Option<u32> {
    let DeValue::Integer(number) = value else { return None };
    u32::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// Words in a sentence.
pub(super) fn listed(words: &[&str]) -> String {
    words.join(", ")
}
