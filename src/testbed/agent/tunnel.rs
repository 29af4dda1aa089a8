//! A way through an HTTP proxy: CONNECT (RFC 9110 § 9.3.6), with Basic credentials (RFC 7617) or none.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::proto::client::ConnectProgress;
use crate::proto::client::HttpProxy;

/// Has `proxy` connect to `to`. What is read and written from then on is the other end's.
///
/// # Errors
/// What the network says, and why the proxy opens no way.
pub(super) async fn connect(proxy: &HttpProxy, to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((proxy.host(), proxy.port())).await?;
    let mut tunnel = proxy.tunnel(to);
    stream.write_all(tunnel.request()).await?;
    loop {
        // One by one, as the first byte behind the answer is the other end's.
        let byte = stream.read_u8().await?;
        let progress = tunnel.handle_bytes(&[byte]);
        match proxy.failure(&progress) {
            Some(failure) => return Err(io::Error::other(failure)),
            None if progress == ConnectProgress::Waiting => {}
            None => return Ok(stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

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
        let proxy = HttpProxy::parse(&format!("http://a:b@{at}")).unwrap();
        let first = match connect(&proxy, "192.0.2.1:443".parse().unwrap()).await {
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
            (b"SSH-2.0-x\r\n\r\n", "speaks no HTTP"),
            (b"HTTP/1.1 200 ok\r\n", ""),
        ] {
            let error = ask(answer).await.1.expect_err("no way").to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
