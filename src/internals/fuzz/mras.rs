//! What front ends say to the MRAS service: XML, and SIP cut at any place. Whatever was said, what is answered is whole, is one
//! answer, holds no line that somebody else wrote, and hands out no more than was asked for.

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;

use crate::mras::Outcome;
use crate::mras::request;
use crate::mras::request::Location;
use crate::mras::request::Malformed;
use crate::mras::request::Request;
use crate::mras::response;
use crate::mras::response::MediaRelay;
use crate::mras::response::Reason;
use crate::mras::response::Service;
use crate::mras::response::Turn;
use crate::mras::sip;
use crate::mras::sip::Parser;
use crate::mras::sip::Said;
use crate::proto::auth::mras::MrasKey;
use crate::proto::types::Secret;
use crate::proto::types::limits;

use super::choices::Choices;

const UNIX: u64 = 1_700_000_000;
/// Bytes of an answer beside what it repeats of the request, and those of each credential.
const ANSWER_MAX: (usize, usize) = (600, 1_200);
/// One byte of a request becomes at most this many of an answer: `"` is `&quot;`.
const ESCAPE_MAX: usize = 6;

pub(super) fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let refused = choices.flag();
    let service = service();
    let turn = if refused { Turn::Refused(Reason::ServerBusy) } else { Turn::Served(&service) };
    match choices.flag() {
        false => of_xml(turn, choices.remainder()),
        true => of_sip(turn, &mut choices),
    }
}

fn service() -> Service {
    let relay = |location| MediaRelay {
        location,
        host: "edge.example.com".to_owned(),
        udp_port: Some(3_478),
        tcp_port: Some(443),
    };
    Service {
        key: MrasKey::new(&Secret::new(*b"the first key"), &Secret::new(*b"the second key")),
        realm: "example.com".to_owned(),
        relays: [Location::Internet, Location::Intranet].map(relay).into(),
        duration_min_max: 480,
    }
}

fn of_xml(turn: Turn<'_>, body: &[u8]) {
    let read = request::read(body);
    let request = match &read {
        Ok(request) => Some(request),
        Err(Malformed::Content(request) | Malformed::TooMany(request)) => Some(&**request),
        Err(Malformed::NoRequest) => None,
    };
    let answer = response::answer(turn, UNIX, body);
    assert_eq!(answer.is_some(), request.is_some());
    let (Some(answer), Some(request)) = (answer, request) else { return };
    let granted = answer.outcome == Outcome::Granted;
    assert_eq!(granted, matches!(turn, Turn::Served(_)) && read.is_ok() && is_spoken(request));
    assert_eq!(answer.credentials, if granted { request.credentials.len() } else { 0 });
    assert!(answer.credentials <= limits::MRAS_CREDENTIALS_MAX);
    let (fixed, each) = ANSWER_MAX;
    assert!(answer.xml.len() <= fixed + each * answer.credentials + ESCAPE_MAX * body.len());
    assert_eq!(answer.xml.contains("<password>"), granted, "{}", answer.xml);
    is_whole(&answer.xml, request, answer.credentials);
}

fn is_spoken(request: &Request) -> bool {
    matches!(&*request.version, "1.0" | "2.0")
}

/// An answer is XML that says again whom it answers, and has an element for each credential and no other.
fn is_whole(xml: &str, request: &Request, credentials: usize) {
    let mut reader = Reader::from_str(xml);
    let (mut depth, mut passwords) = (0_usize, 0);
    loop {
        match reader.read_event().expect("an answer is XML") {
            Event::Start(start) => {
                let name = start.local_name();
                passwords += usize::from(name.as_ref() == "password");
                if depth == 0 {
                    is_repeated(&start, request);
                }
                depth += 1;
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!((depth, passwords), (0, credentials));
}

/// The root has the attributes of an answer and no other, and says again what the request's said.
fn is_repeated(root: &BytesStart<'_>, request: &Request) {
    let attributes: Vec<_> = root
        .attributes()
        .map(|attribute| {
            let attribute = attribute.expect("an attribute of an answer");
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).expect("escaped");
            (attribute.key.as_ref().to_owned(), normal(&value))
        })
        .collect();
    let names: Vec<_> = attributes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["requestID", "version", "serverVersion", "from", "to", "reasonPhrase", "xmlns"]);
    for (at, said) in [(0, &request.id), (3, &request.from), (4, &request.to)] {
        assert_eq!(attributes[at].1, normal(said), "{}", names[at]);
    }
}

/// White space of an attribute is a space wherever it is read again.
fn normal(text: &str) -> String {
    text.replace("\r\n", " ").replace(['\r', '\n', '\t'], " ")
}

fn of_sip(turn: Turn<'_>, choices: &mut Choices<'_>) {
    let steps = [1, choices.below(256) + 1, usize::from(choices.u16()) + 1];
    let stream = choices.remainder();
    let whole = heard(stream, stream.len().max(1));
    for step in steps {
        assert_eq!(heard(stream, step), whole, "in pieces of {step}");
    }
    for said in &whole.0 {
        let reply = sip::answer(turn, UNIX, said);
        assert!(reply.credentials == 0 || reply.outcome == Outcome::Granted);
        match said {
            Said::KeepAlive => assert_eq!(reply.bytes, b"\r\n"),
            Said::Message(_) if reply.bytes.is_empty() => assert_eq!(reply.outcome, Outcome::Ignored),
            Said::Message(_) => is_one_response(&reply.bytes),
        }
    }
}

/// What a stream says in pieces of so many bytes, and whether it ends there.
fn heard(stream: &[u8], step: usize) -> (Vec<Said>, bool) {
    let (mut parser, mut all) = (Parser::default(), Vec::new());
    for piece in stream.chunks(step) {
        parser.take(piece);
        loop {
            match parser.said() {
                Ok(Some(said)) => all.push(said),
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
    }
    (all, false)
}

/// A head of lines that each end as they should, and a body of the length that it tells.
fn is_one_response(bytes: &[u8]) {
    let text = str::from_utf8(bytes).expect("an answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    assert!(lines.next().is_some_and(|line| line.starts_with("SIP/2.0 ")), "{head}");
    let mut length = None;
    for line in lines {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let (name, value) = line.split_once(": ").expect("a header");
        if name == "Content-Length" {
            assert_eq!(length.replace(value.parse::<usize>().expect("a number")), None);
        }
    }
    assert_eq!(length, Some(body.len()));
}
