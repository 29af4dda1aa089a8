//! webrtc-rs at our server, and in front of our client.
//!
//! `swingbridge-webrtc ADDRESS USER PASSWORD REALM`: makes an allocation with webrtc-rs's TURN client and one with ours,
//! hands both to code that knows nothing but `webrtc_util::Conn`, and has them talk to each other by way of the server.
//! It ends with an error if anything is missing.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use swingbridge::client::Config;
use swingbridge::client::Credential;
use swingbridge::client::Proof;
use swingbridge::client::RelayedSocket;
use swingbridge::client::Via;
use swingbridge::proto::types::Secret;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::Client;
use turn::client::ClientConfig;
use webrtc_util::Conn;

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type AnyConn = Arc<dyn Conn + Send + Sync>;

const PATIENCE: Duration = Duration::from_secs(20);
const MESSAGES: u32 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, user, password, realm] = &arguments[..] else {
        return Err("swingbridge-webrtc ADDRESS USER PASSWORD REALM".into());
    };
    let server: SocketAddr = server.parse()?;
    for via in [Via::Udp, Via::Tcp] {
        let theirs = allocate_with_theirs(server, user, password, realm).await?;
        let ours = allocate_with_ours(server, via.clone(), user, password).await?;
        talk(&theirs.1, &ours).await?;
        let peer = peer().await?;
        echo(&theirs.1, &peer).await?;
        echo(&ours, &peer).await?;
        ours.close().await?;
        theirs.1.close().await?;
        theirs.0.close().await?;
        println!("webrtc-rs over UDP and ours, {via:?}: {MESSAGES} messages each way");
    }
    Ok(())
}

/// A peer at none of the ports at which the server relays.
async fn peer() -> Result<UdpSocket> {
    loop {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        if !(50_000..60_000).contains(&socket.local_addr()?.port()) {
            return Ok(socket);
        }
    }
}

async fn allocate_with_theirs(
    server: SocketAddr,
    user: &str,
    password: &str,
    realm: &str,
) -> Result<(Client, AnyConn)> {
    let conn = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
    let client = Client::new(ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username: user.to_owned(),
        password: password.to_owned(),
        realm: realm.to_owned(),
        software: String::new(),
        rto_in_ms: 0,
        conn,
        vnet: None,
    })
    .await?;
    client.listen().await?;
    let relayed = timeout(PATIENCE, client.allocate()).await??;
    Ok((client, Arc::new(relayed)))
}

async fn allocate_with_ours(server: SocketAddr, via: Via, user: &str, password: &str) -> Result<AnyConn> {
    let credential = Credential {
        username: user.as_bytes().into(),
        proof: Proof::Password(Secret::new(password.as_bytes())),
        token: None,
    };
    let socket = timeout(PATIENCE, RelayedSocket::allocate(server, via, Config::new(credential))).await??;
    Ok(Arc::new(socket))
}

/// One relayed address sends to the other, as often as it takes, because datagrams may get lost: what comes must be what
/// was sent, and from where it was sent.
async fn talk(one: &AnyConn, other: &AnyConn) -> Result<()> {
    // Whoever has sent has permitted the other.
    one.send_to(b"permit", other.local_addr()?).await?;
    other.send_to(b"permit", one.local_addr()?).await?;
    for number in 0..MESSAGES {
        for (from, to) in [(one, other), (other, one)] {
            let data = [&number.to_be_bytes()[..], &[7; 300]].concat();
            deliver(from, to, &data).await?;
        }
    }
    Ok(())
}

async fn deliver(from: &AnyConn, to: &AnyConn, data: &[u8]) -> Result<()> {
    let mut buffer = [0; 1_500];
    let arriving = async {
        loop {
            from.send_to(data, to.local_addr()?).await?;
            let heard = async {
                loop {
                    let (len, source) = to.recv_from(&mut buffer).await?;
                    if source != from.local_addr()? {
                        return Err(format!("from {source}").into());
                    }
                    if &buffer[..len] == data {
                        return Result::Ok(());
                    }
                }
            };
            if let Ok(heard) = timeout(Duration::from_millis(500), heard).await {
                return heard;
            }
        }
    };
    timeout(PATIENCE, arriving).await?
}

/// What goes to a peer comes back from it.
async fn echo(conn: &AnyConn, peer: &UdpSocket) -> Result<()> {
    let at = peer.local_addr()?;
    let mut buffer = [0; 1_500];
    for _ in 0..40 {
        conn.send_to(b"echo", at).await?;
        let Ok(heard) = timeout(Duration::from_millis(500), peer.recv_from(&mut buffer)).await else {
            continue;
        };
        let (len, from) = heard?;
        if from != conn.local_addr()? {
            return Err(format!("the peer sees {from}").into());
        }
        peer.send_to(&buffer[..len], from).await?;
        let Ok(heard) = timeout(Duration::from_millis(500), conn.recv_from(&mut buffer)).await else {
            continue;
        };
        let (len, source) = heard?;
        if source == at && &buffer[..len] == b"echo" {
            return Ok(());
        }
    }
    Err(format!("no echo by {}", conn.local_addr()?).into())
}
