//! The client where a server refuses: it goes where the standard says, and no further.

use std::net::SocketAddr;

use swingbridge::client::Error;
use swingbridge::client::Failure;
use swingbridge::client::RelayedSocket;
use swingbridge::client::Via;
use tokio::net::TcpListener;

use super::in_time;
use super::served::Served;
use super::served::config;

/// A server that is about to leave and sends its clients to `alternate`, and the call that keeps it.
async fn leaving(alternate: Option<SocketAddr>) -> (Served, RelayedSocket) {
    let alternates = alternate.map(|there| format!("\"{there}\"")).unwrap_or_default();
    let served = Served::start(&format!("[drain]\ndeadline = \"60s\"\nalternate_servers = [{alternates}]\n"));
    let asked = RelayedSocket::allocate(served.address, Via::Udp, config("alice", "password"));
    let call = in_time("a call", asked).await.expect("granted");
    served.drain();
    (served, call)
}

#[tokio::test]
async fn a_client_goes_where_it_is_sent_and_gives_up_where_it_is_sent_nowhere() {
    let last = TcpListener::bind("127.0.0.1:0").await.expect("loopback is free");
    let (second, _second_call) = leaving(last.local_addr().ok()).await;
    let (first, _first_call) = leaving(Some(second.address)).await;
    let (full, _full_call) = leaving(None).await;
    let ask =
        |served: &Served| RelayedSocket::allocate(served.address, Via::Tcp, config("alice", "password"));
    let came = async {
        loop {
            tokio::select! {
                came = last.accept() => return came,
                // Until the signal has arrived the first ones serve their clients themselves.
                made = ask(&first) => drop(made.expect("granted")),
            }
        }
    };
    in_time("a client that was sent on twice", came).await.expect("it is a client");
    let refused = async {
        loop {
            if let Err(error) = ask(&full).await {
                return error;
            }
        }
    };
    let why = in_time("a refusal", refused).await;
    assert!(matches!(why, Error::Failed(Failure::Refused { code: 508, alternate: None })), "{why:?}");
}
