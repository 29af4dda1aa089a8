//! Bytes both ways between a client and a web site, as fast as the slower of them takes them.

use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::select;
use tokio::task::consume_budget;
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::listen::visitor::Wire;
use crate::net::Channel;
use crate::net::Received;
use crate::net::tcp::end_sending;
use crate::net::tcp::reset_when_closed;
use crate::proto::types::limits;

use super::WebEnd;
use super::WebStats;

thread_local! {
    /// Where bytes land: shared by all connections, and never across an await.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; limits::WEB_BUFFER].into());
}

/// A client and a web site that talk.
pub(super) struct Pipe {
    client: Channel<Wire>,
    site: Channel<Wire>,
    up: Flow,
    down: Flow,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and not yet taken by the other side: nothing, as a rule, and never more than one read.
    held: Vec<u8>,
    taken: usize,
    /// The sender is done.
    ended: bool,
    /// The receiver knows.
    told: bool,
}

impl Pipe {
    /// `first` is for the site, before anything that the client says from here on.
    pub(super) fn new(client: Channel<Wire>, site: Channel<Wire>, first: Vec<u8>) -> Self {
        Self { client, site, up: Flow { held: first, ..Flow::default() }, down: Flow::default() }
    }

    /// Carries until both are done, one of them fails, or nothing was carried for `idle`.
    pub(super) async fn run(mut self, idle: Duration, stats: &WebStats) -> WebEnd {
        let end = self.carry(idle, stats).await.unwrap_or(WebEnd::Failed);
        if end != WebEnd::Done {
            // Whoever still listens must not take what was cut off for the whole.
            reset_when_closed(&self.client.socket().0);
            reset_when_closed(&self.site.socket().0);
        }
        end
    }

    async fn carry(&mut self, idle: Duration, stats: &WebStats) -> io::Result<WebEnd> {
        let Self { client, site, up, down } = self;
        let mut until = Instant::now() + idle;
        loop {
            let (to_site, to_client) = (up.step(client, site)?, down.step(site, client)?);
            if up.told && down.told {
                stats.count_bytes(to_site, to_client);
                return Ok(WebEnd::Done);
            }
            if to_site + to_client > 0 {
                stats.count_bytes(to_site, to_client);
                until = Instant::now() + idle;
                // One read each way, then the others have their turn.
                yield_now().await;
                continue;
            }
            select! {
                ready = ready(client, up.is_open(site), down.has_to_say(client)) => ready?,
                ready = ready(site, down.is_open(client), up.has_to_say(site)) => ready?,
                () = sleep_until(until) => return Ok(WebEnd::Idle),
            }
            consume_budget().await;
        }
    }
}

impl Flow {
    /// Goes on as far as it goes without waiting, one read at most; answers how many bytes the receiver took.
    fn step(&mut self, from: &mut Channel<Wire>, to: &mut Channel<Wire>) -> io::Result<usize> {
        let mut moved = self.push(to)?;
        if self.is_open(to) {
            moved += SCRATCH.with_borrow_mut(|scratch| {
                let len = match from.receive(scratch)? {
                    Received::Bytes(len) => len,
                    Received::Nothing => return Ok(0),
                    Received::End => {
                        self.ended = true;
                        return Ok(0);
                    }
                };
                let sent = to.send(&scratch[..len], <[u8]>::len)?;
                self.held.extend_from_slice(&scratch[sent..len]);
                io::Result::Ok(sent)
            })?;
        }
        if self.ended && !self.told && self.is_clear(to) && to.part()? {
            end_sending(&to.socket().0)?;
            self.told = true;
        }
        Ok(moved)
    }

    /// Sends what is held.
    fn push(&mut self, to: &mut Channel<Wire>) -> io::Result<usize> {
        if self.is_clear(to) {
            return Ok(0);
        }
        let sent = to.send(&self.held[self.taken..], <[u8]>::len)?;
        self.taken += sent;
        if self.taken == self.held.len() {
            *self = Self { held: Vec::new(), taken: 0, ..*self };
        }
        Ok(sent)
    }

    /// Whether nothing waits for `to` to take it.
    fn is_clear(&self, to: &Channel<Wire>) -> bool {
        self.held.is_empty() && to.unsent() == 0
    }

    /// Whether `to` is to be told something, bytes or the end.
    fn has_to_say(&self, to: &Channel<Wire>) -> bool {
        !self.is_clear(to) || (self.ended && !self.told)
    }

    /// Whether more can be read.
    fn is_open(&self, to: &Channel<Wire>) -> bool {
        !self.ended && self.is_clear(to)
    }
}

/// Waits until the socket can be read or written, as is wanted; for ever if neither is.
async fn ready(channel: &Channel<Wire>, read: bool, write: bool) -> io::Result<()> {
    let interest = match (read, write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return pending().await,
    };
    channel.socket().0.ready(interest).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::net::TcpStream;

    use tokio::runtime;
    use tokio::time::sleep;
    use tokio::time::timeout;

    use super::*;

    const IDLE: Duration = Duration::from_secs(300);

    /// A connection on loopback: the pipe's end of it, and the far end.
    fn pair() -> (Channel<Wire>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
        let far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (near, _) = listener.accept().expect("it waits");
        near.set_nonblocking(true).expect("an option");
        far.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        (Channel::new(Wire(tokio::net::TcpStream::from_std(near).expect("watched"))), far)
    }

    #[test]
    fn every_byte_of_either_side_begins_the_time_anew_and_silence_ends_it() {
        let mut runtime = runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let ((client, mut client_far), (site, mut site_far)) = (pair(), pair());
            let (begin, stats) = (Instant::now(), WebStats::default());
            let pipe = timeout(IDLE * 100, Pipe::new(client, site, Vec::new()).run(IDLE, &stats));
            let talk = async {
                for round in 0..6 {
                    // The clock jumps there.
                    sleep(IDLE * 3 / 4).await;
                    let ends = (&mut client_far, &mut site_far);
                    let (from, to) = if round < 3 { ends } else { (ends.1, ends.0) };
                    from.write_all(&[round]).expect("sent");
                    sleep(Duration::from_millis(1)).await;
                    let mut heard = [0];
                    to.read_exact(&mut heard).expect("it was carried");
                    assert_eq!(heard, [round]);
                }
                Instant::now()
            };
            let (end, last) = tokio::join!(pipe, talk);
            assert_eq!(end.expect("it has a deadline"), WebEnd::Idle);
            assert_eq!(last - begin, (IDLE * 3 / 4 + Duration::from_millis(1)) * 6);
            assert_eq!((Instant::now() - last).as_secs(), IDLE.as_secs() - 1);
        });
    }
}
