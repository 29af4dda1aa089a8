//! The sockets of UDP: those that clients send to, and those that peers do.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::proto::types::limits::DATAGRAM_MAX;

use super::Came;

/// A socket and the task that reads it, which ends with it.
#[derive(Debug)]
struct Read {
    socket: Arc<UdpSocket>,
    task: JoinHandle<()>,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All of them, by address.
#[derive(Debug)]
pub(super) struct Sockets {
    came: mpsc::Sender<Came>,
    listens: BTreeMap<SocketAddr, Read>,
    relays: BTreeMap<SocketAddr, Read>,
}

impl Sockets {
    pub(super) const fn new(came: mpsc::Sender<Came>) -> Self {
        Self { came, listens: BTreeMap::new(), relays: BTreeMap::new() }
    }

    /// A socket that clients send to.
    pub(super) fn listen(&mut self, at: SocketAddr) -> io::Result<()> {
        let read = self.open(at, |at, from, bytes| Came::Datagram { at, from, bytes })?;
        self.listens.insert(at, read);
        Ok(())
    }

    /// A socket that peers send to.
    pub(super) fn bind(&mut self, at: SocketAddr) -> io::Result<()> {
        let read = self.open(at, |at, from, bytes| Came::FromPeer { at, from, bytes })?;
        self.relays.insert(at, read);
        Ok(())
    }

    pub(super) fn unbind(&mut self, at: SocketAddr) {
        self.relays.remove(&at);
    }

    /// To a client. What the kernel has no room for is lost, as datagrams are.
    pub(super) fn send(&self, at: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if let Some(read) = self.listens.get(&at) {
            let _ = read.socket.try_send_to(bytes, to);
        }
    }

    /// To a peer, likewise.
    pub(super) fn relay(&self, at: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if let Some(read) = self.relays.get(&at) {
            let _ = read.socket.try_send_to(bytes, to);
        }
    }

    fn open(&self, at: SocketAddr, wrap: fn(SocketAddr, SocketAddr, Box<[u8]>) -> Came) -> io::Result<Read> {
        let socket = std::net::UdpSocket::bind(at)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let (reads, came) = (Arc::clone(&socket), self.came.clone());
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM_MAX];
            loop {
                match reads.recv_from(&mut buffer).await {
                    Ok((len, from)) => {
                        if came.send(wrap(at, from, buffer[..len].into())).await.is_err() {
                            return;
                        }
                    }
                    // An ICMP error of something that was sent before; the socket goes on.
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        Ok(Read { socket, task })
    }
}
