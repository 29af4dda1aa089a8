//! What one side tells the other: credentials and candidates, as lines of SDP (RFC 8839 § 5, RFC 8840 § 4.1).

use std::fmt;
use std::str::FromStr;

use crate::proto::types::Secret;
use crate::proto::types::limits::ICE_CANDIDATES_MAX;
use crate::proto::types::limits::ICE_DESCRIPTION_MAX;

use super::Candidate;
use super::DescriptionError;
use super::candidate::is_ice_text;
use super::error::shown;

/// What one side tells the other. `Display` writes it as SDP attribute lines, and reading takes such lines or a whole session
/// description of one agent: other lines are passed over.
#[derive(Clone, Debug)]
pub struct Description {
    /// `ice-ufrag`: 4 to 256 letters, digits, `+` or `/`.
    pub ufrag: Box<str>,
    /// `ice-pwd`: 22 to 256 of them.
    pub password: Secret,
    /// `ice-lite`: the side makes no checks of its own.
    pub lite: bool,
    /// `candidate`, those that can be used.
    pub candidates: Vec<Candidate>,
    /// Candidates that were well written and cannot be used: names, TCP, other components.
    pub passed_over: usize,
    /// `end-of-candidates`.
    pub ended: bool,
}

const UFRAG: &str = "ice-ufrag";
const PASSWORD: &str = "ice-pwd";

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = String::from_utf8_lossy(self.password.expose());
        if self.lite {
            f.write_str("a=ice-lite\r\n")?;
        }
        write!(f, "a={UFRAG}:{}\r\na={PASSWORD}:{password}\r\na=ice-options:trickle\r\n", self.ufrag)?;
        for candidate in &self.candidates {
            write!(f, "a={candidate}\r\n")?;
        }
        if self.ended { f.write_str("a=end-of-candidates\r\n") } else { Ok(()) }
    }
}

impl FromStr for Description {
    type Err = DescriptionError;

    fn from_str(text: &str) -> Result<Self, DescriptionError> {
        if text.len() > ICE_DESCRIPTION_MAX {
            return Err(DescriptionError::TooLong);
        }
        let mut reading = Reading::default();
        for (at, line) in text.lines().enumerate() {
            reading.line(at + 1, line)?;
        }
        let Reading { ufrag, password, lite, candidates, passed_over, ended } = reading;
        let ufrag = ufrag.ok_or(DescriptionError::Missing { attribute: UFRAG })?;
        let password = password.ok_or(DescriptionError::Missing { attribute: PASSWORD })?;
        let password = Secret::new(password.as_bytes());
        Ok(Self { ufrag: ufrag.into(), password, lite, candidates, passed_over, ended })
    }
}

#[derive(Default)]
struct Reading<'a> {
    ufrag: Option<&'a str>,
    password: Option<&'a str>,
    lite: bool,
    candidates: Vec<Candidate>,
    passed_over: usize,
    ended: bool,
}

impl<'a> Reading<'a> {
    fn line(&mut self, number: usize, line: &'a str) -> Result<(), DescriptionError> {
        if line.is_empty() {
            return Ok(());
        }
        if !line.starts_with(|first: char| first.is_ascii_lowercase())
            || line.as_bytes().get(1) != Some(&b'=')
        {
            return Err(DescriptionError::Line { number, found: shown(line) });
        }
        let Some(attribute) = line.strip_prefix("a=") else { return Ok(()) };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            UFRAG => credential(&mut self.ufrag, number, UFRAG, value, 4),
            PASSWORD => credential(&mut self.password, number, PASSWORD, value, 22),
            "ice-lite" => {
                self.lite = true;
                Ok(())
            }
            "end-of-candidates" => {
                self.ended = true;
                Ok(())
            }
            "candidate" => self.candidate(number, attribute),
            _ => Ok(()),
        }
    }

    fn candidate(&mut self, number: usize, line: &str) -> Result<(), DescriptionError> {
        match line.parse::<Candidate>() {
            Ok(candidate) if self.candidates.contains(&candidate) => {}
            Ok(_) if self.candidates.len() >= ICE_CANDIDATES_MAX => return Err(DescriptionError::TooMany),
            Ok(candidate) => self.candidates.push(candidate),
            Err(why) if why.is_unsupported() => self.passed_over += 1,
            Err(why) => return Err(DescriptionError::Candidate { number, why }),
        }
        Ok(())
    }
}

/// Every section of a session description may say it, as long as all say the same.
fn credential<'a>(
    place: &mut Option<&'a str>,
    number: usize,
    attribute: &'static str,
    value: &'a str,
    least: usize,
) -> Result<(), DescriptionError> {
    if !(least..=256).contains(&value.len()) || !is_ice_text(value) {
        return Err(DescriptionError::Credential { number, attribute });
    }
    if place.is_some_and(|before| before != value) {
        return Err(DescriptionError::Twice { number, attribute });
    }
    *place = Some(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "a=ice-ufrag:8hhY\r\n\
        a=ice-pwd:asd88fgpdd777uzjYhagZg\r\n\
        a=ice-options:trickle\r\n\
        a=candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host\r\n\
        a=end-of-candidates\r\n";

    fn read(text: &str) -> Result<Description, DescriptionError> {
        text.parse()
    }

    #[test]
    fn it_reads_what_it_writes() {
        assert_eq!(read(LINES).unwrap().to_string(), LINES);
        let lite = format!("a=ice-lite\r\n{LINES}");
        assert_eq!(read(&lite).unwrap().to_string(), lite);
    }

    #[test]
    fn a_whole_session_description_will_do() {
        let text = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0 1\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n\
            a=candidate:1 1 udp 99 b2c3.local 5 typ host\n\
            a=candidate:2 1 udp 98 192.0.2.7 5 typ host\na=candidate:2 1 udp 98 192.0.2.7 5 typ host\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n";
        let found = read(text).unwrap();
        assert_eq!(
            (found.candidates.len(), found.passed_over, found.ended, found.lite),
            (1, 1, false, false)
        );
        assert_eq!(&*found.ufrag, "abcd");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_without_the_password() {
        for (from, to, named) in [
            ("a=ice-ufrag:8hhY\r\n", "", "a=ice-ufrag"),
            ("a=ice-pwd:asd88fgpdd777uzjYhagZg\r\n", "", "a=ice-pwd"),
            ("8hhY", "8hh", "line 1"),
            ("8hhY", "8h-Y", "line 1"),
            ("777uzjYhagZg", "777uzjYhagZ", "line 2"),
            ("a=ice-options", "a=ice-ufrag:9hhY\r\na=ice-options", "line 3: a second"),
            ("a=ice-options", "a=ice-pwd:bsd88fgpdd777uzjYhagZg\r\na=ice-options", "line 3: a second"),
            ("UDP 2130706431", "UDP -1", "line 4: the candidate's priority"),
            ("a=end-of-candidates", "end-of-candidates", "line 5"),
            ("a=ice-options", "\u{fffd}=1\r\na=ice-options", "line 3"),
        ] {
            let found = read(&LINES.replace(from, to)).unwrap_err();
            assert!(found.to_string().contains(named), "{to}: {found}");
            assert!(!found.to_string().contains("asd88"), "{found}");
        }
        assert_eq!(read(&" ".repeat(ICE_DESCRIPTION_MAX + 1)).unwrap_err(), DescriptionError::TooLong);
        let many: String =
            (1..=65).map(|port| format!("a=candidate:1 1 UDP 9 192.0.2.1 {port} typ host\n")).collect();
        assert_eq!(read(&format!("{LINES}{many}")).unwrap_err(), DescriptionError::TooMany);
    }

    #[test]
    fn debug_does_not_tell_the_password() {
        assert!(!format!("{:?}", read(LINES).unwrap()).contains("asd88"));
    }

    proptest! {
        #[test]
        fn reading_is_total(text in "(a=(candidate:|ice-ufrag:|ice-pwd:)?[ -~]{0,40}\n?|[a-z]=\n){0,8}") {
            if let Ok(found) = read(&text) {
                prop_assert_eq!(read(&found.to_string()).unwrap().to_string(), found.to_string());
            }
        }
    }
}
