//! A table of one standard, read from its TOML file. Every key is known and of its type, or the file is refused.

use toml::Table;
use toml::Value;

/// What one standard asks.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    /// The file's name without its ending: the first half of a row's full name, `rfc8489:9.2.4-1`.
    pub(crate) stem: String,
    /// What people call it.
    pub(crate) name: String,
    pub(crate) title: String,
    /// The errata that were looked at.
    pub(crate) errata: Vec<String>,
    /// Sections whose text could not be read.
    pub(crate) unread: Vec<Unread>,
    pub(crate) sections: Vec<Section>,
}

#[derive(Clone, Debug)]
pub(crate) struct Unread {
    pub(crate) number: String,
    pub(crate) why: String,
}

/// A section's own text, without its subsections.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) number: String,
    pub(crate) title: String,
    /// How often a key word of each level stands in the text.
    pub(crate) count: Counts,
    /// How many of them do not speak to a server.
    pub(crate) client_only: Counts,
    pub(crate) rows: Vec<Row>,
}

/// How often each level occurs; [`Level::Plain`] is not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) must: usize,
    pub(crate) should: usize,
    pub(crate) may: usize,
}

impl Counts {
    pub(crate) const fn of(self, level: Level) -> usize {
        match level {
            Level::Must => self.must,
            Level::Should => self.should,
            Level::May => self.may,
            Level::Plain => 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) level: Level,
    pub(crate) says: String,
    pub(crate) state: State,
    pub(crate) reason: Option<String>,
    pub(crate) decision: Option<String>,
}

/// How strongly the standard asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Must,
    Should,
    May,
    /// A rule without a key word.
    Plain,
}

impl Level {
    pub(crate) const COUNTED: [Self; 3] = [Self::Must, Self::Should, Self::May];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
            Self::Plain => "plain",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Must, Self::Should, Self::May, Self::Plain].into_iter().find(|level| level.word() == word)
    }
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Obeyed, and a test proves it.
    Done,
    /// Not obeyed, on purpose.
    Exception,
    /// It speaks of something that this server does not have.
    NotOurs,
    /// Not yet.
    ToDo,
}

impl State {
    pub(crate) const ALL: [Self; 4] = [Self::Done, Self::Exception, Self::NotOurs, Self::ToDo];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Exception => "exception",
            Self::NotOurs => "not-ours",
            Self::ToDo => "todo",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// Reads the file at `path`; the error says where and what is wrong.
pub(crate) fn parse(path: &str, text: &str) -> Result<Standard, String> {
    let stem = path.rsplit('/').next().and_then(|name| name.strip_suffix(".toml")).unwrap_or(path);
    let table: Table = text.parse().map_err(|error| format!("{path}: {error}"))?;
    let mut fields = Fields::new(path, table);
    let standard = Standard {
        stem: stem.to_owned(),
        name: fields.text("standard")?,
        title: fields.text("title")?,
        errata: fields.texts("errata")?,
        unread: fields.tables("unread", unread)?,
        sections: fields.tables("section", section)?,
    };
    fields.finish()?;
    Ok(standard)
}

fn unread(mut fields: Fields) -> Result<Unread, String> {
    let unread = Unread { number: fields.text("number")?, why: fields.text("why")? };
    fields.finish()?;
    Ok(unread)
}

fn section(mut fields: Fields) -> Result<Section, String> {
    let number = fields.text("number")?;
    fields.place = format!("{} § {number}", fields.place);
    let section = Section {
        number,
        title: fields.text("title")?,
        count: fields.counts("count")?.ok_or_else(|| fields.lacks("count"))?,
        client_only: fields.counts("client_only")?.unwrap_or_default(),
        rows: fields.tables("row", row)?,
    };
    fields.finish()?;
    Ok(section)
}

fn row(mut fields: Fields) -> Result<Row, String> {
    let id = fields.text("id")?;
    fields.place = format!("{}, row {id}", fields.place);
    let (level, state) = (fields.text("level")?, fields.text("state")?);
    let row = Row {
        id,
        level: Level::of(&level)
            .ok_or_else(|| format!("{}: level {level}: must, should, may or plain", fields.place))?,
        says: fields.text("says")?,
        state: State::of(&state)
            .ok_or_else(|| format!("{}: state {state}: done, exception, not-ours or todo", fields.place))?,
        reason: fields.text_if_any("reason")?,
        decision: fields.text_if_any("decision")?,
    };
    fields.finish()?;
    Ok(row)
}

/// The keys of one table that were not yet taken, and where it stands.
struct Fields {
    place: String,
    table: Table,
}

impl Fields {
    fn new(place: &str, table: Table) -> Self {
        Self { place: place.to_owned(), table }
    }

    fn lacks(&self, key: &str) -> String {
        format!("{}: `{key}` is missing", self.place)
    }

    fn is_not(&self, key: &str, what: &str) -> String {
        format!("{}: `{key}` is not {what}", self.place)
    }

    fn text(&mut self, key: &str) -> Result<String, String> {
        self.text_if_any(key)?.ok_or_else(|| self.lacks(key))
    }

    fn text_if_any(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.is_not(key, "a string")),
        }
    }

    fn array(&mut self, key: &str) -> Result<Vec<Value>, String> {
        match self.table.remove(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.is_not(key, "an array")),
        }
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        let values = self.array(key)?;
        let text =
            |value: Value| value.as_str().map(str::to_owned).ok_or_else(|| self.is_not(key, "strings"));
        values.into_iter().map(text).collect()
    }

    fn tables<T>(&mut self, key: &str, read: fn(Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let values = self.array(key)?;
        let table = |value| match value {
            Value::Table(table) => read(Self::new(&self.place, table)),
            _ => Err(self.is_not(key, "an array of tables")),
        };
        values.into_iter().map(table).collect()
    }

    fn counts(&mut self, key: &str) -> Result<Option<Counts>, String> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let Value::Table(table) = value else { return Err(self.is_not(key, "a table")) };
        let mut fields = Self::new(&format!("{}, {key}", self.place), table);
        let counts = Counts {
            must: fields.number("must")?,
            should: fields.number("should")?,
            may: fields.number("may")?,
        };
        fields.finish()?;
        Ok(Some(counts))
    }

    fn number(&mut self, key: &str) -> Result<usize, String> {
        let value = self.table.remove(key).ok_or_else(|| self.lacks(key))?;
        let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.is_not(key, "a count"))
    }

    /// Refuses what nobody asked for.
    fn finish(self) -> Result<(), String> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("{}: nobody knows the key `{key}`", self.place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"
standard = "RFC 1"
title = "One"
[[section]]
number = "1"
title = "First"
count = { must = 1, should = 0, may = 0 }
[[section.row]]
id = "1-1"
level = "must"
says = "be"
state = "done"
"#;

    #[test]
    fn a_table_is_read() {
        let standard = parse("docs/compliance/rfc1.toml", ONE).expect("a good table");
        assert_eq!((standard.stem.as_str(), standard.sections.len()), ("rfc1", 1));
        assert_eq!(standard.sections[0].rows[0].state, State::Done);
    }

    #[test]
    fn a_wrong_key_word_or_type_is_refused_with_its_place() {
        for (good, wrong, says) in [
            ("says = \"be\"", "say = \"be\"", "§ 1, row 1-1: `says` is missing"),
            ("says = \"be\"", "says = 1", "§ 1, row 1-1: `says` is not a string"),
            ("\"be\"", "\"be\"\nwhy = \"?\"", "§ 1, row 1-1: nobody knows the key `why`"),
            ("\"done\"", "\"finished\"", "§ 1, row 1-1: state finished"),
            ("\"must\"", "\"shall\"", "§ 1, row 1-1: level shall"),
            ("must = 1", "must = -1", "§ 1, count: `must` is not a count"),
            (", may = 0", "", "§ 1, count: `may` is missing"),
            ("count", "client_only", "§ 1: `count` is missing"),
            ("[[section.row]]", "[section.row]", "§ 1: `row` is not an array"),
            ("title = \"One\"", "title = One", "rfc1.toml"),
        ] {
            let text = ONE.replacen(good, wrong, 1);
            assert_ne!(text, ONE, "{good}");
            let found = parse("docs/compliance/rfc1.toml", &text).expect_err(wrong);
            assert!(found.contains("docs/compliance/rfc1.toml") && found.contains(says), "{wrong}: {found}");
        }
    }
}
