//! Our server as a host of the virtual network: its pure core, with the network's sockets in place of the kernel's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use std::time::SystemTime;

use swingbridge::proto::types::Dice;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::Secret;
use swingbridge::proto::types::Transport;
use swingbridge::testbed::edge::Edge;
use swingbridge::testbed::edge::Input;
use swingbridge::testbed::edge::Listen;
use swingbridge::testbed::edge::Output;
use swingbridge::testbed::edge::Setup;
use swingbridge::testbed::scenario::Scenarios;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use webrtc_util::Conn;
use webrtc_util::vnet::net::Net;

use crate::Result;
use crate::world::SERVER;

pub const PORT: u16 = 3478;
pub const USER: &str = "alice";
pub const PASSWORD: &str = "correct-horse-battery";

/// Datagrams that wait; what more there is gets lost.
const WAITING_MAX: usize = 1_024;
const DATAGRAM_MAX: usize = 1_500;

/// A datagram that came to one of our sockets: which, and from where.
type Came = (SocketAddr, SocketAddr, Vec<u8>);

struct Host {
    edge: Edge<Dice>,
    net: Arc<Net>,
    listen: SocketAddr,
    sockets: HashMap<SocketAddr, Socket>,
    came: mpsc::Sender<Came>,
    start: Instant,
}

struct Socket {
    conn: Arc<dyn Conn + Send + Sync>,
    reader: AbortHandle,
}

/// Serves until it is stopped.
pub async fn serve(net: Arc<Net>) -> Result<()> {
    let listen = SocketAddr::new(SERVER.into(), PORT);
    let listens = vec![Listen { transport: Transport::Udp, address: listen }];
    let setup = Setup::lab(listens, &[SERVER.into()], Secret::new(PASSWORD.as_bytes()));
    let (came, mut arriving) = mpsc::channel(WAITING_MAX);
    let edge = Edge::new(setup, Scenarios::default(), Dice::new(7));
    let (sockets, start) = (HashMap::new(), Instant::now());
    let mut host = Host { edge, net, listen, sockets, came, start };
    host.bind(listen).await?;
    loop {
        let now = host.now();
        let due = host.edge.poll_timeout().map(|at| at.remaining(now.tick()));
        // Without anything due an hour is as good as for ever.
        let wait = due.unwrap_or(std::time::Duration::from_secs(3_600));
        tokio::select! {
            Some((at, from, bytes)) = arriving.recv() => host.hear(at, from, &bytes),
            () = tokio::time::sleep(wait + std::time::Duration::from_millis(1)) => {
                let now = host.now();
                host.edge.handle_timeout(now);
            }
        }
        host.carry_out().await;
    }
}

impl Host {
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now { since_start: self.start.elapsed(), unix: unix.map_or(0, |since| since.as_secs()) }
    }

    fn hear(&mut self, at: SocketAddr, from: SocketAddr, bytes: &[u8]) {
        let now = self.now();
        let input = if at == self.listen {
            Input::Datagram { at, from, bytes }
        } else {
            Input::FromPeer { at, from, bytes }
        };
        self.edge.handle_input(now, input);
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.edge.poll_output() {
            match output {
                Output::Datagram { at, to, bytes } | Output::ToPeer { at, to, bytes } => {
                    if let Some(socket) = self.sockets.get(&at) {
                        // What the network does not take is lost, as datagrams are.
                        let _ = socket.conn.send_to(&bytes, to).await;
                    }
                }
                Output::Bind { at } => {
                    let bound = self.bind(at).await;
                    let input = if bound.is_ok() { Input::Bound { at } } else { Input::NotBound { at } };
                    let now = self.now();
                    self.edge.handle_input(now, input);
                }
                Output::Unbind { at } => {
                    if let Some(socket) = self.sockets.remove(&at) {
                        socket.reader.abort();
                        // It is gone either way.
                        let _ = socket.conn.close().await;
                    }
                }
                // No connection ever comes.
                Output::Write { .. } | Output::Shut { .. } | Output::Note(_) => {}
            }
        }
    }

    async fn bind(&mut self, at: SocketAddr) -> Result<()> {
        let conn = self.net.bind(at).await?;
        let (reads, came) = (Arc::clone(&conn), self.came.clone());
        let reader = tokio::spawn(async move {
            let mut buffer = [0; DATAGRAM_MAX];
            while let Ok((len, from)) = reads.recv_from(&mut buffer).await {
                // One for which there is no room is lost.
                let _ = came.try_send((at, from, buffer[..len].to_vec()));
            }
        });
        self.sockets.insert(at, Socket { conn, reader: reader.abort_handle() });
        Ok(())
    }
}
