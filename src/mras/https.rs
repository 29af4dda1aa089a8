//! One connection that speaks HTTPS: `POST /mras` with the XML, and everything else refused.

use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::proto::types::limits;

use super::CONTENT_TYPE;
use super::guest::Guest;
use super::is_our_type;
use super::outcome::Outcome;
use super::response;
use super::stats::End;

/// Where the service is.
const PATH: &str = "/mras";
/// Bytes of a body that are read before whoever goes on sending is cut off.
const DISCARDED_MAX: usize = 4 * limits::MRAS_BODY_MAX;

/// Answers what is asked, one request after the other, until somebody ends it.
pub(super) async fn serve(stream: TlsStream<TcpStream>, guest: Rc<Guest>) -> End {
    let deadlines = guest.hall.config.deadlines;
    let asked = Rc::clone(&guest);
    let service = service_fn(move |request| {
        let guest = Rc::clone(&asked);
        async move { Ok::<_, Infallible>(answer(&guest, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.message)
        .max_buf_size(limits::MRAS_HTTP_HEAD_MAX)
        .max_headers(limits::MRAS_HTTP_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = sleep(deadlines.https) => {
            connection.as_mut().graceful_shutdown();
            return match timeout(deadlines.message, connection).await {
                Ok(_) => End::Expired,
                Err(_) => End::Slow,
            };
        }
    };
    match ended {
        Ok(()) if guest.is_over() => End::Forbidden,
        Ok(()) => End::Left,
        Err(error) if error.is_timeout() => End::Slow,
        Err(error) if error.is_parse() => End::Broken,
        Err(_) => End::Failed,
    }
}

async fn answer(guest: &Guest, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let refused = |status, outcome| guest.ask(|_, _| (plain(status), outcome, 0));
    if request.uri().path() != PATH {
        return refused(StatusCode::NOT_FOUND, Outcome::NotServed);
    }
    if request.method() != Method::POST {
        let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, Outcome::NotServed);
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        return response;
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(is_our_type) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, Outcome::MediaType);
    }
    let body = match timeout(guest.hall.config.deadlines.message, whole(request.into_body())).await {
        Ok(Ok(body)) if body.len() > limits::MRAS_BODY_MAX => {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, Outcome::TooLarge);
        }
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refused(StatusCode::BAD_REQUEST, Outcome::Unreadable),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, Outcome::Unreadable),
    };
    let mut response = guest.ask(|turn, unix| match response::answer(turn, unix, &body) {
        Some(answer) => (xml(answer.xml), answer.outcome, answer.credentials),
        None => (plain(StatusCode::BAD_REQUEST), Outcome::Unreadable, 0),
    });
    if guest.is_over() {
        close(&mut response);
    }
    response
}

/// The whole body, or of a longer one so much that it can be seen to be too long. Some more is read and thrown away, for
/// whoever is still sending does not hear a refusal.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        seen += data.len();
        let room = (limits::MRAS_BODY_MAX + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if seen > DISCARDED_MAX {
            break;
        }
    }
    Ok(kept)
}

fn xml(xml: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(xml));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

/// A refusal ends the connection: what stands behind the request is not looked for.
fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    close(&mut response);
    response
}

fn close(response: &mut Response<Full<Bytes>>) {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
}
