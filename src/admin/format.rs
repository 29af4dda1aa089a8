//! How one log line looks, as text and as JSON. Both are written here, field by field, because a field may hold what a
//! stranger sent: whatever could break the line, move a terminal's cursor or turn the reading direction is escaped.

use std::fmt;
use std::fmt::Write;

use tracing::Event;
use tracing::Subscriber;
use tracing::field::Field;
use tracing::field::Visit;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

/// Writes lines in one of the two forms, stamped by `time`.
pub(super) struct Lines<T> {
    pub(super) format: LogFormat,
    pub(super) time: T,
}

/// The fields of one event, in the order in which the code names them.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

/// A field's value: text still to be escaped, or a number or truth value that needs none.
enum Value {
    Text(String),
    Plain(String),
}

impl<S, N, T> FormatEvent<S, N> for Lines<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut stamp = String::new();
        // A clock that cannot be shown leaves the stamp empty; the line is worth more than its time.
        let _ = self.time.format_time(&mut Writer::new(&mut stamp));
        let level = event.metadata().level().as_str();
        match self.format {
            LogFormat::Text => fields.write_text(&mut writer, &stamp, level),
            LogFormat::Json => fields.write_json(&mut writer, &stamp, level),
        }
    }
}

impl Fields {
    fn write_text(&self, out: &mut impl Write, stamp: &str, level: &str) -> fmt::Result {
        write!(out, "{stamp} {level:>5} ")?;
        write_escaped(out, &self.message)?;
        for (name, value) in &self.others {
            write!(out, " {name}=")?;
            match value {
                Value::Plain(value) => out.write_str(value)?,
                Value::Text(value) if is_word(value) => out.write_str(value)?,
                Value::Text(value) => write_quoted(out, value)?,
            }
        }
        out.write_char('\n')
    }

    fn write_json(&self, out: &mut impl Write, stamp: &str, level: &str) -> fmt::Result {
        out.write_str("{\"time\":")?;
        write_json_string(out, stamp)?;
        out.write_str(",\"level\":")?;
        write_json_string(out, level)?;
        out.write_str(",\"message\":")?;
        write_json_string(out, &self.message)?;
        for (name, value) in &self.others {
            out.write_char(',')?;
            write_json_string(out, name)?;
            out.write_char(':')?;
            match value {
                Value::Plain(value) => out.write_str(value)?,
                Value::Text(value) => write_json_string(out, value)?,
            }
        }
        out.write_str("}\n")
    }

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Plain(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::Text(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::Text(value.to_owned()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Plain(value.to_string()));
    }
}

/// Whether a value can stand in a text line without quotes.
fn is_word(value: &str) -> bool {
    !value.is_empty()
        && value.chars().all(|each| !each.is_whitespace() && !is_unsafe(each) && !matches!(each, '"' | '='))
}

/// Characters that no line may hold: controls of ASCII and Latin-1 (line breaks, escape sequences), Unicode's line
/// separators, and the marks that turn or hide text.
fn is_unsafe(each: char) -> bool {
    each.is_control()
        || matches!(each, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

fn write_escaped(out: &mut impl Write, text: &str) -> fmt::Result {
    for each in text.chars() {
        write_char_escaped(out, each)?;
    }
    Ok(())
}

fn write_quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for each in text.chars() {
        match each {
            '"' | '\\' => write!(out, "\\{each}")?,
            _ => write_char_escaped(out, each)?,
        }
    }
    out.write_char('"')
}

fn write_char_escaped(out: &mut impl Write, each: char) -> fmt::Result {
    match each {
        '\n' | '\r' | '\t' => write!(out, "{}", each.escape_default()),
        _ if is_unsafe(each) => write!(out, "{}", each.escape_unicode()),
        _ => out.write_char(each),
    }
}

fn write_json_string(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for each in text.chars() {
        match each {
            '"' | '\\' => write!(out, "\\{each}")?,
            // Every unsafe character lies in the basic plane, so one escape of four digits names it.
            _ if is_unsafe(each) => write!(out, "\\u{:04x}", u32::from(each))?,
            _ => out.write_char(each)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\nb\r\tc\x1b[31md\0e\u{7f}f\u{9b}g\u{202e}h\u{2028}i\"j\\k=l m\u{feff}\u{200b}\u{2066}";

    #[test]
    fn no_field_breaks_a_text_line_or_reaches_the_terminal() {
        let line = text(&[("user", Value::Text(HOSTILE.to_owned()))]);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.trim_end_matches('\n').chars().all(|each| !is_unsafe(each)), "{line:?}");
        assert!(line.contains("a\\nb\\r\\tc\\u{1b}[31md\\u{0}e\\u{7f}f\\u{9b}g\\u{202e}h"), "{line}");
    }

    #[test]
    fn a_value_cannot_pretend_to_be_another_field() {
        let line =
            text(&[("user", Value::Text("x code=200".to_owned())), ("code", Value::Plain("401".into()))]);
        assert_eq!(line, "T  INFO m user=\"x code=200\" code=401\n");
        let line = text(&[("user", Value::Text("x\" code=\"1".to_owned()))]);
        assert_eq!(line, "T  INFO m user=\"x\\\" code=\\\"1\"\n");
        assert_eq!(text(&[("user", Value::Text(String::new()))]), "T  INFO m user=\"\"\n");
        assert_eq!(text(&[("user", Value::Text("end\\ ".to_owned()))]), "T  INFO m user=\"end\\\\ \"\n");
    }

    #[test]
    fn the_message_is_escaped_too() {
        let fields = Fields { message: HOSTILE.to_owned(), others: Vec::new() };
        let mut line = String::new();
        fields.write_text(&mut line, "T", "INFO").expect("a String takes every write");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\x1b'));
    }

    #[test]
    fn json_gives_back_exactly_what_was_put_in() {
        let fields = Fields {
            message: HOSTILE.to_owned(),
            others: vec![
                ("user", Value::Text(HOSTILE.to_owned())),
                ("count", Value::Plain("18446744073709551615".to_owned())),
                ("fine", Value::Plain("true".to_owned())),
            ],
        };
        let mut line = String::new();
        fields.write_json(&mut line, "T", "WARN").expect("a String takes every write");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end_matches('\n').chars().all(|each| !is_unsafe(each)), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["message"], HOSTILE);
        assert_eq!(value["user"], HOSTILE);
        assert_eq!(value["count"], u64::MAX);
        assert_eq!(value["fine"], true);
        assert_eq!((&value["time"], &value["level"]), (&"T".into(), &"WARN".into()));
    }

    #[test]
    fn what_is_escaped_lies_in_the_basic_plane_as_json_needs() {
        assert!(('\0'..=char::MAX).filter(|each| is_unsafe(*each)).all(|each| u32::from(each) <= 0xFFFF));
    }

    #[test]
    fn letters_of_every_script_stay_legible() {
        let name = "Zoë-Łukasz-日本-😀";
        assert_eq!(text(&[("user", Value::Text(name.to_owned()))]), format!("T  INFO m user={name}\n"));
    }

    fn text(others: &[(&'static str, Value)]) -> String {
        let others = others
            .iter()
            .map(|(name, value)| match value {
                Value::Text(value) => (*name, Value::Text(value.clone())),
                Value::Plain(value) => (*name, Value::Plain(value.clone())),
            })
            .collect();
        let mut line = String::new();
        Fields { message: "m".to_owned(), others }
            .write_text(&mut line, "T", "INFO")
            .expect("a String takes every write");
        line
    }
}
