//! One connection, from its first byte to the worker that gets it. The order of judgement:
//!
//! 1. the PROXY header, if the connection comes from a trusted proxy, and then it is due ([`super::proxy`]);
//! 2. what is spoken, by the first bytes ([`crate::proto::wire::sniff`]);
//! 3. for TLS the whole ClientHello, the handshake, and then step 2 again inside;
//! 4. the first whole message, which says where the connection goes; HTTP, and TLS for a name of others, goes to
//!    [`super::web`].

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::net::Place;
use crate::proto::types::ClientAddr;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::limits;
use crate::proto::wire::Verdict;
use crate::proto::wire::proxy::Ends;
use crate::proto::wire::sniff::sniff;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::fits_a_request;
use crate::proto::wire::stream::next_frame;
use crate::relay::Arriving;

use super::accept::Accepted;
use super::accept::Hall;
use super::hello::Greeted;
use super::hello::secure;
use super::proxy::introduce;
use super::proxy::is_trusted;
use super::stats::Layer;
use super::stats::TurnedAway;
use super::visitor::Visitor;
use super::web::Errand;

/// Looked again after this when a worker has no room.
const HANDOVER_RETRY: Duration = Duration::from_millis(5);

/// Judges a connection; in the end a worker has it, or it is closed and counted.
pub(super) async fn receive(hall: Rc<Hall>, accepted: Accepted, place: Place) {
    let Accepted { socket, client, server } = accepted;
    let mut ends = Ends { client, server };
    if let Err(why) = judge(&hall, socket, &mut ends, place).await {
        hall.stats.count_turned_away(why);
        tracing::debug!(client = %ends.client, why = why.word(), "connection turned away");
    }
}

/// Where there is a proxy, `ends` become those that it tells of.
async fn judge(hall: &Hall, socket: TcpStream, ends: &mut Ends, mut place: Place) -> Result<(), TurnedAway> {
    let mut visitor = Visitor::new(socket);
    if is_trusted(&hall.config.proxy_from, ends.client.ip()) {
        Box::pin(introduce(hall, &mut visitor, ends)).await?;
        let passed = hall.places.borrow_mut().pass_on(&mut place, ends.client.ip());
        if let Err(full) = passed {
            // Counted where those are that find no place at the door.
            hall.stats.count_full(full);
            return Ok(());
        }
    }
    let mut verdict = first_words(hall, &mut visitor, Layer::Outer).await?;
    if verdict == Verdict::Tls {
        // Boxed, so that a connection that stays silent does not hold the room of a handshake.
        match Box::pin(secure(hall, &mut visitor)).await? {
            Greeted::Secured => verdict = first_words(hall, &mut visitor, Layer::Inner).await?,
            Greeted::ForAnother => return to_web(hall, visitor, Errand::Through, *ends, place),
        }
    }
    match verdict {
        Verdict::Stun => {}
        Verdict::Http => return to_web(hall, visitor, Errand::Site, *ends, place),
        _ => return Err(TurnedAway::NotServed),
    }
    let wait = hall.config.deadlines.first_message;
    let len = within(wait, TurnedAway::MessageDeadline, first_message(&mut visitor)).await?;
    hand_over(hall, visitor, len, *ends, place).await
}

fn to_web(hall: &Hall, visitor: Visitor, errand: Errand, ends: Ends, place: Place) -> Result<(), TurnedAway> {
    let own = hall.web.place(ends.client.ip()).ok_or(TurnedAway::WebFull)?;
    let left = visitor.leave().map_err(failed)?;
    let taken = hall.web.admit(left, ends, errand, (place, own));
    if taken { Ok(()) } else { Err(TurnedAway::WebFull) }
}

/// Reads until it is known what is spoken.
async fn first_words(hall: &Hall, visitor: &mut Visitor, layer: Layer) -> Result<Verdict, TurnedAway> {
    let wait = hall.config.deadlines.sniff;
    let verdict = within(wait, TurnedAway::SniffDeadline, async {
        loop {
            if let Some(verdict) = sniff(&visitor.unread) {
                return Ok(verdict);
            }
            more(visitor, limits::SNIFF_MAX - visitor.unread.len()).await?;
        }
    });
    let verdict = verdict.await?;
    hall.stats.count_verdict(layer, verdict);
    Ok(verdict)
}

/// Reads until the first message is whole; answers how long it is.
async fn first_message(visitor: &mut Visitor) -> Result<usize, TurnedAway> {
    loop {
        let wanted = match next_frame(&visitor.unread) {
            Next::Frame { len } if fits_a_request(len) => return Ok(len),
            Next::More { at_least } if fits_a_request(at_least) => at_least,
            Next::Frame { .. } | Next::More { .. } | Next::Broken => return Err(TurnedAway::Framing),
        };
        more(visitor, wanted - visitor.unread.len()).await?;
    }
}

async fn hand_over(
    hall: &Hall,
    visitor: Visitor,
    len: usize,
    Ends { client, server }: Ends,
    place: Place,
) -> Result<(), TurnedAway> {
    let (channel, unread) = visitor.leave().map_err(failed)?;
    let transport = channel.transport();
    let from = FiveTuple { client: ClientAddr::new(client), server: ServerAddr::new(server), transport };
    let route = hall.dispatch.borrow().route(&unread[..len]);
    let mut arriving = Box::new(Arriving { channel, from, unread, place });
    let until = Instant::now() + hall.config.deadlines.first_message;
    loop {
        let pushed = hall.dispatch.borrow_mut().hand_over(route, arriving);
        match pushed {
            Ok(()) => {
                hall.stats.count_handed_over(transport);
                return Ok(());
            }
            Err(_) if Instant::now() >= until => return Err(TurnedAway::WorkersBusy),
            Err(back) => arriving = back,
        }
        sleep(HANDOVER_RETRY).await;
    }
}

/// Adds at most `max` bytes, and at least one, to what is unread.
pub(super) async fn more(visitor: &mut Visitor, max: usize) -> Result<(), TurnedAway> {
    match visitor.read_more(max).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(TurnedAway::Left),
        Err(error) => Err(failed(error)),
    }
}

pub(super) async fn within<T>(
    wait: Duration,
    late: TurnedAway,
    step: impl Future<Output = Result<T, TurnedAway>>,
) -> Result<T, TurnedAway> {
    timeout(wait, step).await.unwrap_or(Err(late))
}

fn failed(_: io::Error) -> TurnedAway {
    TurnedAway::Failed
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Read as _;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::net::TcpStream;
    use std::sync::Arc;

    use crate::listen::Config;
    use crate::listen::Deadlines;
    use crate::listen::Stats;
    use crate::listen::dispatch::Dispatch;
    use crate::listen::web;
    use crate::listen::web::Web;
    use crate::net::Certificate;
    use crate::net::Certificates;
    use crate::net::Places;
    use crate::net::TlsServer;

    use super::*;

    const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn hall(proxy_from: Vec<(std::net::IpAddr, u8)>) -> Hall {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a sound name");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let shown = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).expect("a certificate");
        let tls = TlsServer::new(Arc::new(Certificates::new(vec![shown]))).expect("defaults");
        let config = Config {
            streams_total: 10,
            streams_per_address: 0,
            hash_seeds: [1; 4],
            deadlines: Deadlines::default(),
            tls,
            proxy_from,
            web: Web::default(),
        };
        let places = RefCell::new(Places::new(10, 0, [1; 4]));
        let dispatch = RefCell::new(Dispatch::new(Vec::new()));
        let stats = Arc::new(Stats::default());
        let (web, _) = web::start(Web::default(), [1; 4], Arc::clone(stats.web())).expect("a thread");
        Hall { config, stats, places, dispatch, web }
    }

    /// What becomes of a client that says `said` and then nothing more, and after how many seconds of a clock that
    /// jumps to whatever is awaited next.
    fn judged(said: &[u8]) -> (TurnedAway, u64) {
        judged_from(Vec::new(), said)
    }

    fn judged_from(proxies: Vec<(std::net::IpAddr, u8)>, said: &[u8]) -> (TurnedAway, u64) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let hall = hall(proxies);
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
            let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (near, client) = listener.accept().expect("it waits");
            near.set_nonblocking(true).expect("an option");
            let server = near.local_addr().expect("bound");
            far.write_all(said).expect("sent");
            let socket = tokio::net::TcpStream::from_std(near).expect("watched");
            let place = hall.places.borrow_mut().take(client.ip()).expect("a place");
            let start = Instant::now();
            let why = judge(&hall, socket, &mut Ends { client, server }, place).await;
            let seconds = start.elapsed().as_secs();
            assert_eq!(hall.places.borrow().taken(), 0, "its place is given back");
            let mut heard = [0; 8];
            // Closed; reset, where the server had not read all of it.
            assert!(matches!(far.read(&mut heard), Ok(0) | Err(_)), "without a byte");
            (why.expect_err("no worker is there"), seconds)
        })
    }

    #[test]
    fn each_step_has_its_deadline_and_no_more_time() {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
        let cases: [(&[u8], TurnedAway, Duration); 6] = [
            (&[], TurnedAway::SniffDeadline, limits::SNIFF_DEADLINE),
            (&[0x16, 3, 1], TurnedAway::SniffDeadline, limits::SNIFF_DEADLINE),
            (&hello, TurnedAway::HandshakeDeadline, limits::HANDSHAKE_DEADLINE),
            (&BINDING[..8], TurnedAway::MessageDeadline, limits::FIRST_MESSAGE_DEADLINE),
            (&BINDING[..19], TurnedAway::MessageDeadline, limits::FIRST_MESSAGE_DEADLINE),
            (&BINDING, TurnedAway::WorkersBusy, limits::FIRST_MESSAGE_DEADLINE),
        ];
        for (said, why, after) in cases {
            assert_eq!(judged(said), (why, after.as_secs()), "{said:02x?}");
        }
    }

    #[test]
    fn a_trusted_proxy_has_a_deadline_for_its_header_and_then_those_of_everybody() {
        let proxies = || vec![(std::net::IpAddr::from([127, 0, 0, 1]), 32)];
        let line = b"PROXY TCP4 203.0.113.5 198.51.100.9 50000 443\r\n";
        let behind = |said: &[u8]| [line, said].concat();
        let cases = [
            (Vec::new(), TurnedAway::ProxyDeadline, limits::PROXY_HEADER_DEADLINE),
            (line[..line.len() - 1].to_vec(), TurnedAway::ProxyDeadline, limits::PROXY_HEADER_DEADLINE),
            (behind(b""), TurnedAway::SniffDeadline, limits::SNIFF_DEADLINE),
            (behind(&BINDING[..19]), TurnedAway::MessageDeadline, limits::FIRST_MESSAGE_DEADLINE),
            (behind(&BINDING), TurnedAway::WorkersBusy, limits::FIRST_MESSAGE_DEADLINE),
            (behind(line), TurnedAway::NotServed, Duration::ZERO),
            (BINDING.to_vec(), TurnedAway::ProxyHeader, Duration::ZERO),
        ];
        for (said, why, after) in cases {
            assert_eq!(judged_from(proxies(), &said), (why, after.as_secs()), "{said:02x?}");
        }
    }

    #[test]
    fn what_is_no_business_of_ours_is_closed_at_once() {
        for said in [&b"\xFF"[..], b"SSH-2.0", b"PROXY TCP4 "] {
            assert_eq!(judged(said), (TurnedAway::NotServed, 0));
        }
        let mut long = BINDING;
        long[2] = 0xFF;
        assert_eq!(judged(&long), (TurnedAway::Framing, 0));
    }
}
