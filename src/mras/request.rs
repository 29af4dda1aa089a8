//! The XML of a request → [`Request`]. A bounded text, elements of one namespace in one shape, no document type, no
//! entities but the five of XML itself, and nothing below the depth that the shape has.

use quick_xml::NsReader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::BytesRef;
use quick_xml::events::BytesStart;
use quick_xml::events::Event;
use quick_xml::name::Namespace;
use quick_xml::name::ResolveResult;

use crate::proto::types::limits;

use super::NAMESPACE;

/// Attributes of one element, namespaces included.
const ATTRIBUTES_MAX: usize = 16;
/// Characters of an id.
const ID_MAX: usize = 64;

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Outside.
    Internet,
    /// Inside.
    Intranet,
}

impl Location {
    /// The word of the schema.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::Intranet => "intranet",
        }
    }
}

/// What the root element says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What the answer is to be called.
    pub id: String,
    /// Major and minor version of the protocol, as written.
    pub version: String,
    /// Who asks.
    pub from: String,
    /// Who is asked.
    pub to: String,
    /// One to [`limits::MRAS_CREDENTIALS_MAX`].
    pub credentials: Vec<Wanted>,
}

/// One credentialsRequest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What its answer is to be called.
    pub id: String,
    /// For whom.
    pub identity: String,
    /// Where relays are wanted; `None` for both.
    pub location: Option<Location>,
    /// For how long, in minutes; at least 1.
    pub duration_min: Option<u64>,
}

/// Why a text is no request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not even the root element could be read: there is nobody to answer.
    NoRequest,
    /// The root element is good; what it holds is not.
    Content(Box<Request>),
    /// The same, with more credentials than one request may ask for.
    TooMany(Box<Request>),
}

/// Reads a request.
///
/// # Errors
/// [`Malformed`].
pub fn read(body: &[u8]) -> Result<Request, Malformed> {
    let text = str::from_utf8(body).map_err(|_| Malformed::NoRequest)?;
    if text.len() > limits::MRAS_BODY_MAX {
        return Err(Malformed::NoRequest);
    }
    let mut reader = Reader { xml: NsReader::from_str(text.trim_start_matches('\u{FEFF}')) };
    let mut request = reader.root().ok_or(Malformed::NoRequest)?;
    match reader.credentials(&mut request) {
        Some(()) if request.credentials.len() > limits::MRAS_CREDENTIALS_MAX => {
            request.credentials.clear();
            Err(Malformed::TooMany(Box::new(request)))
        }
        Some(()) if !request.credentials.is_empty() => Ok(request),
        _ => {
            request.credentials.clear();
            Err(Malformed::Content(Box::new(request)))
        }
    }
}

/// What stands next in an element.
enum Part {
    /// An element, its name and its attributes.
    Element(String, Vec<(String, String)>),
    Text(String),
    End,
}

struct Reader<'a> {
    xml: NsReader<&'a [u8]>,
}

impl Reader<'_> {
    fn root(&mut self) -> Option<Request> {
        loop {
            match self.part()? {
                Part::Text(text) if text.trim().is_empty() => {}
                Part::Element(name, attributes) if name == "request" => {
                    let value = |name: &str| {
                        let found = attributes.iter().find(|(this, _)| this == name);
                        found.map(|(_, value)| value.clone())
                    };
                    let id = value("requestID").filter(|id| is_id(id))?;
                    let (version, from, to) = (value("version")?, value("from")?, value("to")?);
                    return Some(Request { id, version, from, to, credentials: Vec::new() });
                }
                _ => return None,
            }
        }
    }

    /// What the root element holds, to its end, behind which nothing follows. Of too many credentials one more is kept.
    fn credentials(&mut self, request: &mut Request) -> Option<()> {
        loop {
            match self.part()? {
                Part::Text(text) if text.trim().is_empty() => {}
                Part::Element(name, attributes) if name == "credentialsRequest" => {
                    let wanted = self.wanted(&attributes)?;
                    if request.credentials.len() <= limits::MRAS_CREDENTIALS_MAX {
                        request.credentials.push(wanted);
                    }
                }
                Part::End => break,
                _ => return None,
            }
        }
        loop {
            match self.xml.read_event().ok()? {
                Event::Eof => return Some(()),
                Event::Comment(_) => {}
                Event::Text(text) if text.trim().is_empty() => {}
                _ => return None,
            }
        }
    }

    fn wanted(&mut self, attributes: &[(String, String)]) -> Option<Wanted> {
        let id = attributes.iter().find(|(name, _)| name == "credentialsRequestID");
        let mut wanted =
            Wanted { id: id.map(|(_, id)| id.clone()).filter(|id| is_id(id))?, ..Wanted::default() };
        loop {
            match self.part()? {
                Part::Text(text) if text.trim().is_empty() => {}
                Part::End if wanted.identity.is_empty() => return None,
                Part::End => return Some(wanted),
                Part::Element(name, _) => {
                    let text = self.text()?;
                    match name.as_str() {
                        "identity" if wanted.identity.is_empty() => wanted.identity = text,
                        "location" if wanted.location.is_none() => {
                            wanted.location = Some(match text.as_str() {
                                "internet" => Location::Internet,
                                "intranet" => Location::Intranet,
                                _ => return None,
                            });
                        }
                        "duration" if wanted.duration_min.is_none() => {
                            wanted.duration_min = Some(text.parse().ok().filter(|minutes| *minutes > 0)?);
                        }
                        _ => return None,
                    }
                }
                Part::Text(_) => return None,
            }
        }
    }

    /// The text of an element that holds nothing else, to its end.
    fn text(&mut self) -> Option<String> {
        let mut all = String::new();
        loop {
            match self.part()? {
                Part::Text(text) => all.push_str(&text),
                Part::End => return Some(all.trim().to_owned()),
                Part::Element(..) => return None,
            }
        }
    }

    fn part(&mut self) -> Option<Part> {
        loop {
            let (namespace, event) = self.xml.read_resolved_event().ok()?;
            let is_ours = matches!(namespace, ResolveResult::Bound(Namespace(name)) if name == NAMESPACE);
            return Some(match event {
                Event::Start(start) if is_ours => {
                    Part::Element(start.local_name().as_ref().to_owned(), attributes(&start)?)
                }
                Event::End(_) => Part::End,
                Event::Text(text) => Part::Text(printable(&text)?.to_owned()),
                Event::GeneralRef(name) => Part::Text(resolve(&name)?),
                Event::Comment(_) | Event::Decl(_) => continue,
                _ => return None,
            });
        }
    }
}

fn attributes(start: &BytesStart<'_>) -> Option<Vec<(String, String)>> {
    let mut all = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        if all.len() == ATTRIBUTES_MAX {
            return None;
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
        all.push((attribute.key.as_ref().to_owned(), printable(&value)?.to_owned()));
    }
    Some(all)
}

/// A character by number, or one of the five entities that every XML has.
fn resolve(name: &BytesRef<'_>) -> Option<String> {
    match name.resolve_char_ref().ok()? {
        Some(char) => printable(char.encode_utf8(&mut [0; 4])).map(str::to_owned),
        None => resolve_xml_entity(name).map(str::to_owned),
    }
}

/// `text`, unless it holds what no line of an answer or a log should.
fn printable(text: &str) -> Option<&str> {
    (!text.chars().any(|char| char.is_control() && !char.is_whitespace())).then_some(text)
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= ID_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<request requestID=\"12\" version=\"1.0\" from=\"sip:a@b.c\" to=\"sip:M;gruu\" \
             route=\"loadbalanced\" xmlns=\"{NAMESPACE}\">{inside}</request>\n"
        )
    }

    fn wanted(inside: &str) -> String {
        request(&format!("<credentialsRequest credentialsRequestID=\"7\">{inside}</credentialsRequest>"))
    }

    fn one(inside: &str) -> Option<Wanted> {
        read(wanted(inside).as_bytes()).ok().and_then(|request| request.credentials.into_iter().next())
    }

    #[test]
    fn a_request_as_clients_write_it() {
        let text = wanted(
            " <identity>sip:alice@example.com</identity>\n<!-- --> <location>intranet</location><duration>480</duration>",
        );
        let request = read(text.as_bytes()).expect("good");
        assert_eq!((&*request.id, &*request.version), ("12", "1.0"));
        assert_eq!((&*request.from, &*request.to), ("sip:a@b.c", "sip:M;gruu"));
        let expected = Wanted {
            id: "7".into(),
            identity: "sip:alice@example.com".into(),
            location: Some(Location::Intranet),
            duration_min: Some(480),
        };
        assert_eq!(request.credentials, [expected]);
    }

    #[test]
    fn a_prefix_a_mark_and_the_five_entities_are_understood() {
        let text = format!(
            "\u{FEFF}<m:request xmlns:m='{NAMESPACE}' requestID='1' version='2.0' from='a&amp;b' to='c'>\
             <m:credentialsRequest credentialsRequestID='1'><m:identity>a&amp;b&#x41;&lt;</m:identity>\
             </m:credentialsRequest></m:request>"
        );
        let request = read(text.as_bytes()).expect("good");
        assert_eq!((&*request.from, &*request.credentials[0].identity), ("a&b", "a&bA<"));
    }

    #[test]
    fn what_could_grow_or_fetch_is_refused() {
        let identity = "<identity>&x;</identity>";
        for prologue in [
            "<!DOCTYPE request [<!ENTITY x \"y\">]>",
            "<!DOCTYPE request SYSTEM \"http://example.com/x\">",
            "<!DOCTYPE request [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>",
            "<?xml-stylesheet href=\"x\"?>",
        ] {
            let text = format!("{prologue}{}", wanted(identity));
            assert_eq!(read(text.as_bytes()), Err(Malformed::NoRequest), "{prologue}");
        }
        assert_eq!(one(identity), None, "an entity that nobody declared");
        assert_eq!(one("<identity><![CDATA[x]]></identity>"), None);
        assert_eq!(one("<identity>a&#7;b</identity>"), None);
    }

    #[test]
    fn sizes_and_numbers_are_bounded() {
        let identity = "<identity>a</identity>";
        let some = |number: usize| {
            let each =
                format!("<credentialsRequest credentialsRequestID=\"1\">{identity}</credentialsRequest>");
            read(request(&each.repeat(number)).as_bytes())
        };
        assert_eq!(some(limits::MRAS_CREDENTIALS_MAX).expect("good").credentials.len(), 100);
        assert!(matches!(some(limits::MRAS_CREDENTIALS_MAX + 1), Err(Malformed::TooMany(_))));
        assert!(matches!(some(0), Err(Malformed::Content(_))));
        let long = |len| read(wanted(&format!("<identity>{}</identity>", "a".repeat(len))).as_bytes());
        assert!(long(10_000).is_ok());
        assert_eq!(long(limits::MRAS_BODY_MAX), Err(Malformed::NoRequest));
        let id = |len| read(wanted(identity).replace("\"12\"", &format!("{:?}", "1".repeat(len))).as_bytes());
        assert!(id(64).is_ok());
        assert_eq!(id(65), Err(Malformed::NoRequest));
        let many: String = (0..20).map(|n| format!(" a{n}=\"\"")).collect();
        let text = wanted(identity).replace(" route", &format!("{many} route"));
        assert_eq!(read(text.as_bytes()), Err(Malformed::NoRequest));
        let deep = "<identity>".repeat(1_000) + &"</identity>".repeat(1_000);
        assert_eq!(one(&deep), None);
    }

    #[test]
    fn another_shape_is_told_to_whoever_asked() {
        for inside in [
            "",
            "<identity></identity>",
            "<identity>a</identity><identity>b</identity>",
            "<identity>a</identity><location>home</location>",
            "<identity>a</identity><duration>0</duration>",
            "<identity>a</identity><duration>-1</duration>",
            "<identity>a</identity><duration>99999999999999999999</duration>",
            "<identity>a</identity><more/>",
            "<identity>a</identity> text",
            "<identity xmlns=\"x\">a</identity>",
            "<identity>a",
        ] {
            assert!(matches!(read(wanted(inside).as_bytes()), Err(Malformed::Content(_))), "{inside}");
        }
    }

    #[test]
    fn without_a_root_there_is_nobody_to_answer() {
        let good = wanted("<identity>a</identity>");
        assert!(read(good.as_bytes()).is_ok());
        for text in [
            "",
            "hello",
            "<request/>",
            &good.replace(NAMESPACE, "x"),
            &good.replace("requestID", "requestId"),
            &good.replace(" version=\"1.0\" from", " from"),
            &good.replace("to=", "from="),
        ] {
            assert_eq!(read(text.as_bytes()), Err(Malformed::NoRequest), "{text}");
        }
        assert_eq!(read(b"\xFF"), Err(Malformed::NoRequest));
        assert!(read(format!("{good}<more/>").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_good_text_with_one_byte_changed_is_judged(at in 0_usize..300, byte: u8) {
            let mut text = wanted("<identity>a&amp;b</identity><duration>5</duration>").into_bytes();
            let at = at % text.len();
            text[at] = byte;
            let _ = read(&text);
        }
    }
}
