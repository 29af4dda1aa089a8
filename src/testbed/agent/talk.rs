//! One call of the agent: everything that happens to it, in one task.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::SystemTime;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::io::Lines;
use tokio::net::UdpSocket;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ice::Agent;
use crate::ice::Clock;
use crate::ice::Config;
use crate::ice::Event;
use crate::ice::Input;
use crate::ice::Output;
use crate::ice::Path;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::types::Transport;
use crate::proto::types::limits::CLIENT_COMMANDS_MAX;
use crate::proto::types::limits::DATAGRAM_MAX;

use super::environment::Environment;
use super::line;
use super::line::Line;
use super::line::News;
use super::line::Terms;
use super::media;
use super::media::Media;
use super::signal::Message;

/// How long the other side may go on sending after this one is done, and how long giving back may take.
const LINGER: Duration = Duration::from_secs(5);
const GIVE_BACK: Duration = Duration::from_secs(2);

/// What is wished of a call.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// How long data is sent.
    pub data: Duration,
    /// How long connecting may take.
    pub patience: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Said {
    /// It connected, and heard the other side.
    pub is_good: bool,
    /// All of it.
    pub json: Value,
}

/// The machine's randomness.
pub(super) struct Random;

impl Entropy for Random {
    fn fill_secret(&mut self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system has randomness once it runs programs");
    }
}

/// Calls the other side.
///
/// # Errors
/// Where the laboratory's signalling, a socket or the authority's file cannot be had.
pub async fn run(environment: &Environment, wish: Wish) -> Result<Said, Fault> {
    let mut talk = Talk::new(environment, wish).await?;
    talk.begin().await?;
    while talk.phase != Phase::Over {
        talk.turn().await?;
    }
    Ok(talk.said())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    /// It sends data until then.
    Sending(Instant),
    /// It listens to what the other side still sends, until then.
    Listening(Instant),
    /// It gives back what the servers gave, until then.
    Closing(Instant),
    Over,
}

struct Talk {
    agent: Agent,
    wish: Wish,
    start: Instant,
    phase: Phase,
    socket: UdpSocket,
    local: SocketAddr,
    terms: Vec<Terms>,
    lines: Vec<Option<Line>>,
    news: mpsc::Receiver<(usize, News)>,
    tell: mpsc::Sender<(usize, News)>,
    /// The other side's signalling, until it ends.
    hear: Option<Lines<BufReader<OwnedReadHalf>>>,
    say: OwnedWriteHalf,
    buffer: Vec<u8>,
    next_data: Option<Instant>,
    is_other_done: bool,
    media: Media,
    path: Option<Path>,
    connected_after: Option<Duration>,
    failure: Option<&'static str>,
    not_gathered: Vec<String>,
}

impl Talk {
    async fn new(environment: &Environment, wish: Wish) -> Result<Self, Fault> {
        let request =
            |what: &str, error: io::Error| Fault::new(FaultKind::Request, format!("{what}: {error}"));
        let signalling = UnixStream::connect(&environment.signalling)
            .await
            .map_err(|error| request("the laboratory's signalling is not there", error))?;
        let (hear, say) = signalling.into_split();
        let bound = async {
            let socket = UdpSocket::bind((route(environment)?, 0)).await?;
            Ok::<_, io::Error>((socket.local_addr()?, socket))
        };
        let (local, socket) = bound.await.map_err(|error| request("no socket can be had", error))?;
        let tls = line::tls(environment.authority.as_deref())?;
        let terms = environment.servers.iter().zip(&environment.by_proxy).map(|(server, by_proxy)| Terms {
            to: server.address,
            proxy: environment.proxy.clone().filter(|_| *by_proxy),
            tls: (server.transport == Transport::Tls).then(|| tls.clone()),
        });
        let terms = terms.collect::<Vec<_>>();
        let mut config = Config::new(environment.role);
        config.servers.clone_from(&environment.servers);
        config.connect_within = wish.patience;
        let start = Instant::now();
        let agent = Agent::new(config, Clock::starting_at(start.into_std()), &mut Random);
        let (tell, news) = mpsc::channel(CLIENT_COMMANDS_MAX);
        Ok(Self {
            agent,
            wish,
            start,
            phase: Phase::Connecting,
            socket,
            local,
            lines: terms.iter().map(|_| None).collect(),
            terms,
            news,
            tell,
            hear: Some(BufReader::new(hear).lines()),
            say,
            buffer: vec![0; DATAGRAM_MAX],
            next_data: None,
            is_other_done: false,
            media: Media::default(),
            path: None,
            connected_after: None,
            failure: None,
            not_gathered: Vec::new(),
        })
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now { since_start: self.start.elapsed(), unix: unix.map_or(0, |since| since.as_secs()) }
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        let mut description = self.agent.description();
        description.candidates.clear();
        self.say(&Message::Credentials(description)).await?;
        let now = self.now();
        self.agent.handle_input(now, Input::LocalAddress(self.local));
        self.agent.handle_input(now, Input::Gather);
        self.carry_out().await
    }

    /// Waits for what happens next, and sees to it.
    async fn turn(&mut self) -> Result<(), Fault> {
        let wake = self.wake();
        tokio::select! {
            received = self.socket.recv_from(&mut self.buffer) => {
                // An error is one that an earlier datagram met, and is no end.
                if let Ok((len, from)) = received {
                    let bytes = &self.buffer[..len];
                    let (now, local) = (self.now(), self.local);
                    self.agent.handle_input(now, Input::Datagram { local, from, bytes });
                }
            }
            Some((server, news)) = self.news.recv() => self.on_news(server, news),
            line = next_line(&mut self.hear) => self.on_line(line),
            () = tokio::time::sleep_until(wake) => {}
        }
        self.on_time().await?;
        self.carry_out().await
    }

    fn wake(&self) -> Instant {
        let due = self.agent.poll_timeout().map(|due| {
            // A deadline counts whole milliseconds; just before one it would not be due yet.
            Instant::now() + due.remaining(self.now().tick()) + Duration::from_millis(1)
        });
        let until = match self.phase {
            Phase::Connecting | Phase::Over => None,
            Phase::Sending(until) | Phase::Listening(until) | Phase::Closing(until) => Some(until),
        };
        let times = [due, until, self.next_data].into_iter().flatten();
        times.min().unwrap_or_else(|| Instant::now() + Duration::from_secs(1))
    }

    fn on_news(&mut self, server: usize, news: News) {
        let now = self.now();
        match news {
            News::Opened => self.agent.handle_input(now, Input::Opened { server }),
            News::Bytes(bytes) => self.agent.handle_input(now, Input::Bytes { server, bytes: &bytes }),
            News::Over(why) => {
                if self.lines[server].take().is_some() && self.phase == Phase::Connecting {
                    self.not_gathered.push(format!("{}: {why}", self.terms[server].to));
                }
                self.agent.handle_input(now, Input::Disconnected { server });
            }
        }
    }

    fn on_line(&mut self, line: Option<String>) {
        let now = self.now();
        match line.as_deref().map(Message::read) {
            None => self.hear = None,
            Some(Some(Message::Credentials(description))) => {
                self.agent.handle_input(now, Input::Remote(&description));
            }
            Some(Some(Message::Candidate(candidate))) => {
                self.agent.handle_input(now, Input::RemoteCandidate(&candidate));
            }
            Some(Some(Message::End)) => self.agent.handle_input(now, Input::EndOfCandidates),
            Some(Some(Message::Done)) => self.is_other_done = true,
            Some(None) => {}
        }
    }

    async fn on_time(&mut self) -> Result<(), Fault> {
        let (now, at) = (self.now(), Instant::now());
        if self.agent.poll_timeout().is_some_and(|due| due.is_due(now.tick())) {
            self.agent.handle_timeout(now);
        }
        if self.next_data.is_some_and(|due| due <= at) {
            self.next_data = Some(at + media::EVERY);
            let datagram = self.media.next();
            self.agent.handle_input(now, Input::Send(&datagram));
        }
        match self.phase {
            Phase::Sending(until) if until <= at => {
                // It goes on sending until the other side is done too: so neither hears less for being later.
                self.say(&Message::Done).await?;
                self.phase = Phase::Listening(at + self.wish.data + LINGER);
            }
            Phase::Listening(until) if until <= at || self.is_other_done => self.close(at),
            Phase::Closing(until) if until <= at => self.phase = Phase::Over,
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, at: Instant) {
        self.next_data = None;
        self.phase = Phase::Closing(at + GIVE_BACK);
        self.agent.handle_input(self.now(), Input::Close);
    }

    async fn carry_out(&mut self) -> Result<(), Fault> {
        while let Some(output) = self.agent.poll_output() {
            match output {
                // What the kernel does not take is lost, as datagrams are.
                Output::Transmit { to, bytes, .. } => drop(self.socket.try_send_to(&bytes, to)),
                Output::Open { server } => {
                    let terms = self.terms[server].clone();
                    self.lines[server] = Some(Line::open(server, terms, self.tell.clone()));
                }
                Output::Write { server, bytes } => {
                    self.lines[server].iter().for_each(|line| line.write(bytes.clone()));
                }
                Output::Shut { server } => self.lines[server] = None,
                Output::Event(event) => self.on_event(event).await?,
            }
        }
        Ok(())
    }

    async fn on_event(&mut self, event: Event) -> Result<(), Fault> {
        match event {
            Event::LocalCandidate(candidate) => self.say(&Message::Candidate(candidate)).await?,
            Event::GatheringDone => self.say(&Message::End).await?,
            Event::Connected(path) => {
                let at = Instant::now();
                self.path = Some(path);
                self.connected_after = Some(at - self.start);
                self.phase = Phase::Sending(at + self.wish.data);
                self.next_data = Some(at);
            }
            Event::Switched(path) => self.path = Some(path),
            Event::Data(data) => self.media.hear(&data),
            Event::NotGathered { server, wanted, why, .. } => {
                self.not_gathered.push(format!("{}: {wanted:?}: {why:?}", self.terms[server].to));
            }
            Event::Failed(why) => {
                self.failure = Some(why.word());
                self.close(Instant::now());
            }
            Event::Closed { .. } => self.phase = Phase::Over,
            Event::NotPermitted { .. } | Event::RelayLost { .. } => {}
        }
        Ok(())
    }

    async fn say(&mut self, message: &Message) -> Result<(), Fault> {
        self.say.write_all(message.line().as_bytes()).await.map_err(|error| {
            Fault::new(FaultKind::Request, format!("the laboratory's signalling broke: {error}"))
        })
    }

    fn said(&self) -> Said {
        let is_good = self.failure.is_none() && self.path.is_some() && self.media.heard > 0;
        let relay = self.path.and_then(|path| path.relay).map(|(server, transport)| {
            match (self.terms[server].proxy.is_some(), transport) {
                (true, _) => "proxy",
                (false, Transport::Udp) => "udp",
                (false, Transport::Tcp) => "tcp",
                (false, Transport::Tls | Transport::Dtls) => "tls",
            }
        });
        let json = json!({
            "connected": is_good,
            "connected_after_ms": self.connected_after.map(|after| after.as_secs_f64() * 1e3),
            "local": self.path.map(|path| path.local.word()),
            "remote": self.path.map(|path| path.remote.word()),
            "relay": relay,
            "sent": self.media.sent,
            "heard": self.media.heard,
            "lost": self.media.lost(),
            "failure": self.failure,
            "not_gathered": self.not_gathered,
        });
        Said { is_good, json }
    }
}

/// The next line of the signalling, or its end; never, once it has ended.
async fn next_line(lines: &mut Option<Lines<BufReader<OwnedReadHalf>>>) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// The address of this machine from which the server is reached.
pub(super) fn route(environment: &Environment) -> io::Result<IpAddr> {
    let server = environment.servers.first().map(|server| server.address);
    let server = server.ok_or_else(|| io::Error::other("no server is named"))?;
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let probe = std::net::UdpSocket::bind((any, 0))?;
    probe.connect(server)?;
    Ok(probe.local_addr()?.ip())
}
