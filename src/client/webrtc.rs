//! A relayed socket as a connection of webrtc-rs.

use std::any::Any;
use std::net::SocketAddr;

use async_trait::async_trait;
use webrtc_util::Conn;

use super::Error;
use super::RelayedSocket;

fn told(error: Error) -> webrtc_util::Error {
    webrtc_util::Error::from_std(error)
}

#[async_trait]
impl Conn for RelayedSocket {
    /// Binds a channel to `peer`, whom [`Conn::send`] and [`Conn::recv`] mean from then on. It can be done once.
    async fn connect(&self, peer: SocketAddr) -> Result<(), webrtc_util::Error> {
        self.bind(peer).await.map_err(told)?;
        self.peer.set(peer).map_err(|_| webrtc_util::Error::ErrAddressAlreadyInUse)
    }

    async fn recv(&self, buffer: &mut [u8]) -> Result<usize, webrtc_util::Error> {
        loop {
            let (len, from) = Self::recv_from(self, buffer).await.map_err(told)?;
            if self.peer.get().is_none_or(|peer| *peer == from) {
                return Ok(len);
            }
        }
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), webrtc_util::Error> {
        Self::recv_from(self, buffer).await.map_err(told)
    }

    async fn send(&self, data: &[u8]) -> Result<usize, webrtc_util::Error> {
        let peer = *self.peer.get().ok_or(webrtc_util::Error::ErrNoRemAddr)?;
        Self::send_to(self, data, peer).await.map_err(told)
    }

    async fn send_to(&self, data: &[u8], peer: SocketAddr) -> Result<usize, webrtc_util::Error> {
        Self::send_to(self, data, peer).await.map_err(told)
    }

    fn local_addr(&self) -> Result<SocketAddr, webrtc_util::Error> {
        Ok(self.relayed_address())
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer.get().copied()
    }

    async fn close(&self) -> Result<(), webrtc_util::Error> {
        Self::close(self).await.map_err(told)
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}
