//! Connections come in here, one listener at a time.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::net::Places;
use crate::net::StreamListener;
use crate::net::tcp::tune;

use super::Config;
use super::Stats;
use super::dispatch::Dispatch;
use super::judge;
use super::web;

/// How long to wait after a failed accept: it fails again at once while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// So often at most a listener that fails is a line in the log; each failure is counted.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What all connections share.
pub(super) struct Hall {
    pub(super) config: Config,
    pub(super) stats: Arc<Stats>,
    pub(super) places: RefCell<Places>,
    pub(super) dispatch: RefCell<Dispatch>,
    pub(super) web: web::Door,
}

/// A connection that was just accepted.
pub(super) struct Accepted {
    pub(super) socket: TcpStream,
    /// Who connected.
    pub(super) client: SocketAddr,
    /// The address that was connected to.
    pub(super) server: SocketAddr,
}

/// Accepts for ever.
pub(super) async fn accept(hall: Rc<Hall>, listener: StreamListener) {
    let local = listener.local();
    let listener = match TcpListener::from_std(listener.into_socket()) {
        Ok(listener) => listener,
        Err(error) => {
            return tracing::error!(%local, %error, "cannot watch a listener: nobody is accepted there");
        }
    };
    let mut complained: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((socket, client)) => admit(&hall, socket, client),
            // The client left while it waited.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                hall.stats.count_accept_error();
                if complained.is_none_or(|then| then.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(%local, %error, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(hall: &Rc<Hall>, socket: TcpStream, client: SocketAddr) {
    hall.stats.count_accepted();
    // A connection that has no address any more is one whose client has left.
    let Ok(server) = socket.local_addr() else { return };
    let place = hall.places.borrow_mut().take(client.ip());
    match place {
        Ok(place) => {
            tune(&socket);
            let accepted = Accepted { socket, client, server };
            spawn_local(judge::receive(Rc::clone(hall), accepted, place));
        }
        Err(full) => hall.stats.count_full(full),
    }
}
