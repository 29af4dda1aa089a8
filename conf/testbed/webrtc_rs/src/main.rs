//! webrtc-rs's ICE agent as a program for `swingbridge testbed run`: docs/testbed.md tells what it finds in its environment,
//! and what the two sides say to each other.
//!
//! `webrtc-rs-client [SECONDS]`: sends data for so long (3) once it is connected.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::io::Lines;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::candidate::Candidate;
use webrtc_ice::candidate::candidate_base::unmarshal_candidate;
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_ice::url::Url;
use webrtc_util::Conn;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
type Heard = Lines<BufReader<OwnedReadHalf>>;

const MARK: &[u8] = b"\x80swingbridge";
const EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one side listens for the other after its own data, and for what is under way at the very end.
const LINGER: Duration = Duration::from_secs(5);
const LAST: Duration = Duration::from_millis(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(3.0), |text| text.parse())?;
    let said = call(Duration::from_secs_f64(seconds)).await?;
    println!("{said}");
    std::process::exit(if said["connected"] == true { 0 } else { 1 })
}

async fn call(span: Duration) -> Result<Value> {
    let began = Instant::now();
    let (hear, say) = UnixStream::connect(told("SWINGBRIDGE_SIGNALLING")?).await?.into_split();
    let mut hear = BufReader::new(hear).lines();
    let (tell, mut lines) = mpsc::unbounded_channel::<Value>();
    let telling = tokio::spawn(async move {
        let mut say = say;
        while let Some(line) = lines.recv().await {
            // Where nobody listens any more there is nothing left to be told.
            let _ = say.write_all(format!("{line}\n").as_bytes()).await;
        }
    });
    let is_left = told("SWINGBRIDGE_ROLE")? == "left";
    let agent = Arc::new(Agent::new(config(is_left)?).await?);
    let (ufrag, password) = agent.get_local_user_credentials().await;
    tell.send(json!({ "ufrag": ufrag, "pwd": password }))?;
    gather(&agent, tell.clone())?;
    let (ufrag, password) = timeout(PATIENCE, credentials(&mut hear)).await??;
    let (other_done, is_other_done) = tokio::sync::watch::channel(false);
    tokio::spawn(candidates(hear, Arc::clone(&agent), other_done));
    let (_hold, cancel) = mpsc::channel(1);
    let connecting = async {
        let conn: Arc<dyn Conn + Send + Sync> = if is_left {
            agent.dial(cancel, ufrag, password).await?
        } else {
            agent.accept(cancel, ufrag, password).await?
        };
        Result::Ok(conn)
    };
    let Ok(Ok(conn)) = timeout(PATIENCE, connecting).await else {
        return Ok(json!({ "connected": false }));
    };
    let connected = Instant::now();
    let (sent, heard) = talk(&conn, span, &tell, is_other_done).await?;
    let pair = agent.get_selected_candidate_pair().map(|pair| pair.to_string());
    drop(tell);
    agent.close().await?;
    drop(agent);
    // What was told is to be read before the end.
    let _ = timeout(LAST, telling).await;
    let after = (connected - began).as_secs_f64() * 1e3;
    Ok(
        json!({ "connected": heard > 0, "connected_after_ms": after, "sent": sent, "heard": heard, "pair": pair }),
    )
}

fn told(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: `swingbridge testbed run` sets it").into())
}

fn config(is_controlling: bool) -> Result<AgentConfig> {
    let mut urls = vec![Url::parse_url(&told("SWINGBRIDGE_STUN_URI")?)?];
    for uri in told("SWINGBRIDGE_TURN_URIS")?.split_whitespace() {
        let mut url = Url::parse_url(uri)?;
        url.username = told("SWINGBRIDGE_USERNAME")?;
        url.password = told("SWINGBRIDGE_PASSWORD")?;
        urls.push(url);
    }
    Ok(AgentConfig {
        urls,
        is_controlling,
        network_types: vec![NetworkType::Udp4],
        multicast_dns_mode: MulticastDnsMode::Disabled,
        ..AgentConfig::default()
    })
}

/// Tells the other side of each candidate as it is found, and when there will be no further one.
fn gather(agent: &Agent, tell: mpsc::UnboundedSender<Value>) -> Result<()> {
    agent.on_candidate(Box::new(move |candidate: Option<Arc<dyn Candidate + Send + Sync>>| {
        let line = match candidate {
            Some(candidate) => json!({ "candidate": format!("candidate:{}", candidate.marshal()) }),
            None => json!({ "end": true }),
        };
        let tell = tell.clone();
        Box::pin(async move { drop(tell.send(line)) })
    }));
    Ok(agent.gather_candidates()?)
}

/// The other side's.
async fn credentials(hear: &mut Heard) -> Result<(String, String)> {
    while let Some(line) = hear.next_line().await? {
        let message: Value = line.parse()?;
        if let (Some(ufrag), Some(password)) = (message["ufrag"].as_str(), message["pwd"].as_str()) {
            return Ok((ufrag.to_owned(), password.to_owned()));
        }
    }
    Err("the other side said nothing".into())
}

/// Takes the other side's candidates, and hears when it is done.
async fn candidates(
    mut hear: Heard,
    agent: Arc<Agent>,
    done: tokio::sync::watch::Sender<bool>,
) -> Result<()> {
    while let Some(line) = hear.next_line().await? {
        let message: Value = line.parse()?;
        if let Some(text) = message["candidate"].as_str() {
            // One that it does not understand, such as a name, is of no use to it.
            if let Ok(candidate) = unmarshal_candidate(text.trim_start_matches("candidate:")) {
                let candidate: Arc<dyn Candidate + Send + Sync> = Arc::new(candidate);
                agent.add_remote_candidate(&candidate)?;
            }
        } else if message["done"] == true {
            done.send(true)?;
        }
    }
    Ok(())
}

/// Sends for so long, and goes on until the other side is done too. Answers what was sent, and what was heard.
async fn talk(
    conn: &Arc<dyn Conn + Send + Sync>,
    span: Duration,
    tell: &mpsc::UnboundedSender<Value>,
    mut is_other_done: tokio::sync::watch::Receiver<bool>,
) -> Result<(u32, u32)> {
    let (mut sent, mut heard) = (0_u32, 0_u32);
    let mut buffer = [0; 1_500];
    let mut ticks = tokio::time::interval(EVERY);
    let done = sleep(span);
    let end = sleep(span + LINGER);
    tokio::pin!(done, end);
    let (mut is_told, mut is_over) = (false, false);
    while !is_over {
        tokio::select! {
            _ = ticks.tick() => {
                sent += 1;
                let mut data = [0; 160];
                data[..MARK.len()].copy_from_slice(MARK);
                data[MARK.len()..MARK.len() + 4].copy_from_slice(&sent.to_be_bytes());
                // What does not leave is lost, as datagrams are.
                let _ = conn.send(&data).await;
            }
            received = conn.recv(&mut buffer) => heard += u32::from(buffer[..received?].starts_with(MARK)),
            () = &mut done, if !is_told => {
                tell.send(json!({ "done": true }))?;
                is_told = true;
            }
            _ = is_other_done.wait_for(|done| *done), if is_told => is_over = true,
            () = &mut end => is_over = true,
        }
    }
    // Its checks are answered a little longer.
    sleep(LAST).await;
    Ok((sent, heard))
}
