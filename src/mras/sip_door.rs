//! One connection that speaks SIP, from its first byte to its end.

use std::io;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use super::guest::Guest;
use super::sip;
use super::sip::Parser;
use super::stats::End;

/// Bytes that one read brings.
const PIECE: usize = 4_096;

/// Answers what is said, one message after the other, until somebody ends it.
pub(super) async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, guest: &Guest) -> End {
    let Err(end) = converse(&mut stream, guest).await;
    // Whoever left or takes nothing does not hear it, and nobody waits for that.
    let _ = timeout(guest.hall.config.deadlines.message, stream.shutdown()).await;
    end
}

async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    guest: &Guest,
) -> Result<std::convert::Infallible, End> {
    let deadlines = guest.hall.config.deadlines;
    let mut parser = Parser::default();
    let mut piece = vec![0; PIECE];
    // When the message that is being read began.
    let mut begun: Option<Instant> = None;
    loop {
        while let Some(said) = parser.said().map_err(|_| End::Broken)? {
            begun = None;
            let bytes = guest.ask(|turn, unix| {
                let reply = sip::answer(turn, unix, &said);
                (reply.bytes, reply.outcome, reply.credentials)
            });
            let written = async {
                stream.write_all(&bytes).await?;
                stream.flush().await
            };
            timeout(deadlines.message, written).await.map_err(|_| End::Slow)?.map_err(|_| End::Failed)?;
            if guest.is_over() {
                return Err(End::Forbidden);
            }
        }
        let (until, late) = if parser.is_between() {
            (Instant::now() + deadlines.idle, End::Idle)
        } else {
            (*begun.get_or_insert_with(Instant::now) + deadlines.message, End::Slow)
        };
        match timeout_at(until, stream.read(&mut piece)).await {
            Err(_) => return Err(late),
            Ok(Ok(0)) => return Err(End::Left),
            Ok(Ok(len)) => parser.take(&piece[..len]),
            // Few take the trouble to say so before they leave.
            Ok(Err(error)) if is_leaving(&error) => return Err(End::Left),
            Ok(Err(_)) => return Err(End::Failed),
        }
    }
}

fn is_leaving(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
