//! A connection through an HTTP proxy.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::proto::client::ConnectProgress;
use crate::proto::client::HttpProxy;
use crate::proto::client::ProxyFailure;

use super::Error;

/// Bytes of the answer that are looked at in one go.
const LOOK: usize = 512;

/// Has `proxy` connect to `server`. What is read and written from then on is the server's. Whoever asks says how long it may
/// take.
///
/// # Errors
/// What the network says of the way to the proxy, and why it opens none.
pub(super) async fn tunnel(proxy: &HttpProxy, server: SocketAddr) -> Result<TcpStream, Error> {
    let mut stream = TcpStream::connect((proxy.host(), proxy.port())).await.map_err(Error::Connect)?;
    let mut tunnel = proxy.tunnel(server);
    stream.write_all(tunnel.request()).await.map_err(broken_off)?;
    let mut bytes = [0; LOOK];
    loop {
        // What stands behind the answer is the server's, and stays in the socket.
        let seen = stream.peek(&mut bytes).await.map_err(broken_off)?;
        if seen == 0 {
            return Err(Error::Proxy(ProxyFailure::Cut));
        }
        let progress = tunnel.handle_bytes(&bytes[..seen]);
        if let Some(failure) = proxy.failure(&progress) {
            return Err(Error::Proxy(failure));
        }
        let is_open = matches!(progress, ConnectProgress::Open { .. });
        let of_server = if let ConnectProgress::Open { rest } = progress { rest.len() } else { 0 };
        let of_proxy = seen.saturating_sub(of_server);
        stream.read_exact(&mut bytes[..of_proxy]).await.map_err(broken_off)?;
        if is_open {
            return Ok(stream);
        }
    }
}

/// The connection to the proxy itself says that it is over.
fn broken_off(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            Error::Proxy(ProxyFailure::Cut)
        }
        _ => Error::Connect(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What the client says, and what comes of an answer that arrives in pieces of so many bytes.
    async fn ask(url: &str, answer: &[u8], piece: usize) -> (String, Result<(TcpStream, TcpStream), Error>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is free");
        let port = listener.local_addr().expect("bound").port();
        let proxy = HttpProxy::parse(&url.replace("PORT", &port.to_string())).expect("a proxy");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("it comes");
            stream.set_nodelay(true).expect("a socket");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.expect("a request"));
            }
            for piece in answer.chunks(piece) {
                // A client that has heard enough may be gone.
                let _ = stream.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = stream.shutdown().await;
            (String::from_utf8_lossy(&asked).into_owned(), stream)
        };
        let server = "192.0.2.1:443".parse().expect("an address");
        let ((asked, end), opened) = tokio::join!(serve, tunnel(&proxy, server));
        (asked, opened.map(|stream| (stream, end)))
    }

    #[tokio::test]
    async fn what_stands_behind_the_answer_is_the_servers_however_it_is_split() {
        let answer =
            b"HTTP/1.1 103 Wait\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\x16\x03behind";
        for piece in [1, 2, 7, answer.len()] {
            let (asked, opened) = ask("http://a:b@127.0.0.1:PORT", answer, piece).await;
            let expected = "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n";
            assert_eq!(asked, expected);
            let mut behind = Vec::new();
            opened.expect("open").0.read_to_end(&mut behind).await.expect("a socket");
            assert_eq!(behind, b"\x16\x03behind", "{piece}");
        }
    }

    #[tokio::test]
    async fn every_way_to_fail_is_told_apart() {
        let endless = [b"HTTP/1.1 200 ok\r\nX: ".as_slice(), &[b'x'; 20_000]].concat();
        for (url, answer, why) in [
            ("http://h:PORT", &b"HTTP/1.1 407 No\r\n\r\n"[..], ProxyFailure::LoginWanted),
            ("http://a:b@h:PORT", b"HTTP/1.1 407 No\r\n\r\n", ProxyFailure::LoginRefused),
            ("http://h:PORT", b"HTTP/1.1 403 No\r\n\r\n", ProxyFailure::Refused { status: 403 }),
            ("http://h:PORT", b"HTTP/1.0 502 \r\n\r\n", ProxyFailure::Refused { status: 502 }),
            ("http://h:PORT", b"SSH-2.0-x\r\n\r\n", ProxyFailure::NotHttp),
            ("http://h:PORT", &endless, ProxyFailure::NotHttp),
            ("http://h:PORT", b"HTTP/1.1 200 ok\r\nVia: ", ProxyFailure::Cut),
            ("http://h:PORT", b"", ProxyFailure::Cut),
        ] {
            for piece in [1, answer.len().max(1)] {
                let opened = ask(&url.replace("h:", "127.0.0.1:"), answer, piece).await.1;
                assert!(matches!(opened, Err(Error::Proxy(told)) if told == why), "{why:?}: {opened:?}");
            }
        }
    }
}
