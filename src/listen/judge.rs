//! One connection, from its first byte to the worker that gets it. The order of judgement:
//!
//! 1. the PROXY header, if the connection comes from a trusted proxy, and then it is due ([`super::proxy`]);
//! 2. what is spoken, by the first bytes ([`crate::proto::wire::sniff`]);
//! 3. for TLS the whole ClientHello, the handshake, and then step 2 again inside; for pseudo-TLS the two hellos, and then
//!    step 2 again behind them;
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
use crate::proto::types::Dialect;
use crate::proto::types::FiveTuple;
use crate::proto::types::ServerAddr;
use crate::proto::types::limits;
use crate::proto::wire::Verdict;
use crate::proto::wire::proxy::Ends;
use crate::proto::wire::sniff::sniff;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::fits_a_request;
use crate::proto::wire::stream::next_frame_in;
use crate::relay::Arriving;

use super::accept::Accepted;
use super::accept::Hall;
use super::disguise::exchange_hellos;
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
    let mut layer = Layer::Outer;
    let mut verdict = first_words(hall, &mut visitor, layer).await?;
    if verdict == Verdict::Tls {
        // Boxed, so that a connection that stays silent does not hold the room of a handshake.
        match Box::pin(secure(hall, &mut visitor)).await? {
            Greeted::Secured => layer = Layer::Inner,
            Greeted::ForAnother => return to_web(hall, visitor, Errand::Through, *ends, place),
        }
        verdict = first_words(hall, &mut visitor, layer).await?;
    }
    if verdict == Verdict::PseudoTls && layer == Layer::Outer && hall.config.legacy {
        exchange_hellos(hall, &mut visitor).await?;
        layer = Layer::Disguised;
        verdict = first_words(hall, &mut visitor, layer).await?;
    }
    if verdict == Verdict::Http && layer != Layer::Disguised {
        return to_web(hall, visitor, Errand::Site, *ends, place);
    }
    let dialect = spoken(hall, layer, verdict).ok_or(TurnedAway::NotServed)?;
    let wait = hall.config.deadlines.first_message;
    let len = within(wait, TurnedAway::MessageDeadline, first_message(&mut visitor, dialect)).await?;
    hand_over(hall, visitor, (len, dialect), *ends, place).await
}

fn to_web(hall: &Hall, visitor: Visitor, errand: Errand, ends: Ends, place: Place) -> Result<(), TurnedAway> {
    let own = hall.web.place(ends.client.ip()).ok_or(TurnedAway::WebFull)?;
    let left = visitor.leave().map_err(failed)?;
    let taken = hall.web.admit(left, ends, errand, (place, own));
    if taken { Ok(()) } else { Err(TurnedAway::WebFull) }
}

/// The dialect that is served to whoever speaks so at this place. A connection keeps it for life.
fn spoken(hall: &Hall, layer: Layer, verdict: Verdict) -> Option<Dialect> {
    match verdict {
        // Pseudo-TLS is of the old dialect: nothing else comes behind its hellos.
        Verdict::Stun if layer != Layer::Disguised => Some(Dialect::Rfc8656),
        Verdict::MsTurn if hall.config.legacy => Some(Dialect::MsTurn),
        _ => None,
    }
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
async fn first_message(visitor: &mut Visitor, dialect: Dialect) -> Result<usize, TurnedAway> {
    loop {
        let wanted = match next_frame_in(dialect, &visitor.unread) {
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
    (len, dialect): (usize, Dialect),
    Ends { client, server }: Ends,
    place: Place,
) -> Result<(), TurnedAway> {
    let (channel, unread) = visitor.leave().map_err(failed)?;
    let transport = channel.transport();
    let from = FiveTuple { client: ClientAddr::new(client), server: ServerAddr::new(server), transport };
    let route = hall.dispatch.borrow().route(&unread[..len]);
    let mut arriving = Box::new(Arriving { channel, from, unread, place, dialect });
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
            legacy: true,
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
        let (why, heard, seconds) = visit(|| hall(proxies), said, |_| {});
        assert_eq!(heard, b"", "closed without a byte");
        (why, seconds)
    }

    /// The same, and what the client hears, at doors that `open` makes.
    fn visit(
        open: impl FnOnce() -> Hall,
        said: &[u8],
        prepare: impl FnOnce(&mut TcpStream),
    ) -> (TurnedAway, Vec<u8>, u64) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let hall = open();
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
            let mut far = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (mut near, client) = listener.accept().expect("it waits");
            near.set_nonblocking(true).expect("an option");
            prepare(&mut near);
            let server = near.local_addr().expect("bound");
            far.write_all(said).expect("sent");
            let socket = tokio::net::TcpStream::from_std(near).expect("watched");
            let place = hall.places.borrow_mut().take(client.ip()).expect("a place");
            let start = Instant::now();
            let mut ends = Ends { client, server };
            // Where a deadline is missing there would be nothing that the clock could jump to.
            let judging = timeout(Duration::from_secs(120), judge(&hall, socket, &mut ends, place));
            let why = judging.await.expect("every step has a deadline");
            let seconds = start.elapsed().as_secs();
            assert_eq!(hall.places.borrow().taken(), 0, "its place is given back");
            let mut heard = Vec::new();
            // Reset, where the server had not read all of it.
            let _ = far.read_to_end(&mut heard);
            (why.expect_err("no worker is there"), heard, seconds)
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

    fn pseudo_hello() -> Vec<u8> {
        let head = [0x16, 3, 1, 0, 0x2D, 1, 0, 0, 0x29, 3, 1];
        [&head[..], &[0x77; 32], &[0, 0, 2, 0, 0x18, 1, 0]].concat()
    }

    /// A first Allocate of [MS-TURN] in its frame.
    fn legacy_frame() -> Vec<u8> {
        let cookie = [0, 0x0F, 0, 4, 0x72, 0xC6, 0x4B, 0xC6];
        let version = [0x80, 8, 0, 4, 0, 0, 0, 1];
        [&[2, 0, 0, 36, 0, 3, 0, 16][..], &[9; 16], &cookie, &version].concat()
    }

    /// What a client hears that says `said` to doors where the old dialect is served, or not; why it is turned away.
    fn heard(said: &[u8], legacy: bool) -> (TurnedAway, Vec<u8>) {
        let open = || {
            let mut hall = hall(Vec::new());
            hall.config.legacy = legacy;
            hall
        };
        let (why, all, _) = visit(open, said, |_| {});
        (why, all)
    }

    #[test]
    fn a_hello_of_pseudo_tls_is_answered_with_83_bytes_and_nothing_behind_them() {
        for (behind, why) in [
            (&[][..], TurnedAway::SniffDeadline),
            // What does not wait for the answer is read all the same.
            (&legacy_frame()[..], TurnedAway::WorkersBusy),
            (&legacy_frame()[..33], TurnedAway::MessageDeadline),
            (&BINDING, TurnedAway::NotServed),
            (&pseudo_hello(), TurnedAway::NotServed),
            (b"GET / HTTP/1.1\r\n", TurnedAway::NotServed),
            (&[3, 0, 0, 3], TurnedAway::NotServed),
        ] {
            let (judged, answer) = heard(&[&pseudo_hello(), behind].concat(), true);
            assert_eq!(judged, why, "{behind:02x?}");
            // A connection that is closed over bytes that nobody read is reset, and takes its answer with it.
            if why != TurnedAway::NotServed {
                assert_eq!(answer.len(), 83);
                assert_eq!(
                    (&answer[..11], &answer[76..]),
                    (&[0x16, 3, 1, 0, 0x4E, 2, 0, 0, 0x46, 3, 1][..], &[0, 0x18, 0, 0x0E, 0, 0, 0][..],)
                );
                assert!(answer[11..43] != [0; 32] && answer[43] == 32);
            }
        }
    }

    #[test]
    fn a_client_that_cannot_be_answered_has_the_deadline_of_a_handshake() {
        let stuff = |near: &mut TcpStream| while near.write(&[0; 4_096]).is_ok() {};
        let (why, _, seconds) = visit(|| hall(Vec::new()), &pseudo_hello(), stuff);
        assert_eq!((why, seconds), (TurnedAway::HandshakeDeadline, limits::HANDSHAKE_DEADLINE.as_secs()));
    }

    #[test]
    fn the_old_dialect_has_its_place_and_can_be_shut_out() {
        assert_eq!(heard(&legacy_frame(), true).0, TurnedAway::WorkersBusy);
        assert_eq!(heard(&legacy_frame(), false), (TurnedAway::NotServed, Vec::new()));
        assert_eq!(heard(&pseudo_hello(), false), (TurnedAway::NotServed, Vec::new()));
        let mut long = legacy_frame();
        long[2] = 0xFF;
        assert_eq!(heard(&long, true).0, TurnedAway::Framing, "the message does not fill it");
        long[6] = 0xFF;
        long[7] = 0x10;
        assert_eq!(heard(&long, true).0, TurnedAway::Framing, "too long for a first message");
    }
}
