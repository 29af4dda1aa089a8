//! Requests to the authority: HTTP/1.1 over TLS, one connection each, with a deadline and a longest answer.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use http_body_util::Limited;
use hyper::Request;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use instant_acme::BodyWrapper;
use instant_acme::BytesResponse;
use instant_acme::Error;
use instant_acme::HttpClient;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::proto::types::limits;

type Asked = Request<BodyWrapper<Bytes>>;

/// Calls the authority.
pub(super) struct Https(pub(super) Arc<ClientConfig>);

impl HttpClient for Https {
    fn request(&self, asked: Asked) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = TlsConnector::from(Arc::clone(&self.0));
        Box::pin(async move {
            let answered = timeout(limits::ACME_REQUEST_DEADLINE, exchange(tls, asked)).await;
            answered.map_err(|_| Error::Str("no answer in time"))?.map_err(Error::Other)
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    asked: Asked,
) -> Result<BytesResponse, Box<dyn StdError + Send + Sync + 'static>> {
    let (mut head, body) = asked.into_parts();
    let (host, port) = target(&head.uri).ok_or("this is no address over HTTPS")?;
    let authority = head.uri.authority().ok_or("this is no address over HTTPS")?;
    head.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse()?;
    let name = ServerName::try_from(host.clone())?;
    let socket = TcpStream::connect((host, port)).await?;
    let secured = tls.connect(name, socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(secured)).await?;
    let answered = async move {
        let (head, body) = sender.send_request(Request::from_parts(head, body)).await?.into_parts();
        let bytes = Limited::new(body, limits::ACME_ANSWER_MAX).collect().await?.to_bytes();
        Ok(BytesResponse { parts: head, body: Box::new(bytes) })
    };
    // The connection has to be driven beside, and ends with its sender.
    let (answered, _) = tokio::join!(answered, connection);
    answered
}

/// Host and port of an address over HTTPS.
fn target(uri: &Uri) -> Option<(String, u16)> {
    let is_https = uri.scheme_str() == Some("https");
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    is_https.then(|| (host.to_owned(), uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_called() {
        let read = |uri: &str| target(&uri.parse().expect("an address"));
        assert_eq!(read("https://ca.example/directory?a"), Some(("ca.example".to_owned(), 443)));
        assert_eq!(read("https://[::1]:14000/"), Some(("::1".to_owned(), 14_000)));
        for uri in ["http://ca.example/", "ftp://ca.example/", "/directory", "ca.example:443"] {
            assert_eq!(read(uri), None, "{uri}");
        }
    }
}
