//! A way through an HTTP proxy: CONNECT (RFC 9110 § 9.3.6), with Basic credentials (RFC 7617) or none.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Bytes of a proxy's answer that are read.
const ANSWER_MAX: usize = 8 * 1_024;

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    at: SocketAddr,
    /// `USER:PASSWORD` in base64.
    basic: Option<String>,
}

impl Proxy {
    /// Reads `http://[USER:PASSWORD@]IP:PORT`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?.trim_end_matches('/');
        let (basic, at) = match rest.rsplit_once('@') {
            Some((who, at)) => (Some(STANDARD.encode(who)), at),
            None => (None, rest),
        };
        Some(Self { at: at.parse().ok()?, basic })
    }

    /// Has the proxy connect to `to`. What is read and written from then on is the other end's.
    ///
    /// # Errors
    /// What the network says, and what the proxy refuses.
    pub(super) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.at).await?;
        stream.write_all(self.request(to).as_bytes()).await?;
        let mut answer = Vec::new();
        // One by one, as the first byte behind the answer is the other end's.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= ANSWER_MAX {
                return Err(io::Error::other("the proxy's answer has no end"));
            }
            answer.push(stream.read_u8().await?);
        }
        match status(&answer) {
            Some(200..=299) => Ok(stream),
            Some(status) => Err(io::Error::other(format!("the proxy refuses: {status}"))),
            None => Err(io::Error::other("the proxy does not speak HTTP")),
        }
    }

    fn request(&self, to: SocketAddr) -> String {
        let proof = self.basic.as_ref().map(|basic| format!("Proxy-Authorization: Basic {basic}\r\n"));
        format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", proof.unwrap_or_default())
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer).ok()?.lines().next()?;
    line.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_proxy_is_an_address_with_or_without_a_user() {
        let plain = Proxy::read("http://192.0.2.9:8080/").expect("sound");
        assert_eq!((plain.at, plain.basic), ("192.0.2.9:8080".parse().unwrap(), None));
        let known = Proxy::read("http://alice:p@ss@192.0.2.9:8080").expect("sound");
        assert_eq!(known.basic, Some(STANDARD.encode("alice:p@ss")));
        for wrong in ["192.0.2.9:8080", "https://192.0.2.9:8080", "http://proxy:8080", "http://192.0.2.9"] {
            assert_eq!(Proxy::read(wrong), None, "{wrong}");
        }
    }

    /// What the client says, and what comes of an answer.
    async fn ask(answer: &'static [u8]) -> (String, io::Result<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 1_024];
            let len = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&asked[..len]).into_owned()
        });
        let proxy = Proxy { at, basic: Some("QQ==".to_owned()) };
        let first = match proxy.connect("192.0.2.1:443".parse().unwrap()).await {
            Ok(mut stream) => stream.read_u8().await,
            Err(error) => Err(error),
        };
        (served.await.unwrap(), first)
    }

    #[tokio::test]
    async fn only_a_success_opens_the_way_and_not_a_byte_behind_it_is_lost() {
        let (asked, first) = ask(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nX").await;
        assert_eq!(first.unwrap(), b'X');
        assert_eq!(
            asked,
            "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic QQ==\r\n\r\n"
        );
        for (answer, why) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "407"),
            (b"SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
            (b"HTTP/1.1 200 ok\r\n", ""),
        ] {
            let error = ask(answer).await.1.expect_err("no way").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
