//! Over streams: any split, no repetition, and the end of the connection.

use super::*;
use crate::proto::types::Transport;
use crate::proto::wire::TransactionId;
use crate::proto::wire::stream::Next;
use crate::proto::wire::stream::next_frame;

fn over_tcp(config: &mut Config) {
    *config = config.clone().over(Transport::Tcp);
}

/// With an allocation over TCP that may move.
fn mobile() -> World {
    let mut world = World::with(|config| {
        over_tcp(config);
        config.mobility = true;
    });
    world.input(Input::Allocate);
    world.challenge(NONCE);
    world.grant(|response| {
        response.lifetime = Some(Lifetime::from_secs(3_600));
        response.mobility_ticket = Some(b"ticket");
    });
    world.events();
    world
}

/// With an allocation over TCP and a channel to [`PEER`].
fn bound() -> World {
    let mut world = World::live(over_tcp);
    world.input(Input::Bind(peer(PEER)));
    world.grant(|_| {});
    assert!(matches!(world.events()[..], [Event::Permitted { .. }, Event::Bound { .. }]));
    world
}

fn channel_data(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("short");
    let mut message = [&[0x40, 0][..], &len.to_be_bytes(), data].concat();
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// What a server may say, one of each kind by number.
fn said(kind: u8, len: usize) -> Vec<u8> {
    match kind % 4 {
        0 | 1 => channel_data(&vec![kind; len]),
        2 => data_indication(PEER, &vec![kind; len]),
        // An answer to nobody.
        _ => {
            let id = TransactionId::with_cookie([kind; 12]);
            let response = Response::new(Method::Refresh, id, Outcome::Success);
            let mut out = [0; 200];
            let len = encode_response(&response, None, true, &mut out).expect("it fits");
            out[..len].to_vec()
        }
    }
}

proptest! {
    #[test]
    fn any_split_tells_the_same(
        said_ in prop::collection::vec((any::<u8>(), 0_usize..400), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let messages: Vec<_> = said_.into_iter().map(|(kind, len)| said(kind, len)).collect();
        let mut whole = bound();
        messages.iter().for_each(|message| whole.input(Input::Message(message)));
        let stream = messages.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        for pieces in [pieces, stream.chunks(1).collect(), vec![&stream[..]]] {
            let mut split = bound();
            pieces.into_iter().for_each(|piece| split.input(Input::Bytes(piece)));
            prop_assert_eq!(&split.events, &whole.events);
        }
    }

    #[test]
    fn no_bytes_of_a_stream_make_a_client_panic_or_believe(
        pieces in prop::collection::vec(any::<Vec<u8>>(), 0..20),
    ) {
        let mut world = bound();
        pieces.iter().for_each(|piece| world.input(Input::Bytes(piece)));
        let harmless = |event: &Event| {
            matches!(event, Event::Data { .. } | Event::Broken | Event::Ended(End::Lost(Failure::Disconnected)))
        };
        prop_assert!(world.events.iter().all(harmless), "{:?}", world.events);
        prop_assert!(world.client.inbox.len() < limits::STREAM_FRAME_MAX);
    }
}

#[test]
fn the_whole_way_to_an_allocation_byte_by_byte() {
    let mut world = World::with(over_tcp);
    world.input(Input::Allocate);
    let key = sha256_key();
    let signature = Signature { key: &key, algorithm: Algorithm::Sha256 };
    for (outcome, signature) in
        [(Outcome::Error(ErrorCode::Unauthenticated), None), (Outcome::Success, Some(signature))]
    {
        let request = world.last();
        let request = decode_request(&request).expect("a request");
        let mut response = Response::new(request.method, request.transaction, outcome);
        response.realm = Some(REALM).filter(|_| signature.is_none());
        response.nonce = Some(NONCE).filter(|_| signature.is_none());
        response.password_algorithms = Some(&OFFERED[..]).filter(|_| signature.is_none());
        response.relayed_address = signature.map(|_| RelayAddr::new(address(RELAYED)));
        response.mapped_address = signature.map(|_| address(MAPPED));
        let mut out = [0; 1_024];
        let len = encode_response(&response, signature, false, &mut out).expect("it fits");
        out[..len].iter().for_each(|byte| world.input(Input::Bytes(&[*byte])));
    }
    assert!(matches!(world.events()[..], [Event::Allocated(_)]));
}

#[test]
fn a_request_is_sent_once_and_given_up_after_ti() {
    let mut world = World::with(over_tcp);
    world.input(Input::Allocate);
    let began = world.millis;
    while world.wake(u64::MAX) {}
    assert_eq!((world.sent.len(), world.millis - began), (1, 39_500));
    assert_eq!(world.events(), [Event::NotAllocated(Failure::Timeout)]);
}

#[test]
fn what_is_sent_over_a_stream_is_whole_frames() {
    let mut world = bound();
    world.input(Input::Permit("192.0.2.77".parse().expect("an address")));
    world.grant(|_| {});
    let mut lens = Vec::new();
    for len in 0..9 {
        world.sent.clear();
        world.input(Input::Send { peer: peer(PEER), data: &vec![7; len] });
        world.input(Input::Send { peer: peer("192.0.2.77:9"), data: &vec![7; len] });
        for message in &world.sent {
            assert_eq!(next_frame(message), Next::Frame { len: message.len() }, "{message:02x?}");
        }
        let channel_data = &world.sent[0];
        assert_eq!(usize::from(channel_data[3]), len, "the length is that of the data");
        lens.push(channel_data.len());
    }
    assert_eq!(lens, [4, 8, 8, 8, 8, 12, 12, 12, 12]);
}

#[test]
fn a_stream_that_breaks_is_told_and_heard_no_more() {
    let mut world = bound();
    let mut bytes = channel_data(b"before");
    bytes.push(0xFF);
    bytes.extend(channel_data(b"behind"));
    world.input(Input::Bytes(&bytes));
    let Event::Data { data, .. } = world.events.remove(0) else { panic!("what came before counts") };
    assert_eq!(*data, *b"before");
    assert_eq!(world.events(), [Event::Broken, Event::Ended(End::Lost(Failure::Disconnected))]);
    world.input(Input::Bytes(&channel_data(b"behind")));
    assert!(world.events().is_empty());
    // Over another connection it is heard again, from its first byte.
    world.input(Input::Allocate);
    let sent = world.sent.len();
    world.grant(|_| {});
    assert!(matches!(world.events()[..], [Event::Allocated(_)]));
    assert_eq!(world.sent.len(), sent, "nobody is permitted any more");
    world.input(Input::Permit(peer(PEER).ip()));
    world.input(Input::Bytes(&data_indication(PEER, b"heard")));
    assert!(matches!(world.events()[..], [Event::Data { .. }]));
}

#[test]
fn a_connection_takes_with_it_whatever_hung_on_it() {
    let mut world = World::with(over_tcp);
    world.input(Input::Disconnected);
    assert!(world.events().is_empty());
    world.input(Input::Allocate);
    world.input(Input::Disconnected);
    assert_eq!(world.events(), [Event::NotAllocated(Failure::Disconnected)]);
    assert!(!world.wake(u64::MAX), "nothing is waited for");

    let mut world = bound();
    world.input(Input::Release);
    world.input(Input::Disconnected);
    assert_eq!(world.events(), [Event::Ended(End::Unconfirmed)]);

    // Another connection is another client to the server.
    let mut world = bound();
    world.input(Input::Moved);
    assert_eq!(world.events(), [Event::Ended(End::Lost(Failure::Disconnected))]);
    assert!(!world.wake(u64::MAX));
}

#[test]
fn what_may_move_outlives_its_connection() {
    let mut world = mobile();
    world.input(Input::Permit(peer(PEER).ip()));
    world.input(Input::Bytes(&channel_data(b"half of it")[..6]));
    world.input(Input::Disconnected);
    let sent = world.sent.len();
    world.input(Input::Send { peer: peer(PEER), data: b"into the void" });
    assert_eq!(world.events(), [Event::NotSent { peer: peer(PEER) }]);
    assert_eq!(world.sent.len(), sent, "there is nothing to send by");
    world.input(Input::Moved);
    let bytes = world.last();
    let request = decode_request(&bytes).expect("a request");
    assert_eq!((request.method, request.mobility_ticket), (Method::Refresh, Some(&b"ticket"[..])));
    world.grant(|response| response.mobility_ticket = Some(b"ticket two"));
    assert_eq!(world.events(), [Event::Moved]);
    // Of the old connection's bytes nothing is left in front of the new one's.
    world.grant(|_| {});
    assert!(matches!(world.events()[..], [Event::Permitted { .. }]));
    world.input(Input::Bytes(&data_indication(PEER, b"heard")));
    assert!(matches!(world.events()[..], [Event::Data { .. }]));
}

#[test]
fn what_may_move_is_over_when_its_time_is_or_when_it_is_given_back_without_a_connection() {
    let mut world = mobile();
    world.input(Input::Disconnected);
    assert!(world.wake(u64::MAX));
    assert_eq!(world.events(), [Event::Ended(End::Lost(Failure::Expired))]);
    let mut world = mobile();
    world.input(Input::Disconnected);
    let sent = world.sent.len();
    world.input(Input::Release);
    assert_eq!((world.events(), world.sent.len()), (vec![Event::Ended(End::Unconfirmed)], sent));
}
