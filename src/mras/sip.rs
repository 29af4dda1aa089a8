//! SIP as front ends speak it to this service (RFC 3261, on a stream): SERVICE carries a request, OPTIONS asks whether
//! anybody is there, two line ends keep the connection alive (RFC 5626 § 3.5.1). However the bytes are cut, the same
//! messages come out.

use sha1::Digest;
use sha1::Sha1;

use crate::proto::types::limits;

use super::CONTENT_TYPE;
use super::is_our_type;
use super::outcome::Outcome;
use super::response;
use super::response::Turn;

const ALLOW: &str = "Allow: SERVICE, OPTIONS\r\n";
/// The answer to two line ends.
const PONG: &[u8] = b"\r\n";

/// A request with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The method; `None` for a response, which nobody asked for.
    pub method: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What a stream says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message.
    Message(Message),
    /// Two line ends, to be answered with one.
    KeepAlive,
}

/// The stream is no SIP, or larger than a front end needs: nothing behind this place can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// The bytes of a stream that are not a whole message yet: never more than a message's own limits and one piece, if
/// [`Parser::said`] is asked after each piece until it has nothing more to say.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
    /// Whether one line end was met behind the last message.
    half: bool,
    /// A message whose body is not all there, and how long that will be.
    begun: Option<(Message, usize)>,
}

impl Parser {
    /// Takes the next piece of the stream.
    pub fn take(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// What the bytes so far say; `None` until there are more.
    ///
    /// # Errors
    /// [`Broken`]; the connection is to be closed then.
    pub fn said(&mut self) -> Result<Option<Said>, Broken> {
        let (message, len) = match self.begun.take() {
            Some(begun) => begun,
            None if self.pings() => return Ok(Some(Said::KeepAlive)),
            None => match self.head()? {
                Some(begun) => begun,
                None => return Ok(None),
            },
        };
        if self.bytes.len() < len {
            self.begun = Some((message, len));
            return Ok(None);
        }
        let rest = self.bytes.split_off(len);
        let body = std::mem::replace(&mut self.bytes, rest);
        self.half = false;
        Ok(Some(Said::Message(Message { body, ..message })))
    }

    /// Whether nothing was begun that is not finished: the stream may rest here as long as it likes.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.bytes.is_empty() && self.begun.is_none()
    }

    /// Takes line ends in front of a message; answers whether two of them were met.
    fn pings(&mut self) -> bool {
        while self.bytes.starts_with(b"\r\n") {
            self.bytes.drain(..2);
            self.half = !self.half;
            if !self.half {
                return true;
            }
        }
        false
    }

    /// Takes the head of a message, if all of it is there.
    fn head(&mut self) -> Result<Option<(Message, usize)>, Broken> {
        const END: &[u8] = b"\r\n\r\n";
        let searched = self.bytes.len().min(limits::SIP_HEAD_MAX + END.len());
        let Some(head_len) = find(&self.bytes[..searched], END) else {
            return if searched > limits::SIP_HEAD_MAX { Err(Broken) } else { Ok(None) };
        };
        let head = str::from_utf8(&self.bytes[..head_len]).map_err(|_| Broken)?;
        let message = Message::head(head)?;
        let body_len = message.body_len()?;
        self.bytes.drain(..head_len + END.len());
        Ok(Some((message, body_len)))
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Message {
    fn head(head: &str) -> Result<Self, Broken> {
        let mut lines = head.split("\r\n");
        let start = lines.next().ok_or(Broken)?;
        let mut words = start.split(' ');
        let method = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("SIP/2.0"), Some(_), ..) => None,
            (Some(method), Some(uri), Some("SIP/2.0"), None) if is_token(method) && !uri.is_empty() => {
                Some(method.to_owned())
            }
            _ => return Err(Broken),
        };
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.chars().any(|char| char.is_control() && char != '\t') {
                return Err(Broken);
            }
            // RFC 3261 § 7.3.1: a line that begins with a space goes on with the one before.
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut().ok_or(Broken)?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(Broken)?;
            let name = name.trim_end();
            if !is_token(name) || headers.len() == limits::SIP_HEADERS_MAX {
                return Err(Broken);
            }
            headers.push((long_name(name), value.trim().to_owned()));
        }
        Ok(Self { method, headers, body: Vec::new() })
    }

    /// Content-Length, without which nobody knows where the next message begins (RFC 3261 § 18.3).
    fn body_len(&self) -> Result<usize, Broken> {
        let mut lengths = self.all("content-length");
        let (Some(length), None) = (lengths.next(), lengths.next()) else { return Err(Broken) };
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Broken);
        }
        let length: usize = length.parse().map_err(|_| Broken)?;
        if length > limits::MRAS_BODY_MAX { Err(Broken) } else { Ok(length) }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(this, _)| this == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The value of a header that must stand there once.
    fn only(&self, name: &str) -> Option<&str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }
}

/// A header's name in lower case, and not in its short form (RFC 3261 § 20).
fn long_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let long = match name.as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "l" => "content-length",
        "c" => "content-type",
        other => other,
    };
    long.to_owned()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte))
}

/// What is sent back, and what became of what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Bytes for the stream; none to a response, to ACK, and to what nobody could tie an answer to.
    pub bytes: Vec<u8>,
    /// What it was.
    pub outcome: Outcome,
    /// How many credentials were handed out.
    pub credentials: usize,
}

/// Answers what a stream said, at `unix` seconds since 1970-01-01 UTC.
#[must_use]
pub fn answer(turn: Turn<'_>, unix: u64, said: &Said) -> Reply {
    let message = match said {
        Said::KeepAlive => {
            return Reply { bytes: PONG.to_vec(), outcome: Outcome::KeepAlive, credentials: 0 };
        }
        Said::Message(message) => message,
    };
    let (answered, outcome, credentials) = match message.method.as_deref() {
        None | Some("ACK") => (None, Outcome::Ignored, 0),
        Some("OPTIONS") => {
            let more = format!("{ALLOW}Accept: {CONTENT_TYPE}\r\n");
            (reply(message, "200 OK", &more, ""), Outcome::Asked, 0)
        }
        Some("SERVICE") => serve(turn, unix, message),
        Some(_) => (reply(message, "405 Method Not Allowed", ALLOW, ""), Outcome::NotServed, 0),
    };
    match answered {
        Some(bytes) => Reply { bytes, outcome, credentials },
        None => Reply { bytes: Vec::new(), outcome: Outcome::Ignored, credentials: 0 },
    }
}

fn serve(turn: Turn<'_>, unix: u64, message: &Message) -> (Option<Vec<u8>>, Outcome, usize) {
    let kind = message.only("content-type").unwrap_or_default();
    if !is_our_type(kind) {
        let accept = format!("Accept: {CONTENT_TYPE}\r\n");
        return (reply(message, "415 Unsupported Media Type", &accept, ""), Outcome::MediaType, 0);
    }
    match response::answer(turn, unix, &message.body) {
        Some(answer) => {
            let more = format!("Content-Type: {CONTENT_TYPE}\r\n");
            (reply(message, "200 OK", &more, &answer.xml), answer.outcome, answer.credentials)
        }
        None => (reply(message, "400 Bad Request", "", ""), Outcome::Unreadable, 0),
    }
}

/// A response with what RFC 3261 § 8.2.6.2 has it copy.
fn reply(message: &Message, status: &str, more: &str, body: &str) -> Option<Vec<u8>> {
    let (from, to) = (message.only("from")?, message.only("to")?);
    let (call_id, sequence) = (message.only("call-id")?, message.only("cseq")?);
    let mut text = format!("SIP/2.0 {status}\r\n");
    let mut vias = message.all("via").peekable();
    vias.peek()?;
    vias.for_each(|via| text.push_str(&format!("Via: {via}\r\n")));
    let tag = if has_tag(to) { String::new() } else { format!(";tag={}", tag(call_id)) };
    text.push_str(&format!(
        "From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {sequence}\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    Some(text.into_bytes())
}

/// Whether a To has a tag: as a parameter, not within its URI.
fn has_tag(to: &str) -> bool {
    let parameters = to.rsplit_once('>').map_or(to, |(_, parameters)| parameters);
    parameters
        .split(';')
        .skip(1)
        .any(|parameter| parameter.trim().get(..4).is_some_and(|name| name.eq_ignore_ascii_case("tag=")))
}

/// The same for every copy of a request, so that no state is needed.
fn tag(call_id: &str) -> String {
    Sha1::digest(call_id).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::mras::NAMESPACE;
    use crate::mras::response::Service;
    use crate::proto::auth::mras::MrasKey;
    use crate::proto::types::Secret;

    use super::*;

    fn service() -> Service {
        Service {
            key: MrasKey::new(&Secret::new(*b"the first key"), &Secret::new(*b"the second key")),
            realm: "example.com".into(),
            relays: Vec::new(),
            duration_min_max: 480,
        }
    }

    fn xml() -> String {
        format!(
            "<request requestID=\"1\" version=\"1.0\" from=\"f\" to=\"t\" xmlns=\"{NAMESPACE}\">\
             <credentialsRequest credentialsRequestID=\"1\"><identity>a</identity></credentialsRequest></request>"
        )
    }

    fn message(method: &str, more: &str, body: &str) -> String {
        format!(
            "{method} sip:M@example.com SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=1\r\nv: SIP/2.0/TLS b\r\n\
             From: <sip:a@b>;tag=9\r\nTo: <sip:M@example.com;tag=no>\r\ni: call\r\nCSEQ: 1 {method}\r\n{more}\
             Content-Length:{}\r\n\r\n{body}",
            body.len()
        )
    }

    fn service_request() -> String {
        message("SERVICE", &format!("c: {CONTENT_TYPE}; charset=utf-8\r\n"), &xml())
    }

    /// Everything that a stream says, cut at these places.
    fn heard(stream: &[u8], cuts: &[usize]) -> Result<Vec<Said>, Broken> {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let (mut parser, mut all) = (Parser::default(), Vec::new());
        for pair in cuts.windows(2) {
            parser.take(&stream[pair[0]..pair[1]]);
            while let Some(said) = parser.said()? {
                all.push(said);
            }
        }
        Ok(all)
    }

    fn answered(stream: &str) -> Vec<String> {
        let said = heard(stream.as_bytes(), &[]).expect("SIP");
        let answers = said.iter().map(|said| answer(Turn::Served(&service()), 1_700_000_000, said).bytes);
        let answers = answers.filter(|bytes| !bytes.is_empty());
        answers.map(|bytes| String::from_utf8(bytes).expect("text")).collect()
    }

    #[test]
    fn a_service_gets_its_token_and_all_that_ties_the_answer_to_it() {
        let [answer] = &answered(&service_request())[..] else { panic!("one") };
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(
            head.lines().collect::<Vec<_>>(),
            [
                "SIP/2.0 200 OK",
                "Via: SIP/2.0/TLS a;branch=1",
                "Via: SIP/2.0/TLS b",
                "From: <sip:a@b>;tag=9",
                &format!("To: <sip:M@example.com;tag=no>;tag={}", tag("call")),
                "Call-ID: call",
                "CSeq: 1 SERVICE",
                &format!("Content-Type: {CONTENT_TYPE}"),
                &format!("Content-Length: {}", body.len()),
            ]
        );
        assert!(body.contains("reasonPhrase=\"OK\"") && body.contains("<username>"));
    }

    #[test]
    fn each_method_has_its_answer() {
        for (stream, expected) in [
            (message("OPTIONS", "", ""), Some("200 OK")),
            (message("INVITE", "", ""), Some("405 Method Not Allowed")),
            (message("service", "", ""), Some("405 Method Not Allowed")),
            (message("ACK", "", ""), None),
            (message("SERVICE", "", &xml()), Some("415 Unsupported Media Type")),
            (message("SERVICE", &format!("c: {CONTENT_TYPE}\r\n"), "no XML"), Some("400 Bad Request")),
            ("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".into(), None),
            (message("OPTIONS", "", "").replace("CSEQ", "X"), None),
            (message("OPTIONS", "", "").replace("Via", "X").replace("v:", "X:"), None),
        ] {
            let answers = answered(&stream);
            assert_eq!(answers.len(), usize::from(expected.is_some()), "{stream}");
            for answer in answers {
                assert!(answer.starts_with(&format!("SIP/2.0 {}\r\n", expected.expect("one"))), "{answer}");
                assert_eq!(
                    answer.contains("\r\nAllow: "),
                    stream.contains("OPTIONS") || answer.contains("405")
                );
            }
        }
        assert!(
            answered(&message("OPTIONS", "", "").replace("M@example.com;tag=no>", "M>;TAG=x"))[0]
                .contains("M>;TAG=x\r\n")
        );
    }

    #[test]
    fn two_line_ends_are_answered_with_one_wherever_they_stand() {
        let stream =
            format!("\r\n\r\n{}\r\n\r\n\r\n{}\r\n", message("OPTIONS", "", ""), message("OPTIONS", "", ""));
        let answers = answered(&stream);
        let kinds: Vec<_> = answers.iter().map(|answer| answer.len() == 2).collect();
        assert_eq!(kinds, [true, false, true, false]);
    }

    #[test]
    fn what_cannot_be_understood_ends_the_stream() {
        let good = message("OPTIONS", "", "");
        assert!(heard(good.as_bytes(), &[]).is_ok());
        for bad in [
            good.replace("Content-Length:0\r\n", ""),
            good.replace("Content-Length:0", "Content-Length:0\r\nl: 0"),
            good.replace("Content-Length:0", "Content-Length:-1"),
            good.replace("Content-Length:0", "Content-Length:+1"),
            good.replace("Content-Length:0", "Content-Length:"),
            good.replace("Content-Length:0", "Content-Length:65537"),
            good.replace("Content-Length:0", "Content-Length:99999999999999999999999"),
            good.replace(" SIP/2.0\r\n", " HTTP/1.1\r\n"),
            good.replace("OPTIONS sip:M@example.com", "OPTIONS"),
            good.replace("From", "Fr om"),
            good.replace("From:", ":"),
            good.replace("<sip:a@b>", "a\rb"),
            good.replace("<sip:a@b>", "a\nb"),
            good.replacen("Via", " Via", 1),
            "x".repeat(limits::SIP_HEAD_MAX + 1),
            message("OPTIONS", &"X: y\r\n".repeat(limits::SIP_HEADERS_MAX), ""),
            message("OPTIONS", &format!("X: {}\r\n", "y".repeat(limits::SIP_HEAD_MAX)), ""),
        ] {
            assert_eq!(heard(bad.as_bytes(), &[]), Err(Broken), "{bad:.200}");
        }
        assert_eq!(heard(b"OPTIONS a SIP/2.0\r\nX: \xFF\r\n\r\n", &[]), Err(Broken));
    }

    #[test]
    fn a_folded_header_is_one() {
        let [answer] = &answered(&message("OPTIONS", "", "").replace("1 OPTIONS", "1\r\n OPTIONS"))[..]
        else {
            panic!("one")
        };
        assert!(answer.contains("CSeq: 1 OPTIONS\r\n"), "{answer}");
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_it_says_the_same(cuts in proptest::collection::vec(0_usize..4_000, 0..40)) {
            let stream = format!(
                "\r\n{}\r\n\r\n{}\r\n\r\n\r\n{}",
                service_request(), message("OPTIONS", "", "x\r\n\r\ny"), message("BYE", "", "")
            );
            let whole = heard(stream.as_bytes(), &[]);
            prop_assert_eq!(whole.as_ref().map(Vec::len), Ok(5));
            prop_assert_eq!(heard(stream.as_bytes(), &cuts), whole);
        }

        #[test]
        fn any_bytes_end_or_wait(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..900) {
            let _ = heard(&bytes, &[at]);
            let mut stream = service_request().into_bytes();
            let at = at % stream.len();
            stream.splice(at..at, bytes);
            if let Ok(said) = heard(&stream, &[]) {
                said.iter().for_each(|said| drop(answer(Turn::Served(&service()), 0, said)));
            }
        }
    }
}
