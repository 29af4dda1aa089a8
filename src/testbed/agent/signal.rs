//! What two agents tell each other by the laboratory's signalling, an object of JSON in each line:
//!
//! ```text
//!   {"ufrag": "…", "pwd": "…"}        once, first
//!   {"candidate": "candidate:…"}      for each that is found (RFC 8839 § 5.1)
//!   {"end": true}                     there will be no further one
//!   {"done": true}                    it has sent its data
//! ```

use serde_json::Value;
use serde_json::json;

use crate::ice::Candidate;
use crate::ice::Description;
use crate::proto::types::Secret;

/// One line.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Credentials(Description),
    Candidate(Candidate),
    End,
    Done,
}

impl Message {
    /// Reads a line; `None` for what is none, or is of no use here: a candidate that is a name, or over TCP.
    pub(super) fn read(line: &str) -> Option<Self> {
        let value: Value = line.parse().ok()?;
        if let (Some(ufrag), Some(password)) = (value["ufrag"].as_str(), value["pwd"].as_str()) {
            let text = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
            return text.parse().ok().map(Self::Credentials);
        }
        if let Some(candidate) = value["candidate"].as_str() {
            return candidate.parse().ok().map(Self::Candidate);
        }
        let says = |name: &str| value[name] == true;
        if says("end") { Some(Self::End) } else { says("done").then_some(Self::Done) }
    }

    /// With its end.
    pub(super) fn line(&self) -> String {
        let value = match self {
            Self::Credentials(description) => {
                json!({ "ufrag": description.ufrag, "pwd": shown(&description.password) })
            }
            Self::Candidate(candidate) => json!({ "candidate": candidate.to_string() }),
            Self::End => json!({ "end": true }),
            Self::Done => json!({ "done": true }),
        };
        format!("{value}\n")
    }
}

/// The other side has to have it.
fn shown(password: &Secret) -> String {
    String::from_utf8_lossy(password.expose()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_a_line_that_is_read_as_it_was_meant() {
        let description: Description =
            "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n".parse().expect("sound");
        let candidate: Candidate =
            "candidate:1 1 UDP 2130706431 10.1.0.2 5000 typ host".parse().expect("sound");
        let all =
            [Message::Credentials(description), Message::Candidate(candidate), Message::End, Message::Done];
        for message in all {
            let line = message.line();
            assert_eq!(line.find('\n'), Some(line.len() - 1));
            assert_eq!(Message::read(&line).expect("it was written here").line(), line);
        }
    }

    #[test]
    fn what_is_no_message_is_none() {
        for line in [
            "",
            "hello",
            "[]",
            "{\"end\": 1}",
            "{\"ufrag\": \"a\", \"pwd\": \"b\"}",
            "{\"candidate\": \"candidate:1 1 UDP 1 name.local 5 typ host\"}",
        ] {
            assert!(Message::read(line).is_none(), "{line}");
        }
    }
}
