//! A virtual network: an internet, a server in it, and two clients behind NATs.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;
use webrtc_util::vnet::chunk::Chunk;
use webrtc_util::vnet::nat::NatType;
use webrtc_util::vnet::net::Net;
use webrtc_util::vnet::net::NetConfig;
use webrtc_util::vnet::router::Nic as _;
use webrtc_util::vnet::router::Router;
use webrtc_util::vnet::router::RouterConfig;

use crate::Result;
use crate::agent::MARK;

/// Where our server is.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Of each side: what its NAT shows, its own network, and its address there.
const SIDES: [(&str, &str, &str); 2] =
    [("203.0.113.1", "10.1.0.0/24", "10.1.0.2"), ("198.51.100.1", "10.2.0.0/24", "10.2.0.2")];

type Shared<T> = Arc<Mutex<T>>;

/// Datagrams of the call, as the internet saw them.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// From one NAT to the other.
    pub direct: u32,
    /// To the server, or from it.
    pub relayed: u32,
}

#[derive(Debug, Default)]
struct Counts {
    direct: AtomicU32,
    relayed: AtomicU32,
}

/// All of it.
pub struct World {
    pub server: Arc<Net>,
    pub clients: [Arc<Net>; 2],
    internet: Shared<Router>,
    counts: Arc<Counts>,
    // Their parent holds them weakly.
    _homes: Vec<Shared<Router>>,
}

impl World {
    /// One with a NAT of each kind, whose routers run.
    pub async fn new(nats: [NatType; 2]) -> Result<Self> {
        let internet = router("0.0.0.0/0", None, None)?;
        let server = net(&SERVER.to_string());
        connect(&server, &internet).await?;
        let (mut clients, mut homes) = (Vec::new(), Vec::new());
        for (nat, (outside, range, own)) in nats.into_iter().zip(SIDES) {
            let home = router(range, Some(outside), Some(nat))?;
            let client = net(own);
            connect(&client, &home).await?;
            internet.lock().await.add_router(Arc::clone(&home)).await?;
            home.lock().await.set_router(Arc::clone(&internet)).await?;
            clients.push(client);
            homes.push(home);
        }
        let counts = Arc::<Counts>::default();
        let watched = Arc::clone(&counts);
        let watch = move |chunk: &(dyn Chunk + Send + Sync)| watched.note(chunk);
        internet.lock().await.add_chunk_filter(Box::new(watch)).await;
        start(&internet).await?;
        let clients: [Arc<Net>; 2] = clients.try_into().map_err(|_| "there are two sides")?;
        Ok(Self { server, clients, internet, counts, _homes: homes })
    }

    /// What the internet has seen until now.
    pub fn seen(&self) -> Seen {
        let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
        Seen { direct: of(&self.counts.direct), relayed: of(&self.counts.relayed) }
    }

    /// Stops its routers.
    pub async fn close(self) -> Result<()> {
        let stopping = self.internet.lock().await.stop();
        Ok(stopping.await?)
    }
}

impl Counts {
    /// Every packet passes.
    fn note(&self, chunk: &(dyn Chunk + Send + Sync)) -> bool {
        let has_mark = chunk.user_data().windows(MARK.len()).any(|window| window == MARK);
        if has_mark {
            let ends = [chunk.get_source_ip(), chunk.get_destination_ip()];
            let count = if ends.contains(&SERVER.into()) { &self.relayed } else { &self.direct };
            count.fetch_add(1, Ordering::Relaxed);
        }
        true
    }
}

fn net(address: &str) -> Arc<Net> {
    let config = NetConfig { static_ips: vec![address.to_owned()], ..NetConfig::default() };
    Arc::new(Net::new(Some(config)))
}

fn router(range: &str, outside: Option<&str>, nat_type: Option<NatType>) -> Result<Shared<Router>> {
    let router = Router::new(RouterConfig {
        cidr: range.to_owned(),
        static_ips: outside.map(str::to_owned).into_iter().collect(),
        nat_type,
        ..RouterConfig::default()
    })?;
    Ok(Arc::new(Mutex::new(router)))
}

async fn connect(net: &Net, to: &Shared<Router>) -> Result<()> {
    let nic = net.get_nic()?;
    to.lock().await.add_net(Arc::clone(&nic)).await?;
    let nic = nic.lock().await;
    Ok(nic.set_router(Arc::clone(to)).await?)
}

async fn start(internet: &Shared<Router>) -> Result<()> {
    let starting = internet.lock().await.start();
    Ok(starting.await?)
}
