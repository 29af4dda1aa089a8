//! How one log line looks, as text and as JSON. Both are written here, field by field, because a field may hold what a
//! stranger sent: whatever could break the line, move a terminal's cursor or turn the reading direction is escaped.

use std::cell::Cell;
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

/// The name of the field that is the line's own text.
const MESSAGE: &str = "message";
/// Bytes of a line that the room for it is kept for, until the thread's next: one that took more is an exception.
const KEPT_MAX: usize = 1 << 10;

thread_local! {
    /// Where the last line was put together, for the next.
    static ROOM: Cell<Option<Room>> = const { Cell::new(None) };
}

/// Writes lines in one of the two forms, stamped by `time`.
pub(super) struct Lines<T> {
    pub(super) format: LogFormat,
    pub(super) time: T,
}

/// One line, but for its time and level: each field is written as it comes, in the order in which the code names them.
struct Fields {
    format: LogFormat,
    room: Room,
}

/// Where a line is put together.
struct Room {
    message: String,
    /// The other fields, each with what stands in front of it.
    others: String,
    /// A value before it is escaped.
    value: String,
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
        let mut fields = Fields::new(self.format);
        event.record(&mut fields);
        let stamp = &mut fields.room.value;
        stamp.clear();
        // A clock that cannot be shown leaves the stamp empty; the line is worth more than its time.
        let _ = self.time.format_time(&mut Writer::new(stamp));
        let written = fields.write(&mut writer, event.metadata().level().as_str());
        fields.room.keep();
        written
    }
}

impl Fields {
    fn new(format: LogFormat) -> Self {
        // A field whose value logs a line of its own finds no room, nor does a thread that ends.
        let kept = ROOM.try_with(Cell::take).ok().flatten();
        Self { format, room: kept.unwrap_or_else(Room::new) }
    }

    /// Adds a field whose value, as it stands in the room for it, is still to be escaped.
    fn add_text(&mut self, name: &str) {
        if name == MESSAGE {
            return std::mem::swap(&mut self.room.message, &mut self.room.value);
        }
        let _ = self.begin(name).and_then(|()| match self.format {
            LogFormat::Text if is_word(&self.room.value) => self.room.others.write_str(&self.room.value),
            LogFormat::Text => write_quoted(&mut self.room.others, &self.room.value),
            LogFormat::Json => write_json_string(&mut self.room.others, &self.room.value),
        });
    }

    /// Adds a number or truth value, which needs no escaping.
    fn add_plain(&mut self, name: &str, value: impl fmt::Display) {
        // A `String` takes every write.
        let _ = match name {
            MESSAGE => write!(self.room.message, "{value}"),
            _ => self.begin(name).and_then(|()| write!(self.room.others, "{value}")),
        };
    }

    /// Writes what stands in front of a value.
    fn begin(&mut self, name: &str) -> fmt::Result {
        let out = &mut self.room.others;
        match self.format {
            LogFormat::Text => {
                out.push(' ');
                out.push_str(name);
                out.push('=');
                Ok(())
            }
            LogFormat::Json => {
                out.push(',');
                write_json_string(out, name)?;
                out.push(':');
                Ok(())
            }
        }
    }

    /// Writes the line, whose time stands where values did.
    fn write(&self, out: &mut impl Write, level: &str) -> fmt::Result {
        let Room { message, others, value: stamp } = &self.room;
        match self.format {
            LogFormat::Text => {
                write!(out, "{stamp} {level:>5} ")?;
                write_escaped(out, message)?;
                out.write_str(others)?;
                out.write_str("\n")
            }
            LogFormat::Json => {
                out.write_str("{\"time\":")?;
                write_json_string(out, stamp)?;
                out.write_str(",\"level\":")?;
                write_json_string(out, level)?;
                out.write_str(",\"message\":")?;
                write_json_string(out, message)?;
                out.write_str(others)?;
                out.write_str("}\n")
            }
        }
    }
}

impl Room {
    fn new() -> Self {
        let [message, others, value] = [32, 224, 48].map(String::with_capacity);
        Self { message, others, value }
    }

    /// Keeps the room for the thread's next line.
    fn keep(mut self) {
        let Self { message, others, value } = &mut self;
        if message.capacity() + others.capacity() + value.capacity() <= KEPT_MAX {
            [message, others, value].into_iter().for_each(String::clear);
            let _ = ROOM.try_with(|room| room.set(Some(self)));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.room.value.clear();
        // What a value cannot say of itself is left out.
        let _ = write!(self.room.value, "{value:?}");
        self.add_text(field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.room.value.clear();
        self.room.value.push_str(value);
        self.add_text(field.name());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_plain(field.name(), value);
    }
}

/// Whether a value can stand in a text line without quotes.
fn is_word(value: &str) -> bool {
    let can_stand = |each: char| match each {
        '!'..='~' => !matches!(each, '"' | '='),
        _ => !each.is_whitespace() && !is_unsafe(each),
    };
    !value.is_empty() && value.chars().all(can_stand)
}

/// Characters that no line may hold: controls of ASCII and Latin-1 (line breaks, escape sequences), Unicode's line
/// separators, and the marks that turn or hide text.
fn is_unsafe(each: char) -> bool {
    each.is_control()
        || matches!(each, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Whether each character of `text` can stand anywhere as it is: nearly all there is to write is of these alone.
fn is_harmless(text: &str) -> bool {
    text.bytes().all(|each| matches!(each, b' '..=b'~') && !matches!(each, b'"' | b'\\'))
}

fn write_escaped(out: &mut impl Write, text: &str) -> fmt::Result {
    if is_harmless(text) {
        return out.write_str(text);
    }
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
    if is_harmless(text) {
        out.write_str(text)?;
        return out.write_char('"');
    }
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
        let line = text(&[("user", Value::Text(HOSTILE))]);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.trim_end_matches('\n').chars().all(|each| !is_unsafe(each)), "{line:?}");
        assert!(line.contains("a\\nb\\r\\tc\\u{1b}[31md\\u{0}e\\u{7f}f\\u{9b}g\\u{202e}h"), "{line}");
    }

    #[test]
    fn a_value_cannot_pretend_to_be_another_field() {
        let line = text(&[("user", Value::Text("x code=200")), ("code", Value::Number(401))]);
        assert_eq!(line, "T  INFO m user=\"x code=200\" code=401\n");
        let line = text(&[("user", Value::Text("x\" code=\"1"))]);
        assert_eq!(line, "T  INFO m user=\"x\\\" code=\\\"1\"\n");
        assert_eq!(text(&[("user", Value::Text(""))]), "T  INFO m user=\"\"\n");
        assert_eq!(text(&[("user", Value::Text("end\\ "))]), "T  INFO m user=\"end\\\\ \"\n");
    }

    #[test]
    fn the_message_is_escaped_too() {
        let line = written(LogFormat::Text, HOSTILE, &[]);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\x1b'));
    }

    #[test]
    fn json_gives_back_exactly_what_was_put_in() {
        let others = [
            ("user", Value::Text(HOSTILE)),
            ("count", Value::Number(u64::MAX)),
            ("fine", Value::Truth(true)),
        ];
        let line = written(LogFormat::Json, HOSTILE, &others);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.trim_end_matches('\n').chars().all(|each| !is_unsafe(each)), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["message"], HOSTILE);
        assert_eq!(value["user"], HOSTILE);
        assert_eq!(value["count"], u64::MAX);
        assert_eq!(value["fine"], true);
        assert_eq!((&value["time"], &value["level"]), (&"T".into(), &"INFO".into()));
    }

    #[test]
    fn what_is_escaped_lies_in_the_basic_plane_as_json_needs() {
        assert!(('\0'..=char::MAX).filter(|each| is_unsafe(*each)).all(|each| u32::from(each) <= 0xFFFF));
    }

    #[test]
    fn nothing_of_a_line_stands_in_the_next_and_room_for_a_very_long_one_is_not_kept() {
        let first =
            written(LogFormat::Text, "long", &[("user", Value::Text("alice")), ("n", Value::Number(1))]);
        assert_eq!(first, "T  INFO long user=alice n=1\n");
        let kept = ROOM.take().expect("room");
        assert!(kept.message.is_empty() && kept.others.is_empty() && kept.value.is_empty());
        kept.keep();
        assert_eq!(written(LogFormat::Text, "m", &[]), "T  INFO m\n");
        let line = written(LogFormat::Text, "m", &[("user", Value::Text(LONG))]);
        assert_eq!(line, format!("T  INFO m user={LONG}\n"));
        assert!(ROOM.take().is_none());
        assert_eq!(written(LogFormat::Text, "m", &[]), "T  INFO m\n");
    }

    const LONG: &str = match str::from_utf8(&[b'x'; 2 * KEPT_MAX]) {
        Ok(text) => text,
        Err(_) => panic!(),
    };

    #[test]
    fn letters_of_every_script_stay_legible() {
        let name = "Zoë-Łukasz-日本-😀";
        assert_eq!(text(&[("user", Value::Text(name))]), format!("T  INFO m user={name}\n"));
    }

    /// A field's value.
    enum Value {
        Text(&'static str),
        Number(u64),
        Truth(bool),
    }

    fn text(others: &[(&str, Value)]) -> String {
        written(LogFormat::Text, "m", others)
    }

    fn written(format: LogFormat, message: &str, others: &[(&str, Value)]) -> String {
        let mut fields = Fields::new(format);
        for (name, value) in others {
            match value {
                Value::Text(value) => {
                    fields.room.value = (*value).to_owned();
                    fields.add_text(name);
                }
                Value::Number(value) => fields.add_plain(name, value),
                Value::Truth(value) => fields.add_plain(name, value),
            }
        }
        // It need not be the first.
        fields.room.value = message.to_owned();
        fields.add_text(MESSAGE);
        fields.room.value = "T".to_owned();
        let mut line = String::new();
        fields.write(&mut line, "INFO").expect("a String takes every write");
        fields.room.keep();
        line
    }
}
