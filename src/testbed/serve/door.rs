//! The door of the page: HTTP, asked by browsers of the laboratory.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::testbed::edge::Button;
use crate::testbed::edge::Edge;
use crate::testbed::edge::Input;

use super::Came;
use super::board::Board;
use super::page;

/// Bytes of a form.
const FORM_MAX: usize = 4_096;

/// What a browser asks.
#[derive(Debug)]
pub(crate) enum Ask {
    Html(oneshot::Sender<String>),
    Json(oneshot::Sender<String>),
    Press { client: String, button: usize },
}

/// Serves until it is aborted.
pub(super) fn open(listener: TcpListener, came: mpsc::Sender<Came>) -> JoinHandle<()> {
    let router = Router::new()
        .route("/", get(html))
        .route("/clients.json", get(json))
        .route("/press", post(press))
        .layer(DefaultBodyLimit::max(FORM_MAX))
        .with_state(came);
    tokio::spawn(async move {
        // It ends with the process only.
        let _ = axum::serve(listener, router).await;
    })
}

/// Carries out what was asked.
pub(super) fn answer<E: Entropy>(ask: Ask, now: Now, edge: &mut Edge<E>, board: &Board) {
    match ask {
        // Whoever asked may be gone.
        Ask::Html(to) => drop(to.send(page::html(edge, board))),
        Ask::Json(to) => drop(to.send(page::json(edge, board))),
        Ask::Press { client, button } => {
            if let Some((_, what)) = page::buttons().get(button) {
                edge.handle_input(now, Input::Button(Button { client: &client, what }));
            }
        }
    }
}

async fn html(State(came): State<mpsc::Sender<Came>>) -> Response {
    told(came, Ask::Html, "text/html; charset=utf-8").await
}

async fn json(State(came): State<mpsc::Sender<Came>>) -> Response {
    told(came, Ask::Json, "application/json").await
}

async fn told(
    came: mpsc::Sender<Came>,
    ask: fn(oneshot::Sender<String>) -> Ask,
    content_type: &'static str,
) -> Response {
    let (to, told) = oneshot::channel();
    if came.send(Came::Asked(ask(to))).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match told.await {
        Ok(body) => {
            let policy =
                "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::CACHE_CONTROL, "no-store"),
                (header::CONTENT_SECURITY_POLICY, policy),
            ];
            (headers, body).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn press(State(came): State<mpsc::Sender<Came>>, headers: HeaderMap, body: Bytes) -> Response {
    // A page of somebody else's presses no buttons here.
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let body = String::from_utf8_lossy(&body);
    let client = page::field(&body, "client");
    let button = page::field(&body, "button").and_then(|button| button.parse().ok());
    let (Some(client), Some(button)) = (client, button) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if came.send(Came::Asked(Ask::Press { client, button })).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response()
}
