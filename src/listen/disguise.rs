//! Pseudo-TLS: two hellos that look like TLS, and everything behind them in clear ([MS-TURN] § 2.1.1).

use std::io;

use crate::proto::wire::pseudo_tls;
use crate::proto::wire::pseudo_tls::CLIENT_HELLO_LEN;

use super::accept::Hall;
use super::judge::within;
use super::stats::TurnedAway;
use super::visitor::Visitor;

/// Answers the hello that the first bytes are, and uses it up. The answer leaves in one piece and with nothing behind it,
/// because clients read it with one call.
pub(super) async fn exchange_hellos(hall: &Hall, visitor: &mut Visitor) -> Result<(), TurnedAway> {
    if pseudo_tls::judge(&visitor.unread) != pseudo_tls::Hello::Whole {
        return Err(TurnedAway::Hello);
    }
    visitor.unread.drain(..CLIENT_HELLO_LEN);
    let mut random = [0; 64];
    if !hall.config.tls.fill_random(&mut random) {
        return Err(TurnedAway::Failed);
    }
    let answer = pseudo_tls::server_hello(&random);
    within(hall.config.deadlines.handshake, TurnedAway::HandshakeDeadline, async {
        visitor.say(&answer).await.map_err(|_: io::Error| TurnedAway::Failed)
    })
    .await
}
