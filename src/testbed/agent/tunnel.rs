//! A way through an HTTP proxy: CONNECT (RFC 9110 § 9.3.6), with Basic credentials (RFC 7617) or none.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::proto::client::ConnectProgress;
use crate::proto::client::HttpConnect;
use crate::proto::client::ProxyLogin;

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    at: SocketAddr,
    login: Option<ProxyLogin>,
}

impl Proxy {
    /// Reads `http://[USER:PASSWORD@]IP:PORT`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?.trim_end_matches('/');
        let (login, at) = match rest.rsplit_once('@') {
            Some((who, at)) => {
                let (name, password) = who.split_once(':')?;
                (Some(ProxyLogin::new(name, password)?), at)
            }
            None => (None, rest),
        };
        Some(Self { at: at.parse().ok()?, login })
    }

    /// Has the proxy connect to `to`. What is read and written from then on is the other end's.
    ///
    /// # Errors
    /// What the network says, and what the proxy refuses.
    pub(super) async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.at).await?;
        let tunnel = HttpConnect::new(&to.to_string(), self.login.as_ref());
        let mut tunnel = tunnel.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        stream.write_all(tunnel.request()).await?;
        loop {
            // One by one, as the first byte behind the answer is the other end's.
            let byte = stream.read_u8().await?;
            match tunnel.handle_bytes(&[byte]) {
                ConnectProgress::Waiting => {}
                ConnectProgress::Open { .. } => return Ok(stream),
                ConnectProgress::Refused { status } => {
                    return Err(io::Error::other(format!("the proxy refuses: {status}")));
                }
                ConnectProgress::Broken => {
                    return Err(io::Error::other("the proxy does not speak HTTP"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_proxy_is_an_address_with_or_without_a_user() {
        let plain = Proxy::read("http://192.0.2.9:8080/").expect("sound");
        assert_eq!((plain.at, plain.login.is_none()), ("192.0.2.9:8080".parse().unwrap(), true));
        let known = Proxy::read("http://alice:p@ss@192.0.2.9:8080").expect("sound");
        assert!(known.login.is_some_and(|login| login.is(b"YWxpY2U6cEBzcw==")));
        for wrong in ["192.0.2.9:8080", "https://192.0.2.9:8080", "http://proxy:8080", "http://192.0.2.9"] {
            assert!(Proxy::read(wrong).is_none(), "{wrong}");
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
        let proxy = Proxy { at, login: ProxyLogin::new("a", "b") };
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
            "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
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
