//! [`Request`] → the XML of its answer, tokens included.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use quick_xml::escape::escape;

use crate::proto::auth::mras::MrasKey;
use crate::proto::auth::mras::TokenVersion;
use crate::proto::types::limits;

use super::NAMESPACE;
use super::outcome::Outcome;
use super::request;
use super::request::Location;
use super::request::Malformed;
use super::request::Request;
use super::request::Wanted;

/// What a service hands out.
#[derive(Clone, Debug)]
pub struct Service {
    /// The pair that mints.
    pub key: MrasKey,
    /// The realm that clients are told with their credential.
    pub realm: String,
    /// The relays that clients are told of.
    pub relays: Vec<MediaRelay>,
    /// The longest time that a token is good, in minutes.
    pub duration_min_max: u64,
}

/// A relay, as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRelay {
    /// From where.
    pub location: Location,
    /// Its name, or its address.
    pub host: String,
    /// Where it takes UDP.
    pub udp_port: Option<u16>,
    /// Where it takes TCP.
    pub tcp_port: Option<u16>,
}

/// The reasonPhrase of an answer, as far as this service gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Credentials follow.
    Ok,
    /// What the root element holds is no request.
    RequestMalformed,
    /// More credentials than one request may ask for.
    RequestTooLarge,
    /// A version of the protocol that is not spoken here.
    VersionMismatch,
    /// Whoever asks does so too often.
    ServerBusy,
    /// Whoever asks is not to be answered any more.
    Forbidden,
}

impl Reason {
    const fn phrase(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::RequestMalformed => "Request Malformed",
            Self::RequestTooLarge => "Request Too Large",
            Self::VersionMismatch => "Version Mismatch",
            Self::ServerBusy => "Server Busy",
            Self::Forbidden => "Forbidden",
        }
    }

    const fn outcome(self) -> Outcome {
        match self {
            Self::Ok => Outcome::Granted,
            Self::RequestMalformed => Outcome::Malformed,
            Self::RequestTooLarge => Outcome::TooLarge,
            Self::VersionMismatch => Outcome::VersionMismatch,
            Self::ServerBusy => Outcome::Busy,
            Self::Forbidden => Outcome::Forbidden,
        }
    }
}

/// What whoever asks is to get.
#[derive(Clone, Copy, Debug)]
pub enum Turn<'a> {
    /// What it asks for.
    Served(&'a Service),
    /// This phrase, to whatever it asks.
    Refused(Reason),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The XML.
    pub xml: String,
    /// What became of the request.
    pub outcome: Outcome,
    /// How many credentials the XML holds.
    pub credentials: usize,
}

/// Answers the XML of a request at `unix` seconds since 1970-01-01 UTC; `None` for a text from which not even a request's id
/// can be read.
#[must_use]
pub fn answer(turn: Turn<'_>, unix: u64, body: &[u8]) -> Option<Answer> {
    let (request, reason) = match request::read(body) {
        Ok(request) => (request, Reason::Ok),
        Err(Malformed::NoRequest) => return None,
        Err(Malformed::Content(request)) => (*request, Reason::RequestMalformed),
        Err(Malformed::TooMany(request)) => (*request, Reason::RequestTooLarge),
    };
    let refuse = |reason: Reason| Answer {
        xml: render(&request, reason, ""),
        outcome: reason.outcome(),
        credentials: 0,
    };
    Some(match (turn, reason, token_version(&request.version)) {
        (Turn::Refused(reason), ..) => refuse(reason),
        (Turn::Served(service), Reason::Ok, Some(version)) => {
            let each = request.credentials.iter().map(|wanted| credentials(service, unix, version, wanted));
            let xml = render(&request, Reason::Ok, &each.collect::<String>());
            Answer { xml, outcome: Outcome::Granted, credentials: request.credentials.len() }
        }
        (_, Reason::Ok, None) => refuse(Reason::VersionMismatch),
        (_, reason, _) => refuse(reason),
    })
}

/// The form of the tokens that clients of a version of the protocol know.
fn token_version(text: &str) -> Option<TokenVersion> {
    match text {
        "1.0" => Some(TokenVersion::V1),
        "2.0" => Some(TokenVersion::V2),
        _ => None,
    }
}

fn render(request: &Request, reason: Reason, inside: &str) -> String {
    let version = token_version(&request.version).map_or("1.0", |_| &request.version);
    format!(
        "<response requestID=\"{}\" version=\"{version}\" serverVersion=\"2.0\" from=\"{}\" to=\"{}\" \
         reasonPhrase=\"{}\" xmlns=\"{NAMESPACE}\">{inside}</response>",
        escape(&*request.id),
        escape(&*request.from),
        escape(&*request.to),
        reason.phrase(),
    )
}

fn credentials(service: &Service, unix: u64, version: TokenVersion, wanted: &Wanted) -> String {
    let longest = service.duration_min_max.min(limits::CREDENTIAL_LIFETIME_MAX.as_secs() / 60);
    let duration_min = wanted.duration_min.unwrap_or(longest).min(longest);
    let token = service.key.mint(version, wanted.identity.as_bytes(), unix.saturating_add(duration_min * 60));
    let relays = service.relays.iter().filter(|relay| wanted.location.is_none_or(|at| at == relay.location));
    format!(
        "<credentialsResponse credentialsRequestID=\"{}\"><credentials><username>{}</username><password>{}</password>\
         <duration>{duration_min}</duration><realm>{}</realm></credentials><mediaRelayList>{}</mediaRelayList>\
         </credentialsResponse>",
        escape(&*wanted.id),
        BASE64_STANDARD.encode(&token.username),
        BASE64_STANDARD.encode(token.password),
        escape(&*service.realm),
        relays.map(media_relay).collect::<String>(),
    )
}

fn media_relay(relay: &MediaRelay) -> String {
    let name = match relay.host.parse::<std::net::IpAddr>() {
        Ok(_) => "directIPAddress",
        Err(_) => "hostName",
    };
    let port = |name: &str, port: Option<u16>| {
        port.map(|port| format!("<{name}>{port}</{name}>")).unwrap_or_default()
    };
    format!(
        "<mediaRelay><location>{}</location><{name}>{}</{name}>{}{}</mediaRelay>",
        relay.location.word(),
        escape(&*relay.host),
        port("udpPort", relay.udp_port),
        port("tcpPort", relay.tcp_port),
    )
}

#[cfg(test)]
mod tests {
    use crate::proto::types::Secret;

    use super::*;

    const UNIX: u64 = 1_700_000_000;

    pub(crate) fn service() -> Service {
        let relay = |location, host: &str, udp_port| MediaRelay {
            location,
            host: host.into(),
            udp_port,
            tcp_port: None,
        };
        Service {
            key: MrasKey::new(&Secret::new(*b"the first key"), &Secret::new(*b"the second key")),
            realm: "example.com".into(),
            relays: vec![
                relay(Location::Internet, "edge.example.com", Some(3478)),
                relay(Location::Intranet, "10.0.0.5", None),
            ],
            duration_min_max: 480,
        }
    }

    fn asked(version: &str, inside: &str) -> String {
        let text = format!(
            "<request requestID=\"a&quot;b\" version=\"{version}\" from=\"sip:f\" to=\"sip:t\" xmlns=\"{NAMESPACE}\">\
             <credentialsRequest credentialsRequestID=\"7\"><identity>sip:alice@example.com</identity>{inside}\
             </credentialsRequest></request>"
        );
        answered(&text).xml
    }

    fn answered(text: &str) -> Answer {
        answer(Turn::Served(&service()), UNIX, text.as_bytes()).expect("an answer")
    }

    #[test]
    fn an_answer_has_the_shape_of_the_schema_and_the_token_of_the_identity() {
        let token = service().key.mint(TokenVersion::V1, b"sip:alice@example.com", UNIX + 480 * 60);
        let (username, password) =
            (BASE64_STANDARD.encode(&token.username), BASE64_STANDARD.encode(token.password));
        let expected = format!(
            "<response requestID=\"a&quot;b\" version=\"1.0\" serverVersion=\"2.0\" from=\"sip:f\" to=\"sip:t\" \
             reasonPhrase=\"OK\" xmlns=\"{NAMESPACE}\"><credentialsResponse credentialsRequestID=\"7\"><credentials>\
             <username>{username}</username><password>{password}</password><duration>480</duration>\
             <realm>example.com</realm></credentials><mediaRelayList><mediaRelay><location>internet</location>\
             <hostName>edge.example.com</hostName><udpPort>3478</udpPort></mediaRelay><mediaRelay>\
             <location>intranet</location><directIPAddress>10.0.0.5</directIPAddress></mediaRelay></mediaRelayList>\
             </credentialsResponse></response>"
        );
        assert_eq!(asked("1.0", ""), expected);
    }

    #[test]
    fn what_is_asked_for_is_heeded_as_far_as_it_goes() {
        let inside = asked("2.0", "<location>intranet</location><duration>5</duration>");
        assert!(
            inside.contains("<duration>5</duration>") && !inside.contains("edge.example.com"),
            "{inside}"
        );
        assert!(inside.contains("<username>AgAAJ"), "a token of version 2");
        assert!(asked("1.0", "<duration>9999999</duration>").contains("<duration>480</duration>"));
    }

    #[test]
    fn errors_are_told_in_their_phrases_and_hand_out_nothing() {
        for (answer, phrase) in
            [(asked("3.0", ""), "Version Mismatch"), (asked("1.0", "<more/>"), "Request Malformed")]
        {
            assert!(answer.contains(&format!("reasonPhrase=\"{phrase}\"")), "{answer}");
            assert!(!answer.contains("credentials"), "{answer}");
        }
        let many =
            "<credentialsRequest credentialsRequestID=\"1\"><identity>a</identity></credentialsRequest>"
                .repeat(101);
        let text = format!(
            "<request requestID=\"1\" version=\"1.0\" from=\"f\" to=\"t\" xmlns=\"{NAMESPACE}\">{many}</request>"
        );
        let answered = answered(&text);
        assert!(answered.xml.contains("Request Too Large") && !answered.xml.contains("username"));
        assert_eq!((answered.outcome, answered.credentials), (Outcome::TooLarge, 0));
        assert_eq!(answer(Turn::Served(&service()), UNIX, b"<request/>"), None);
    }

    #[test]
    fn who_is_refused_gets_the_phrase_and_nothing_else_whatever_it_asks() {
        let good = format!(
            "<request requestID=\"1\" version=\"1.0\" from=\"f\" to=\"t\" xmlns=\"{NAMESPACE}\"><credentialsRequest \
             credentialsRequestID=\"1\"><identity>a</identity></credentialsRequest></request>"
        );
        assert_eq!((answered(&good).outcome, answered(&good).credentials), (Outcome::Granted, 1));
        for text in [good.clone(), good.replace("identity", "other"), good.replace("1.0", "9.0")] {
            for (reason, phrase, outcome) in [
                (Reason::ServerBusy, "Server Busy", Outcome::Busy),
                (Reason::Forbidden, "Forbidden", Outcome::Forbidden),
            ] {
                let answer = answer(Turn::Refused(reason), UNIX, text.as_bytes()).expect("an answer");
                assert_eq!((answer.outcome, answer.credentials), (outcome, 0));
                assert!(answer.xml.contains(&format!("reasonPhrase=\"{phrase}\"")), "{}", answer.xml);
                assert!(!answer.xml.contains("password"), "{}", answer.xml);
            }
        }
    }
}
