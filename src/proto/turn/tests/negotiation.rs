//! PASSWORD-ALGORITHMS end to end, and who tampers with it (RFC 8489 §§ 9.2.1, 9.2.4).

use super::*;
use crate::proto::auth::integrity_key::userhash;

const SHA256_CHOSEN: [u8; 4] = [0, 2, 0, 0];
const MD5_CHOSEN: [u8; 4] = [0, 1, 0, 0];

/// What stands in the two attributes of a request; `None` leaves one out.
#[derive(Clone, Copy)]
struct Says<'a> {
    chosen: Option<&'a [u8]>,
    offered: Option<&'a [u8]>,
    algorithm: Algorithm,
}

const RIGHT: Says<'_> =
    Says { chosen: Some(&SHA256_CHOSEN), offered: Some(&OFFERED), algorithm: Algorithm::Sha256 };

/// Alice with the key that SHA-256 makes.
fn alice(world: &World) -> Client {
    let key = integrity_key(PasswordAlgorithm::Sha256, b"alice", REALM.as_bytes(), b"password");
    Client { key, ..Client::alice(world, 1) }
}

fn ask(
    client: &mut Client,
    world: &mut World,
    says: Says<'_>,
    method: Method,
    body: impl FnOnce(&mut MessageWriter<'_>),
) -> Box<[u8]> {
    let request = client.request_with(says.algorithm, method, |writer| {
        body(writer);
        if let Some(chosen) = says.chosen {
            writer.attribute(attribute::PASSWORD_ALGORITHM, chosen);
        }
        if let Some(offered) = says.offered {
            writer.attribute(attribute::PASSWORD_ALGORITHMS, offered);
        }
    });
    world.send(client.from, &request).expect("an answer")
}

/// The code of an answer, and the attribute that signs it, right under the client's key.
fn signed(client: &Client, reply: &[u8]) -> (u16, Option<Algorithm>) {
    let answer = decode_response(reply).expect("a message");
    let algorithm = answer.integrity.algorithm();
    assert!(algorithm.is_none() || answer.integrity.verify(&client.key));
    (told(reply).code, algorithm)
}

// proves rfc8489:6.3.1.1-5, rfc8489:9.2.4-32
#[test]
fn a_negotiated_session_is_answered_with_sha256_from_its_first_success_to_its_last_error() {
    let mut world = World::with(|config| config.challenger.nonce_lifetime = Duration::from_secs(60));
    let mut alice = alice(&world);
    let sha256 = Some(Algorithm::Sha256);
    let reply = ask(&mut alice, &mut world, RIGHT, Method::Allocate, udp);
    assert_eq!(signed(&alice, &reply), (0, sha256));
    let reply = ask(&mut alice, &mut world, RIGHT, Method::Allocate, udp);
    assert_eq!(signed(&alice, &reply), (437, sha256), "an error");
    let reply = ask(&mut alice, &mut world, RIGHT, Method::CreatePermission, |writer| {
        writer.peer(peer("8.8.8.8:0"));
    });
    assert_eq!(signed(&alice, &reply), (0, sha256));
    let reply = ask(&mut alice, &mut world, RIGHT, Method::ChannelBind, |writer| {
        writer.attribute(attribute::CHANNEL_NUMBER, &channel_value(0x4000)).peer(peer("8.8.8.8:53"));
    });
    assert_eq!(signed(&alice, &reply), (0, sha256));
    let reply = ask(&mut alice, &mut world, RIGHT, Method::Refresh, |writer| {
        writer.attribute(0x7001, b"");
    });
    assert_eq!(signed(&alice, &reply), (420, sha256));
    world.pass(61);
    let reply = ask(&mut alice, &mut world, RIGHT, Method::Refresh, |_| {});
    assert_eq!(signed(&alice, &reply), (438, sha256));
    let answer = decode_response(&reply).expect("a message");
    assert_eq!(answer.password_algorithms, Some(&OFFERED[..]));
    alice.nonce = answer.nonce.expect("a new nonce").to_vec();
    let reply = ask(&mut alice, &mut world, RIGHT, Method::Refresh, |writer| {
        writer.attribute(attribute::LIFETIME, &[0; 4]);
    });
    assert_eq!(signed(&alice, &reply), (0, sha256), "the answer that waits for the port");
}

// proves rfc8489:6.3.1.1-5, rfc8489:9.2.4-33
#[test]
fn a_client_that_negotiates_nothing_is_answered_with_sha1() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let plain = Says { chosen: None, offered: None, algorithm: Algorithm::Sha1 };
    let reply = ask(&mut alice, &mut world, plain, Method::Allocate, udp);
    assert_eq!(signed(&alice, &reply), (0, Some(Algorithm::Sha1)));
    let reply = ask(&mut alice, &mut world, plain, Method::Allocate, udp);
    assert_eq!(signed(&alice, &reply), (437, Some(Algorithm::Sha1)));
}

/// Whoever sits in the path takes SHA-256 out of the offer; the client signs what it was shown, and the server sees it.
// proves rfc8489:9.2.4-15
#[test]
fn an_offer_that_was_tampered_with_is_a_bad_request_and_nothing_is_allocated() {
    let mut world = World::new();
    let md5_only = integrity_key(PasswordAlgorithm::Md5, b"alice", REALM.as_bytes(), b"password");
    for (says, key) in [
        (Says { chosen: Some(&MD5_CHOSEN), offered: Some(&MD5_CHOSEN), ..RIGHT }, &md5_only),
        (Says { chosen: Some(&MD5_CHOSEN), offered: Some(&[0, 1, 0, 0, 0, 2, 0, 0]), ..RIGHT }, &md5_only),
        (Says { chosen: Some(&MD5_CHOSEN), offered: Some(&[]), ..RIGHT }, &md5_only),
        (Says { chosen: None, ..RIGHT }, &md5_only),
        (Says { offered: None, ..RIGHT }, &alice(&world).key),
        (Says { chosen: Some(&[0, 3, 0, 0]), ..RIGHT }, &md5_only),
    ] {
        let mut client = Client { key: key.clone(), ..alice(&world) };
        let reply = ask(&mut client, &mut world, says, Method::Allocate, udp);
        let answer = decode_response(&reply).expect("a message");
        assert_eq!(answer.error_code, Some(400), "{:?} of {:?}", says.chosen, says.offered);
        assert_eq!((answer.realm, answer.nonce, answer.integrity.algorithm()), (None, None, None));
    }
    assert!(world.opened.is_empty());
}

/// To hide the offer, the nonce must be changed too, for its cookie announces it.
// proves rfc8489:9.2.1-1
#[test]
fn a_nonce_whose_features_were_taken_away_is_none_of_ours() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let good = alice.nonce.clone();
    assert!(good.starts_with(b"obMatJos2AAAB"));
    alice.nonce[9..13].copy_from_slice(b"AAAA");
    let plain = Says { chosen: None, offered: None, algorithm: Algorithm::Sha1 };
    let reply = ask(&mut alice, &mut world, plain, Method::Allocate, udp);
    let answer = decode_response(&reply).expect("a message");
    assert_eq!(answer.error_code, Some(438));
    assert_eq!(answer.password_algorithms, Some(&OFFERED[..]), "the offer is made again");
    assert!(answer.nonce.is_some_and(|nonce| nonce.starts_with(b"obMatJos2AAAB")));
    alice.nonce = good[13..].to_vec();
    let reply = ask(&mut alice, &mut world, plain, Method::Allocate, udp);
    assert_eq!(told(&reply).code, 438, "without any cookie");
    assert!(world.opened.is_empty());
}

#[test]
fn a_session_cannot_be_bid_down_after_its_allocate() {
    let mut world = World::new();
    let mut alice = alice(&world);
    ask(&mut alice, &mut world, RIGHT, Method::Allocate, udp);
    let md5 = integrity_key(PasswordAlgorithm::Md5, b"alice", REALM.as_bytes(), b"password");
    let mut weaker = Client { key: md5, transactions: 900, ..alice.clone() };
    for says in [
        Says { chosen: Some(&MD5_CHOSEN), ..RIGHT },
        Says { chosen: None, offered: None, algorithm: Algorithm::Sha1 },
    ] {
        let reply = ask(&mut weaker, &mut world, says, Method::Refresh, |_| {});
        assert_eq!(told(&reply).code, 401);
    }
    let reply = ask(&mut alice, &mut world, RIGHT, Method::Refresh, |_| {});
    assert_eq!(told(&reply).code, 0);
}

// proves rfc8489:9.2.4-9
#[test]
fn a_userhash_names_a_static_user_for_a_whole_session() {
    let mut world = World::new();
    let mut alice = alice(&world);
    let hash = userhash(b"alice", REALM.as_bytes());
    for method in [Method::Allocate, Method::Refresh] {
        let (nonce, key) = (alice.nonce.clone(), alice.key.clone());
        alice.transactions += 1;
        let mut buffer = [0; 1_024];
        let mut id = [0; 16];
        id[..4].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
        id[12..].copy_from_slice(&alice.transactions.to_be_bytes());
        let mut writer = MessageWriter::request(&mut buffer, method, TransactionId(id));
        udp(&mut writer);
        writer
            .attribute(attribute::USERHASH, &hash)
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, &nonce)
            .attribute(attribute::PASSWORD_ALGORITHM, &SHA256_CHOSEN)
            .attribute(attribute::PASSWORD_ALGORITHMS, &OFFERED)
            .integrity(Signature { key: &key, algorithm: Algorithm::Sha256 });
        let len = writer.finish().expect("room");
        let reply = world.send(alice.from, &buffer[..len]).expect("an answer");
        assert_eq!(signed(&alice, &reply), (0, Some(Algorithm::Sha256)), "{method:?}");
    }
}
