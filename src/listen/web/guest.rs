//! One connection that is no TURN, from the door to its end.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::listen::visitor::Wire;
use crate::net::Channel;
use crate::net::Place;
use crate::net::Received;
use crate::net::tcp::end_sending;
use crate::net::tcp::tune_for_web;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::proto::wire::proxy::ENCODED_MAX;
use crate::proto::wire::proxy::Ends;
use crate::proto::wire::proxy::encode;

use super::Target;
use super::Web;
use super::WebEnd;
use super::WebStats;
use super::pipe::Pipe;
use super::stats::Errand;

const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// A client that begins so would not understand these answers.
const HTTP_2: &[u8] = b"PRI ";

/// A connection on its way to the thread of the web.
#[derive(Debug)]
pub(in crate::listen) struct Guest {
    pub(super) channel: Channel,
    /// What was read of it, inside TLS where that is over here.
    pub(super) unread: Vec<u8>,
    pub(super) ends: Ends,
    pub(super) errand: Errand,
    /// Given back when it ends.
    pub(super) places: (Place, Place),
}

/// Carries a connection to its end.
pub(super) async fn attend(config: Rc<Web>, stats: Arc<WebStats>, guest: Box<Guest>) {
    let Guest { channel, unread, ends, errand, places } = *guest;
    stats.count_begun(errand);
    let end = match channel.on(|socket| TcpStream::from_std(socket).map(Wire)) {
        Ok(channel) => serve(&config, &stats, channel, unread, ends, errand).await,
        Err(_) => WebEnd::Failed,
    };
    stats.count_end(end);
    tracing::debug!(client = %ends.client, route = errand.word(), why = end.word(), "web connection ended");
    drop(places);
}

async fn serve(
    config: &Web,
    stats: &WebStats,
    mut client: Channel<Wire>,
    unread: Vec<u8>,
    ends: Ends,
    errand: Errand,
) -> WebEnd {
    let target = match errand {
        Errand::Site => config.upstream,
        Errand::Through => config.passthrough_to,
    };
    let Some(target) = target else {
        part(config, &mut client, &unread, errand, NOT_FOUND).await;
        return WebEnd::NotFound;
    };
    let connecting = timeout(config.deadlines.connect, TcpStream::connect(target.address));
    let Ok(Ok(site)) = connecting.await else {
        part(config, &mut client, &unread, errand, BAD_GATEWAY).await;
        return WebEnd::Unreachable;
    };
    tune_for_web(&site);
    tune_for_web(&client.socket().0);
    let first = first_bytes(target, &ends, client.transport(), unread);
    Pipe::new(client, Channel::new(Wire(site)), first).run(config.deadlines.idle, stats).await
}

/// What the site hears first: whose connection it is, and what was read of it.
fn first_bytes(target: Target, ends: &Ends, transport: Transport, unread: Vec<u8>) -> Vec<u8> {
    if !target.proxy {
        return unread;
    }
    let mut header = [0; ENCODED_MAX];
    let len = encode(ends, transport == Transport::Tls, &mut header);
    [&header[..len], &unread].concat()
}

/// Tells a client that speaks HTTP/1 that there is nothing for it, and lets it read that before the connection closes.
async fn part(config: &Web, client: &mut Channel<Wire>, unread: &[u8], errand: Errand, answer: &[u8]) {
    if errand == Errand::Through || unread.starts_with(HTTP_2) {
        return;
    }
    // Whatever goes wrong: the connection closes.
    let _ = timeout(config.deadlines.goodbye, say(client, answer)).await;
}

async fn say(client: &mut Channel<Wire>, answer: &[u8]) -> io::Result<()> {
    let mut said = 0;
    while said < answer.len() || client.unsent() > 0 {
        let sent = client.send(&answer[said..], <[u8]>::len)?;
        said += sent;
        if sent == 0 {
            client.socket().0.writable().await?;
        }
    }
    client.say_goodbye();
    end_sending(&client.socket().0)?;
    // What a closing socket has not read resets the connection, and the answer with it.
    let (mut left, mut buffer) = (limits::WEB_GOODBYE_BYTES_MAX, [0; 1_024]);
    while left > 0 {
        match client.receive(&mut buffer)? {
            Received::Bytes(len) => left = left.saturating_sub(len),
            Received::End => break,
            Received::Nothing => drop(client.socket().0.ready(Interest::READABLE).await?),
        }
    }
    Ok(())
}
