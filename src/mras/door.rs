//! Connections come in here, one listener at a time.

use std::cell::Cell;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::Instant;
use tokio::time::sleep;

use crate::net::Full;
use crate::net::Place;
use crate::net::Places;
use crate::net::StreamListener;
use crate::net::tcp::tune;

use super::config::Config;
use super::config::Door;
use super::front_end::FrontEnds;
use super::guest::Guest;
use super::https;
use super::sip_door;
use super::start::Desk;
use super::stats::End;
use super::stats::Stats;

/// How long to wait after a failed accept: it fails again at once while descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// So often at most the same complaint is a line in the log; each occurrence is counted.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// Names of a certificate that one line of the log shows.
const NAMES_SHOWN_MAX: usize = 8;

/// What all connections share.
pub(super) struct Hall {
    pub(super) config: Config,
    pub(super) stats: Arc<Stats>,
    pub(super) desk: Desk,
    pub(super) strangers: RefCell<Places>,
    pub(super) front_ends: RefCell<FrontEnds>,
    pub(super) complaints: Complaints,
}

/// When each complaint was made last.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    accept: Cell<Option<Instant>>,
    old_tls: Cell<Option<Instant>>,
    names: Cell<Option<Instant>>,
}

/// Accepts for ever.
pub(super) async fn accept(hall: Rc<Hall>, door: Door, listener: StreamListener) {
    let local = listener.local();
    let listener = match TcpListener::from_std(listener.into_socket()) {
        Ok(listener) => listener,
        Err(error) => {
            return tracing::error!(%local, %error, "cannot watch a listener: nobody is accepted there");
        }
    };
    loop {
        match listener.accept().await {
            Ok((socket, from)) => admit(&hall, door, socket, from),
            Err(error) => {
                if is_due(&hall.complaints.accept) {
                    tracing::warn!(%local, %error, "cannot accept connections");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(hall: &Rc<Hall>, door: Door, socket: TcpStream, from: SocketAddr) {
    tune(&socket);
    // Nobody comes as a stranger to the plain door: all connections there are one front end's.
    let place = match door {
        Door::SipPlain => Ok(None),
        Door::Https | Door::Sip => hall.strangers.borrow_mut().take(from.ip()).map(Some),
    };
    match place {
        Ok(place) => {
            let hall = Rc::clone(hall);
            spawn_local(async move {
                let end = receive(Rc::clone(&hall), door, socket, place).await;
                let end = end.unwrap_or_else(|refused| refused);
                hall.stats.count_end(door, end);
                tracing::debug!(door = door.word(), %from, end = end.word(), "MRAS connection over");
            });
        }
        Err(full) => hall.stats.count_end(
            door,
            match full {
                Full::Total => End::FullTotal,
                Full::Source => End::FullAddress,
            },
        ),
    }
}

async fn receive(hall: Rc<Hall>, door: Door, socket: TcpStream, place: Option<Place>) -> Result<End, End> {
    // The stranger's place is free again as soon as it is known whose the connection is.
    Ok(match door {
        Door::SipPlain => sip_door::serve(socket, &Guest::plain(hall, door)?).await,
        Door::Sip => {
            let (guest, stream) = Guest::proven(hall, door, socket).await?;
            drop(place);
            sip_door::serve(stream, &guest).await
        }
        Door::Https => {
            let (guest, stream) = Guest::proven(hall, door, socket).await?;
            drop(place);
            https::serve(stream, Rc::new(guest)).await
        }
    })
}

impl Hall {
    pub(super) fn complain_of_old_tls(&self, door: Door) {
        if is_due(&self.complaints.old_tls) {
            tracing::warn!(
                door = door.word(),
                advice = "TLS 1.2 or 1.3 is needed: for an older front end put a TLS proxy in front of [mras] sip_plain, \
                          as docs/operate/av-edge.md shows",
                "a front end was turned away that knows only older versions or ciphers of TLS"
            );
        }
    }

    pub(super) fn complain_of_names(&self, door: Door, names: &[String]) {
        if is_due(&self.complaints.names) {
            let shown = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                door = door.word(),
                names = shown,
                advice = "[mras] front_ends holds none of these names; the subject of a certificate does not count",
                "a certificate of the right authority was turned away"
            );
        }
    }
}

fn is_due(last: &Cell<Option<Instant>>) -> bool {
    let due = last.get().is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
    if due {
        last.set(Some(Instant::now()));
    }
    due
}
