//! HTTP CONNECT, both ends: what is sure stays sure however bytes are split, no head is longer than the limit, and what one end
//! says the other understands.

use crate::proto::client::ConnectProgress;
use crate::proto::client::HttpConnect;
use crate::proto::client::HttpProxy;
#[cfg(feature = "server")]
use crate::proto::client::ProxyLogin;
use crate::proto::types::limits::HTTP_CONNECT_HEAD_MAX;
#[cfg(feature = "server")]
use crate::testbed::proxy::Rules;
#[cfg(feature = "server")]
use crate::testbed::proxy::Said;
#[cfg(feature = "server")]
use crate::testbed::proxy::Session;

pub(super) fn body(bytes: &[u8]) {
    answer(bytes);
    answer(&[b"HTTP/1.1 ", bytes].concat());
    answer(&[b"HTTP/1.1 200 ok\r\n", bytes, b"\r\n\r\nbehind"].concat());
    url(bytes);
    #[cfg(feature = "server")]
    {
        request(bytes);
        request(&[b"CONNECT ", bytes, b" HTTP/1.1\r\n\r\nbehind"].concat());
        request(&[b"CONNECT a:443 HTTP/1.1\r\nProxy-Authorization: Basic ", bytes, b"\r\n\r\n"].concat());
    }
}

/// What a proxy may answer.
fn answer(bytes: &[u8]) {
    let tunnel = || HttpConnect::new("turn.example.net:443", None).expect("an authority");
    let mut whole = tunnel();
    let known = whole.handle_bytes(bytes);
    let mut slow = tunnel();
    let mut rest = Vec::new();
    let mut now = ConnectProgress::Waiting;
    for byte in bytes {
        let next = slow.handle_bytes(&[*byte]);
        let is_settled = now != ConnectProgress::Waiting;
        assert!(!is_settled || kind(&next) == kind(&now), "{now:?} became {next:?}");
        if let ConnectProgress::Open { rest: behind } = &next {
            rest.extend_from_slice(behind);
        }
        now = next;
    }
    assert_eq!(kind(&known), kind(&now), "{bytes:02x?}");
    match &known {
        ConnectProgress::Open { rest: behind } => {
            assert_eq!(**behind, *rest);
            assert!(bytes.ends_with(behind), "what comes behind is no other than what came");
        }
        ConnectProgress::Refused { status } => assert!((300..600).contains(status), "{status}"),
        ConnectProgress::Waiting => {
            assert!(bytes.starts_with(b"HTTP/1.") || bytes.len() <= HTTP_CONNECT_HEAD_MAX)
        }
        ConnectProgress::Broken => {}
    }
    let proxy = HttpProxy::parse("http://proxy.example.net:3128").expect("a proxy");
    let is_failure = matches!(known, ConnectProgress::Refused { .. } | ConnectProgress::Broken);
    assert_eq!(proxy.failure(&known).is_some(), is_failure);
}

const fn kind(progress: &ConnectProgress) -> (u8, u16) {
    match progress {
        ConnectProgress::Waiting => (0, 0),
        ConnectProgress::Open { .. } => (1, 0),
        ConnectProgress::Refused { status } => (2, *status),
        ConnectProgress::Broken => (3, 0),
    }
}

/// What a user may write. What is read can be shown, read again, and asked for in one request.
fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for url in [text.to_string(), format!("http://{text}"), format!("http://{text}@192.0.2.9:3128")] {
        let Ok(proxy) = HttpProxy::parse(&url) else { continue };
        let again = HttpProxy::parse(&proxy.to_string()).expect("what is shown is a proxy");
        assert_eq!((again.host(), again.port()), (proxy.host(), proxy.port()));
        let tunnel = proxy.tunnel("192.0.2.1:443".parse().expect("an address"));
        let ends = tunnel.request().windows(4).filter(|window| window == b"\r\n\r\n").count();
        assert!(
            ends == 1 && tunnel.request().ends_with(b"\r\n\r\n"),
            "one request, whatever the user is called"
        );
    }
}

/// What a client may ask the laboratory's proxy.
#[cfg(feature = "server")]
fn request(bytes: &[u8]) {
    let login = ProxyLogin::new("alice", "wonderland");
    for rules in [Rules::default(), Rules { login, ports: vec![443] }] {
        let known = Session::default().handle_bytes(&rules, bytes);
        let (mut session, mut now, mut at) = (Session::default(), Said::Waiting, 0);
        while at < bytes.len() && now == Said::Waiting {
            now = session.handle_bytes(&rules, &bytes[at..=at]);
            at += 1;
        }
        match (&known, &now) {
            (Said::Dial { host, port, rest }, Said::Dial { host: slow, port: slow_port, rest: none }) => {
                assert_eq!((host, port, none.len()), (slow, slow_port, 0));
                assert_eq!(**rest, bytes[at..]);
                let is_open = rules.ports.is_empty() || rules.ports.contains(port);
                assert!(is_open && *port != 0 && !host.is_empty(), "{host}:{port}");
                assert!(host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?}");
            }
            _ => assert_eq!(known, now, "{bytes:02x?}"),
        }
        assert!(known != Said::Waiting || bytes.len() <= HTTP_CONNECT_HEAD_MAX, "it waits for no more");
    }
}
