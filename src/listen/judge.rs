//! One connection, from its first byte to the worker that gets it. The order of judgement:
//!
//! 1. a PROXY header, where one is due: it would be read here, before anything else is looked at;
//! 2. what is spoken, by the first bytes ([`crate::proto::wire::sniff`]);
//! 3. for TLS the whole ClientHello, the handshake, and then step 2 again inside;
//! 4. the first whole message, which says where the connection goes.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::net::Place;
use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::limits;
use crate::proto::wire::Verdict;
use crate::proto::wire::sniff::sniff;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::fits_a_request;
use crate::proto::wire::stream::next_frame;
use crate::relay::Arriving;

use super::accept::Accepted;
use super::accept::Hall;
use super::hello::secure;
use super::stats::Layer;
use super::stats::TurnedAway;
use super::visitor::Visitor;

/// Looked again after this when a worker has no room.
const HANDOVER_RETRY: Duration = Duration::from_millis(5);

/// Judges a connection; in the end a worker has it, or it is closed and counted.
pub(super) async fn receive(hall: Rc<Hall>, accepted: Accepted, place: Place) {
    if let Err(why) = judge(&hall, accepted, place).await {
        hall.stats.count_turned_away(why);
    }
}

async fn judge(hall: &Hall, accepted: Accepted, place: Place) -> Result<(), TurnedAway> {
    let Accepted { socket, client, server } = accepted;
    let mut visitor = Visitor::new(socket);
    let mut verdict = first_words(hall, &mut visitor, Layer::Outer).await?;
    if verdict == Verdict::Tls {
        // Boxed, so that a connection that stays silent does not hold the room of a handshake.
        Box::pin(secure(hall, &mut visitor)).await?;
        verdict = first_words(hall, &mut visitor, Layer::Inner).await?;
    }
    if verdict != Verdict::Stun {
        return Err(TurnedAway::NotServed);
    }
    let wait = hall.config.deadlines.first_message;
    let len = within(wait, TurnedAway::MessageDeadline, first_message(&mut visitor)).await?;
    hand_over(hall, visitor, len, (client, server), place).await
}

/// Reads until it is known what is spoken.
async fn first_words(hall: &Hall, visitor: &mut Visitor, layer: Layer) -> Result<Verdict, TurnedAway> {
    let wait = hall.config.deadlines.sniff;
    let verdict = within(wait, TurnedAway::SniffDeadline, async {
        loop {
            if let Some(verdict) = sniff(&visitor.unread) {
                return Ok(verdict);
            }
            more(visitor, limits::SNIFF_MAX - visitor.unread.len()).await?;
        }
    });
    let verdict = verdict.await?;
    hall.stats.count_verdict(layer, verdict);
    Ok(verdict)
}

/// Reads until the first message is whole; answers how long it is.
async fn first_message(visitor: &mut Visitor) -> Result<usize, TurnedAway> {
    loop {
        let wanted = match next_frame(&visitor.unread) {
            Next::Frame { len } if fits_a_request(len) => return Ok(len),
            Next::More { at_least } if fits_a_request(at_least) => at_least,
            Next::Frame { .. } | Next::More { .. } | Next::Broken => return Err(TurnedAway::Framing),
        };
        more(visitor, wanted - visitor.unread.len()).await?;
    }
}

async fn hand_over(
    hall: &Hall,
    visitor: Visitor,
    len: usize,
    (client, server): (SocketAddr, SocketAddr),
    place: Place,
) -> Result<(), TurnedAway> {
    let (channel, unread) = visitor.leave().map_err(failed)?;
    let transport = channel.transport();
    let from = FiveTuple { client: ClientAddr::new(client), server: ServerAddr::new(server), transport };
    let route = hall.dispatch.borrow().route(&unread[..len]);
    let mut arriving = Box::new(Arriving { channel, from, unread, place });
    let until = Instant::now() + hall.config.deadlines.first_message;
    loop {
        let pushed = hall.dispatch.borrow_mut().hand_over(route, arriving);
        match pushed {
            Ok(()) => {
                hall.stats.count_handed_over(transport);
                return Ok(());
            }
            Err(_) if Instant::now() >= until => return Err(TurnedAway::WorkersBusy),
            Err(back) => arriving = back,
        }
        sleep(HANDOVER_RETRY).await;
    }
}

/// Adds at most `max` bytes, and at least one, to what is unread.
pub(super) async fn more(visitor: &mut Visitor, max: usize) -> Result<(), TurnedAway> {
    match visitor.read_more(max).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(TurnedAway::Left),
        Err(error) => Err(failed(error)),
    }
}

pub(super) async fn within<T>(
    wait: Duration,
    late: TurnedAway,
    step: impl Future<Output = Result<T, TurnedAway>>,
) -> Result<T, TurnedAway> {
    timeout(wait, step).await.unwrap_or(Err(late))
}

fn failed(_: io::Error) -> TurnedAway {
    TurnedAway::Failed
}
