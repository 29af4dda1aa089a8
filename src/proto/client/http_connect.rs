//! A tunnel through an HTTP proxy (RFC 9110 § 9.3.6): what is asked of the proxy on a fresh connection, and what it answers.
//! From a 2xx on the bytes are the server's, TLS with it or not.
//!
//! Whoever owns the connection writes [`HttpConnect::request`] and gives [`HttpConnect::handle_bytes`] what comes, until it is
//! open. Of proofs it knows none and Basic (RFC 7617), which is sent with the first request: a proxy that wants it would
//! answer 407 otherwise, and may close then.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::proto::types::Secret;
use crate::proto::types::limits::HTTP_CONNECT_AUTHORITY_MAX;
use crate::proto::types::limits::HTTP_CONNECT_HEAD_MAX;

/// Who asks a proxy: a name and a password for Basic (RFC 7617).
#[derive(Clone, Debug)]
pub struct ProxyLogin {
    encoded: Secret,
}

impl ProxyLogin {
    /// `None` where the standard has no way to say it: a colon in the name, a control character in either.
    #[must_use]
    pub fn new(name: &str, password: &str) -> Option<Self> {
        let is_sayable = |text: &str| !text.chars().any(char::is_control);
        if name.contains(':') || !is_sayable(name) || !is_sayable(password) {
            return None;
        }
        let pair = Secret::new(format!("{name}:{password}").into_bytes());
        Some(Self { encoded: Secret::new(STANDARD.encode(pair.expose()).into_bytes()) })
    }

    /// Whether `credentials`, as they stand behind `Basic `, are these.
    #[must_use]
    pub fn is(&self, credentials: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        self.encoded.expose().ct_eq(credentials).into()
    }
}

/// How far a tunnel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectProgress {
    /// The proxy has yet to answer.
    Waiting,
    /// From here on there are the server's bytes, both ways.
    Open {
        /// What came behind the answer.
        rest: Box<[u8]>,
    },
    /// The proxy refuses, or the server cannot be reached from it. The connection is of no more use.
    Refused {
        /// The status code: 407 where it wants another proof or any.
        status: u16,
    },
    /// What it says is no HTTP, or too long.
    Broken,
}

/// A tunnel that is asked for.
#[derive(Debug)]
pub struct HttpConnect {
    request: Secret,
    inbox: Vec<u8>,
    /// So much of it has no end in it.
    searched: usize,
    progress: ConnectProgress,
}

/// What the head of an answer ends with.
const END: &[u8] = b"\r\n\r\n";

impl HttpConnect {
    /// A tunnel to `authority`: a host and a port, `turn.example.net:443` or `[2001:db8::1]:443`. `None` where that is too long
    /// or no authority (blanks, control characters, no port).
    #[must_use]
    pub fn new(authority: &str, login: Option<&ProxyLogin>) -> Option<Self> {
        let (host, port) = authority.rsplit_once(':')?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_port || !is_host || authority.len() > HTTP_CONNECT_AUTHORITY_MAX {
            return None;
        }
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(login) = login {
            request.extend_from_slice(b"Proxy-Authorization: Basic ");
            request.extend_from_slice(login.encoded.expose());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let (inbox, progress) = (Vec::new(), ConnectProgress::Waiting);
        Some(Self { request: Secret::new(request), inbox, searched: 0, progress })
    }

    /// What is to be written first.
    #[must_use]
    pub fn request(&self) -> &[u8] {
        self.request.expose()
    }

    /// Bytes came, however they were split. Once it is open they are the server's, and come back as they are.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> ConnectProgress {
        match &self.progress {
            ConnectProgress::Waiting => {}
            ConnectProgress::Open { .. } => return ConnectProgress::Open { rest: bytes.into() },
            over => return over.clone(),
        }
        self.inbox.extend_from_slice(bytes);
        while self.progress == ConnectProgress::Waiting {
            // Bytes that come one by one are looked at a few times, and not all of them each time.
            let from = self.searched;
            let head = self.inbox[from..].windows(END.len()).position(|window| window == END);
            let Some(head) = head.map(|at| from + at).filter(|at| at + END.len() <= HTTP_CONNECT_HEAD_MAX)
            else {
                self.searched = self.inbox.len().saturating_sub(END.len() - 1);
                if self.inbox.len() > HTTP_CONNECT_HEAD_MAX {
                    self.progress = ConnectProgress::Broken;
                }
                break;
            };
            self.searched = 0;
            let rest = self.inbox.split_off(head + END.len());
            let answer = std::mem::replace(&mut self.inbox, rest);
            self.progress = match status(&answer) {
                // Something is told in between (RFC 9110 § 15.2).
                Some(100..=199) => continue,
                // Whatever it says of a length or a coding does not count here (RFC 9110 § 9.3.6).
                Some(200..=299) => ConnectProgress::Open { rest: std::mem::take(&mut self.inbox).into() },
                Some(status) => ConnectProgress::Refused { status },
                None => ConnectProgress::Broken,
            };
        }
        self.progress.clone()
    }
}

/// The code of a status line, `HTTP/1.1 200 …` (RFC 9112 § 4).
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', code @ ..] = rest else { return None };
    let (code, behind) = code.split_at_checked(3)?;
    if !matches!(behind.first(), Some(b' ' | b'\r')) {
        return None;
    }
    let code =
        std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))?;
    code.parse().ok().filter(|code| (100..=599).contains(code))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tunnel() -> HttpConnect {
        HttpConnect::new("turn.example.net:443", None).unwrap()
    }

    fn open(rest: &[u8]) -> ConnectProgress {
        ConnectProgress::Open { rest: rest.into() }
    }

    #[test]
    fn the_request_is_the_standards_with_a_proof_or_without() {
        let plain = "CONNECT turn.example.net:443 HTTP/1.1\r\nHost: turn.example.net:443\r\n\r\n";
        assert_eq!(tunnel().request(), plain.as_bytes());
        // RFC 7617 § 2.
        let login = ProxyLogin::new("Aladdin", "open sesame").unwrap();
        let proved = HttpConnect::new("[2001:db8::1]:443", Some(&login)).unwrap();
        let text = String::from_utf8(proved.request().to_vec()).unwrap();
        assert!(
            text.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
            "{text}"
        );
        assert!(login.is(b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==") && !login.is(b"QWxhZGRpbjpvcGVuIHNlc2FtZQ="));
        assert!(!format!("{proved:?} {login:?}").contains("QWxh"));
    }

    #[test]
    fn what_would_be_another_request_is_none() {
        for authority in [
            "",
            ":443",
            "a",
            "a:",
            "a:0",
            "a:70000",
            "a b:1",
            "a\r\nX: y:1",
            "ä:1",
            &format!("{}:1", "a".repeat(300)),
        ] {
            assert!(HttpConnect::new(authority, None).is_none(), "{authority:?}");
        }
        for (name, password) in [("a:b", "c"), ("a\r", "c"), ("a", "c\n")] {
            assert!(ProxyLogin::new(name, password).is_none());
        }
    }

    #[test]
    fn a_2xx_opens_and_what_stands_behind_it_is_the_servers() {
        let mut tunnel = tunnel();
        assert_eq!(
            tunnel.handle_bytes(b"HTTP/1.1 200 Connection established\r\nContent-Length: 9\r\n\r"),
            ConnectProgress::Waiting
        );
        assert_eq!(tunnel.handle_bytes(b"\nabc"), open(b"abc"));
        assert_eq!(tunnel.handle_bytes(b"def"), open(b"def"));
    }

    #[test]
    fn what_is_told_in_between_is_passed_over() {
        let mut tunnel = tunnel();
        assert_eq!(tunnel.handle_bytes(b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.0 200\r\n\r\nx"), open(b"x"));
    }

    #[test]
    fn a_refusal_has_its_code_and_stays() {
        for status in [301, 403, 407, 502] {
            let mut tunnel = tunnel();
            let refused = ConnectProgress::Refused { status };
            assert_eq!(tunnel.handle_bytes(format!("HTTP/1.1 {status} No\r\n\r\n").as_bytes()), refused);
            assert_eq!(tunnel.handle_bytes(b"HTTP/1.1 200 Yes\r\n\r\n"), refused);
        }
    }

    #[test]
    fn what_is_no_http_or_never_ends_is_broken() {
        for answer in [
            "SSH-2.0\r\n\r\n",
            "HTTP/2 200 \r\n\r\n",
            "HTTP/1.1 20 x\r\n\r\n",
            "HTTP/1.1 2000\r\n\r\n",
            "HTTP/1.1 999 \r\n\r\n",
        ] {
            assert_eq!(tunnel().handle_bytes(answer.as_bytes()), ConnectProgress::Broken, "{answer:?}");
        }
        let mut tunnel = tunnel();
        let line = [b'a'; 1_000];
        let longest = HTTP_CONNECT_HEAD_MAX / line.len() + 1;
        let told: Vec<_> = (0..longest).map(|_| tunnel.handle_bytes(&line)).collect();
        assert_eq!(told.iter().filter(|told| **told == ConnectProgress::Broken).count(), 1);
    }

    #[test]
    fn the_longest_head_is_the_limit_however_it_is_split() {
        for (len, progress) in
            [(HTTP_CONNECT_HEAD_MAX, open(b"")), (HTTP_CONNECT_HEAD_MAX + 1, ConnectProgress::Broken)]
        {
            let mut answer = b"HTTP/1.1 200 ".to_vec();
            answer.resize(len - END.len(), b'a');
            answer.extend_from_slice(END);
            assert_eq!(tunnel().handle_bytes(&answer), progress, "{len}");
            let mut slow = tunnel();
            let last = answer.iter().map(|byte| slow.handle_bytes(&[*byte])).last();
            assert_eq!(last, Some(progress), "{len}");
        }
    }

    proptest! {
        #[test]
        fn it_is_total_and_does_not_care_how_bytes_are_split(
            bytes in prop::collection::vec(prop::sample::select(b"HTTP/1.1 200\r\n4x:".to_vec()), 0..200),
            prefix in any::<bool>(),
            cut in 0..200_usize,
        ) {
            let bytes = if prefix { [b"HTTP/1.1 200 ".as_slice(), &bytes].concat() } else { bytes };
            let cut = cut.min(bytes.len());
            let whole = tunnel().handle_bytes(&bytes);
            let mut parts = tunnel();
            let first = parts.handle_bytes(&bytes[..cut]);
            let second = parts.handle_bytes(&bytes[cut..]);
            let joined = match (first, second) {
                (ConnectProgress::Open { rest: one }, ConnectProgress::Open { rest: two }) => open(&[one, two].concat()),
                (_, second) => second,
            };
            prop_assert_eq!(whole, joined);
        }
    }
}
