//! The admin door: `GET /metrics` and `GET /health` over HTTP/1.1, everything else 404. It has a thread and a runtime
//! of its own, so that a scrape never waits for the control task nor the other way round.

use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::runtime;
use tokio::sync::oneshot;

use super::Config;
use super::Sources;
use super::health;
use super::limited::CONNECTION_LIFETIME_MAX;
use super::limited::CONNECTIONS_MAX;
use super::limited::Limited;
use super::metrics;

/// How long open connections may hold up the end.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(1);

/// A bound door that serves nobody yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    local: SocketAddr,
}

/// A door that serves. Dropping it, or [`Self::shutdown`], closes it and waits for its thread.
#[derive(Debug)]
pub struct Admin {
    local: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Binds the door's address.
///
/// # Errors
/// What the kernel said: a taken port, a missing address, a privileged port.
pub fn bind(config: Config) -> io::Result<Bound> {
    let listener = TcpListener::bind(config.listen)?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr()?;
    Ok(Bound { listener, local })
}

impl Bound {
    /// Where it listens; the port is the kernel's choice if the configuration said 0.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves on a thread named `admin`.
    ///
    /// # Errors
    /// The kernel refused the runtime's descriptors or the thread.
    pub fn serve(self, sources: Sources) -> io::Result<Admin> {
        self.serve_within(sources, CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX)
    }

    fn serve_within(self, sources: Sources, connections: usize, lifetime: Duration) -> io::Result<Admin> {
        let Self { listener, local } = self;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            Limited::new(tokio::net::TcpListener::from_std(listener)?, connections, lifetime)
        };
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(serve_until(listener, router(sources), stopped));
            runtime.shutdown_timeout(Duration::ZERO);
        };
        let thread = thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
        Ok(Admin { local, stop: Some(stop), thread: Some(thread) })
    }
}

impl Admin {
    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Closes the door and waits for its thread: a second at most, and a little.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // Neither can fail in a way that matters here: the thread is gone already, or it panicked and said so.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve_until(listener: Limited, router: Router, stopped: oneshot::Receiver<()>) {
    let (closing, closed) = oneshot::channel::<()>();
    let shutdown = async move {
        // An error means that the `Admin` is gone, which is the same wish.
        let _ = stopped.await;
        drop(closing);
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown).into_future();
    let overdue = async {
        let _ = closed.await;
        tokio::time::sleep(SHUTDOWN_WITHIN).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin door closed");
            }
        }
        () = overdue => {}
    }
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(serve_metrics))
        .route("/health", get(serve_health))
        .method_not_allowed_fallback(not_found)
        .fallback(not_found)
        .with_state(sources)
}

async fn serve_metrics(State(sources): State<Sources>) -> impl IntoResponse {
    answer(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(&sources))
}

async fn serve_health(State(sources): State<Sources>) -> impl IntoResponse {
    let control = sources.control.snapshot();
    let health = health::judge((sources.clock)(), &control, &(sources.workers)());
    let status = StatusCode::from_u16(health.status()).expect("200 and 503 are status codes");
    answer(status, "application/json", health.body())
}

async fn not_found() -> impl IntoResponse {
    answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "there is /metrics and /health\n".to_owned())
}

/// Each connection carries one answer: a connection kept alive would be a place taken from the next reader.
fn answer(status: StatusCode, content_type: &'static str, body: String) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
    ];
    (status, headers, body)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;
    use std::net::TcpStream;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::admin::AcmeSnapshot;
    use crate::admin::MrasSnapshot;
    use crate::admin::StreamsSnapshot;
    use crate::admin::WorkerSnapshot;
    use crate::control::view::ControlView;
    use crate::proto::types::Tick;

    use super::*;

    #[test]
    fn metrics_are_served_with_their_media_type() {
        let (door, _) = open(CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX);
        let answer = ask(&door, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(&format!("content-type: {}\r\n", metrics::CONTENT_TYPE)), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains("swingbridge_packets_dropped_total{"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[test]
    fn health_follows_the_control_task() {
        let (door, control) = open(CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX);
        let before = ask(&door, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(before.starts_with("HTTP/1.1 503 "), "{before}");
        control.alive(Tick::from_millis(1_000));
        let after = ask(&door, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(after.starts_with("HTTP/1.1 200 "), "{after}");
        assert!(after.ends_with(r#"{"status":"ok"}"#), "{after}");
    }

    #[test]
    fn everything_else_is_not_found() {
        let (door, _) = open(CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX);
        for request in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "DELETE /health HTTP/1.1\r\nHost: x\r\n\r\n",
        ] {
            let answer = ask(&door, request);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{request}: {answer}");
        }
    }

    #[test]
    fn bytes_that_are_no_http_close_the_connection_and_nothing_else() {
        let (door, _) = open(CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX);
        for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0\r\n\r\n", &[0xFF; 70_000]] {
            let mut stream = TcpStream::connect(door.local_addr()).expect("the door is open");
            let _ = stream.write_all(garbage);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        assert!(ask(&door, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_slow_request_is_cut_off_and_its_place_is_free_again() {
        let (door, _) = open(1, Duration::from_millis(200));
        let begun = Instant::now();
        let mut slow = TcpStream::connect(door.local_addr()).expect("the door is open");
        slow.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").expect("sent");
        let answer = ask(&door, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(begun.elapsed() >= Duration::from_millis(150), "the only place was free too early");
        let mut rest = Vec::new();
        let _ = slow.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }

    #[test]
    fn a_taken_address_is_an_error_before_anything_is_served() {
        let (door, _) = open(CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX);
        let error = bind(Config { listen: door.local_addr() }).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn shutdown_ends_the_thread_and_frees_the_port_even_with_a_reader_that_stays() {
        let (door, _) = open(CONNECTIONS_MAX, CONNECTION_LIFETIME_MAX);
        let address = door.local_addr();
        let mut stays = TcpStream::connect(address).expect("the door is open");
        stays.write_all(b"GET /me").expect("sent");
        let begun = Instant::now();
        door.shutdown();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(TcpStream::connect(address).is_err());
    }

    fn open(connections: usize, lifetime: Duration) -> (Admin, Arc<ControlView>) {
        let control = Arc::new(ControlView::new());
        let sources = Sources {
            streams: Arc::new(StreamsSnapshot::default),
            mras: Arc::new(MrasSnapshot::default),
            acme: Arc::new(AcmeSnapshot::default),
            control: Arc::clone(&control),
            workers: Arc::new(|| vec![WorkerSnapshot::idle()]),
            clock: Arc::new(|| Tick::from_millis(1_500)),
            path: "sockets",
        };
        let listen = "127.0.0.1:0".parse().expect("a literal");
        let bound = bind(Config { listen }).expect("a free port");
        (bound.serve_within(sources, connections, lifetime).expect("a thread"), control)
    }

    fn ask(door: &Admin, request: &str) -> String {
        let mut stream = TcpStream::connect(door.local_addr()).expect("the door is open");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in UTF-8");
        answer
    }
}
