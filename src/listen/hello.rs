//! TLS: the whole ClientHello first, in memory that grows with what has come, then the handshake.

use std::io;

use rustls::ServerConnection;

use crate::net::tls::Hello;
use crate::net::tls::HelloRefused;
use crate::proto::types::limits;
use crate::proto::wire::tls_hello;

use super::accept::Hall;
use super::judge::more;
use super::judge::within;
use super::stats::TurnedAway;
use super::visitor::Visitor;

/// What became of a connection that begins with a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeted {
    /// It is under TLS. What was read of it is used up; what it says inside is unread.
    Secured,
    /// It is for a name that is passed through. All that it said is unread, and nothing was answered.
    ForAnother,
}

/// Puts a connection under TLS, unless it is for a name that is passed through.
pub(super) async fn secure(hall: &Hall, visitor: &mut Visitor) -> Result<Greeted, TurnedAway> {
    let (tls, web) = (&hall.config.tls, &hall.config.web);
    if !tls.is_ready() && web.passthrough.is_empty() && !tls.is_challenged() {
        return Err(TurnedAway::NoCertificate);
    }
    let wait = hall.config.deadlines.handshake;
    within(wait, TurnedAway::HandshakeDeadline, async {
        whole_hello(visitor).await?;
        let hello = Hello::read(&visitor.unread).map_err(|refused| turn_away(visitor, refused))?;
        if let Some(answer) = tls.challenge(&hello) {
            let connection = answer.begin(hello).map_err(|refused| turn_away(visitor, refused))?;
            shake(visitor, connection).await?;
            return Err(TurnedAway::Challenge);
        }
        if hello.server_name().is_some_and(|name| web.passes_through(&name)) {
            return Ok(Greeted::ForAnother);
        }
        if !tls.is_ready() {
            return Err(TurnedAway::NoCertificate);
        }
        let connection = tls.begin(hello).map_err(|refused| turn_away(visitor, refused))?;
        shake(visitor, connection).await?;
        Ok(Greeted::Secured)
    })
    .await
}

async fn shake(visitor: &mut Visitor, connection: ServerConnection) -> Result<(), TurnedAway> {
    visitor.unread = Vec::new();
    visitor.secure(connection);
    visitor.shake().await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => TurnedAway::Handshake,
        io::ErrorKind::UnexpectedEof => TurnedAway::Left,
        _ => TurnedAway::Failed,
    })
}

/// Reads until the ClientHello is whole.
async fn whole_hello(visitor: &mut Visitor) -> Result<(), TurnedAway> {
    loop {
        match tls_hello::look(&visitor.unread) {
            tls_hello::Hello::Whole => return Ok(()),
            tls_hello::Hello::More { at_least } => {
                debug_assert!(at_least <= limits::CLIENT_HELLO_MAX);
                more(visitor, at_least - visitor.unread.len()).await?;
            }
            tls_hello::Hello::Broken => return Err(TurnedAway::Hello),
        }
    }
}

fn turn_away(visitor: &mut Visitor, refused: HelloRefused) -> TurnedAway {
    visitor.tell(refused);
    TurnedAway::Handshake
}
