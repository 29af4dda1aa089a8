//! An ICE agent of webrtc-rs in the virtual network.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio::time::sleep_until;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::Candidate;
use webrtc_ice::candidate::candidate_base::unmarshal_candidate;
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::url::ProtoType;
use webrtc_ice::url::SchemeType;
use webrtc_ice::url::Url;
use webrtc_util::Conn;
use webrtc_util::vnet::net::Net;

use crate::Result;
use crate::server::PASSWORD;
use crate::server::PORT;
use crate::server::USER;
use crate::world::SERVER;

/// What every datagram of a call begins with.
pub const MARK: &[u8] = b"\x80swingbridge";

const EVERY: Duration = Duration::from_millis(20);
/// How long after the last datagram was sent one may come.
const LAST: Duration = Duration::from_secs(3);

pub struct Caller {
    agent: Arc<Agent>,
    is_controlling: bool,
}

impl Caller {
    pub async fn new(net: &Arc<Net>, is_controlling: bool) -> Result<Self> {
        // It is asked for a relay, and for the address that it sees.
        let server = Url {
            scheme: SchemeType::Turn,
            host: SERVER.to_string(),
            port: PORT,
            username: USER.to_owned(),
            password: PASSWORD.to_owned(),
            proto: ProtoType::Udp,
        };
        let config = AgentConfig {
            urls: vec![server],
            network_types: vec![NetworkType::Udp4],
            multicast_dns_mode: MulticastDnsMode::Disabled,
            is_controlling,
            net: Some(Arc::clone(net)),
            ..AgentConfig::default()
        };
        Ok(Self { agent: Arc::new(Agent::new(config).await?), is_controlling })
    }

    /// Finds all of its candidates.
    pub async fn gather(&self) -> Result<()> {
        let (tell, mut told) = mpsc::channel(1);
        self.agent.on_candidate(Box::new(move |candidate: Option<Arc<dyn Candidate + Send + Sync>>| {
            let tell = tell.clone();
            Box::pin(async move {
                if candidate.is_none() {
                    let _ = tell.send(()).await;
                }
            })
        }));
        self.agent.gather_candidates()?;
        told.recv().await.ok_or_else(|| "the agent ended while it gathered".into())
    }

    pub async fn credentials(&self) -> (String, String) {
        self.agent.get_local_user_credentials().await
    }

    /// Takes the other's candidates, as text, as signalling would carry them.
    pub async fn learn(&self, other: &Self) -> Result<()> {
        for candidate in other.agent.get_local_candidates().await? {
            let candidate: Arc<dyn Candidate + Send + Sync> =
                Arc::new(unmarshal_candidate(&candidate.marshal())?);
            self.agent.add_remote_candidate(&candidate)?;
        }
        Ok(())
    }

    pub async fn connect(&self, (ufrag, password): (String, String)) -> Result<Arc<dyn Conn + Send + Sync>> {
        let (_hold, cancel) = mpsc::channel(1);
        let conn: Arc<dyn Conn + Send + Sync> = if self.is_controlling {
            self.agent.dial(cancel, ufrag, password).await?
        } else {
            self.agent.accept(cancel, ufrag, password).await?
        };
        Ok(conn)
    }

    pub async fn close(&self) -> Result<()> {
        Ok(self.agent.close().await?)
    }
}

/// Sends so many datagrams, and answers how many of the other's came: as many, where none gets lost.
pub async fn talk(conn: &(dyn Conn + Send + Sync), count: u32) -> Result<u32> {
    let mut ticks = tokio::time::interval(EVERY);
    // Not many at once where the machine was busy.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut heard) = (0, 0);
    let mut buffer = [0; 1_500];
    let mut end = None;
    while sent < count || heard < count {
        tokio::select! {
            _ = ticks.tick(), if sent < count => {
                sent += 1;
                conn.send(&[MARK, &sent.to_be_bytes()[..], &[0; 100]].concat()).await?;
                end = (sent == count).then(|| Instant::now() + LAST);
            }
            len = conn.recv(&mut buffer) => heard += u32::from(buffer[..len?].starts_with(MARK)),
            () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => break,
        }
    }
    Ok(heard)
}
