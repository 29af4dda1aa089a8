//! A value of a report, with its path: so that whatever is wrong can be said where it is.

use std::fmt;

use serde_json::Value;

/// What is wrong with a report, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, such as `cells[3].calls[0].seed`; empty: the whole of it.
    pub field: String,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            return out.write_str(&self.what);
        }
        write!(out, "`{}` {}", self.field, self.what)
    }
}

impl std::error::Error for Problem {}

/// A value of a report.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    value: &'a Value,
    path: String,
}

/// Characters of a value that are shown.
const SHOWN_MAX: usize = 60;

impl<'a> Field<'a> {
    pub(super) const fn root(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// A member; nothing, where there is none or this is no object.
    pub(super) fn get(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { value: self.value.get(name).unwrap_or(&Value::Null), path }
    }

    pub(super) fn is_there(&self) -> bool {
        !self.value.is_null()
    }

    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }

    /// Something is wrong here.
    pub(super) fn wrong(&self, wanted: &str) -> Problem {
        if self.value.is_null() {
            return Problem { field: self.path.clone(), what: format!("is missing; it has to be {wanted}") };
        }
        let text = self.value.to_string();
        let shown: String = text.chars().filter(|each| !each.is_control()).take(SHOWN_MAX).collect();
        Problem { field: self.path.clone(), what: format!("is {shown}; it has to be {wanted}") }
    }

    /// What this is; nothing where it is absent.
    pub(super) fn may<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        if self.is_there() { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn text(&self) -> Result<&'a str, Problem> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    pub(super) fn count(&self) -> Result<u64, Problem> {
        self.value.as_u64().ok_or_else(|| self.wrong("a number from 0 on, without a fraction"))
    }

    /// A number of milliseconds.
    pub(super) fn millis(&self) -> Result<f64, Problem> {
        const YEAR: f64 = 366.0 * 86_400_000.0;
        let is_span = |ms: &f64| (0.0..YEAR).contains(ms);
        self.value.as_f64().filter(is_span).ok_or_else(|| self.wrong("a number of milliseconds"))
    }

    pub(super) fn flag(&self) -> Result<bool, Problem> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub(super) fn list(&self) -> Result<Vec<Self>, Problem> {
        let all = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let each = |(at, value)| Self { value, path: format!("{}[{at}]", self.path) };
        Ok(all.iter().enumerate().map(each).collect())
    }

    /// The same; nothing where it is absent.
    pub(super) fn list_or_none(&self) -> Result<Vec<Self>, Problem> {
        if self.is_there() { self.list() } else { Ok(Vec::new()) }
    }

    /// One of these words.
    pub(super) fn one_of<T: Copy>(&self, all: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.value.as_str();
        all.iter().find(|(word, _)| text == Some(word)).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = all.iter().map(|(word, _)| *word).collect();
            self.wrong(&format!("one of: {}", words.join(", ")))
        })
    }
}
