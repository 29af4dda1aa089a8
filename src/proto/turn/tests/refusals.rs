//! What each answer of RFC 8489 § 9.2.4 carries, to the attribute, when the control task gives it.

use super::*;

const ERROR_CODE: u16 = 0x0009;

/// The types of a message's attributes, in ascending order.
fn kinds(message: &[u8]) -> Vec<u16> {
    let (mut rest, mut found) = (&message[20..], Vec::new());
    while let Some((&[t0, t1, l0, l1], tail)) = rest.split_first_chunk::<4>() {
        found.push(u16::from_be_bytes([t0, t1]));
        rest = &tail[usize::from(u16::from_be_bytes([l0, l1])).next_multiple_of(4)..];
    }
    found.sort_unstable();
    found
}

fn sorted<const N: usize>(mut kinds: [u16; N]) -> [u16; N] {
    kinds.sort_unstable();
    kinds
}

/// What a client without a right credential is told, and nothing else.
fn challenge() -> [u16; 4] {
    sorted([ERROR_CODE, attribute::REALM, attribute::NONCE, attribute::PASSWORD_ALGORITHMS])
}

fn answer_to(world: &mut World, client: &mut Client) -> Box<[u8]> {
    let request = client.request(Method::Allocate, udp);
    world.send(client.from, &request).expect("an answer")
}

// proves rfc8489:9.2.4-16, rfc8489:9.2.4-17, rfc8489:9.2.4-18, rfc8489:9.2.4-19, rfc8489:9.2.4-20
#[test]
fn who_is_unknown_gets_a_401_with_a_challenge_and_no_name() {
    let mut world = World::new();
    let mut mallory = Client::named(&world, 1, "mallory", "password");
    let reply = answer_to(&mut world, &mut mallory);
    assert_eq!((told(&reply).code, &kinds(&reply)[..]), (401, &challenge()[..]));
    let answer = decode_response(&reply).expect("a message");
    assert_eq!(answer.realm, Some(REALM.as_bytes()));
    assert_eq!(answer.password_algorithms, Some(&OFFERED[..]));

    let request = mallory.request(Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::USERHASH, &[7; 32]);
    });
    let reply = world.send(mallory.from, &request).expect("an answer");
    assert_eq!((told(&reply).code, &kinds(&reply)[..]), (401, &challenge()[..]), "nor a hash");
    assert!(world.opened.is_empty());
}

// proves rfc8489:9.2.4-23, rfc8489:9.2.4-24, rfc8489:9.2.4-25, rfc8489:9.2.4-26
#[test]
fn a_wrong_integrity_gets_a_401_with_a_challenge_and_no_signature() {
    let mut world = World::new();
    let mut guess = Client::named(&world, 1, "alice", "passw0rd");
    let reply = answer_to(&mut world, &mut guess);
    assert_eq!((told(&reply).code, &kinds(&reply)[..]), (401, &challenge()[..]));
    assert!(world.opened.is_empty());
    let mut alice = Client::alice(&world, 1);
    let mut request = alice.request(Method::Allocate, udp);
    let last = request.len() - 1;
    request[last] ^= 1;
    let reply = world.send(alice.from, &request).expect("an answer");
    assert_eq!((told(&reply).code, &kinds(&reply)[..]), (401, &challenge()[..]), "one bit");
}

// proves rfc8489:9.2.4-27, rfc8489:9.2.4-28, rfc8489:9.2.4-29, rfc8489:9.2.4-30, rfc8489:9.2.4-31
#[test]
fn a_dead_nonce_gets_a_signed_438_with_one_that_lives() {
    let mut world = World::with(|config| config.challenger.nonce_lifetime = Duration::from_secs(60));
    let mut alice = Client::alice(&world, 1);
    world.pass(61);
    let reply = answer_to(&mut world, &mut alice);
    let mut expected = challenge().to_vec();
    expected.extend([attribute::MESSAGE_INTEGRITY, attribute::SOFTWARE]);
    expected.sort_unstable();
    assert_eq!((alice.read(&reply).code, kinds(&reply)), (438, expected), "it is signed with alice's key");
    alice.take_nonce(&reply);
    let reply = answer_to(&mut world, &mut alice);
    assert_eq!(alice.read(&reply).code, 0);
}

// proves rfc8489:9.2.4-33, rfc8489:9.2.4-34, rfc8489:14.14-2
#[test]
fn an_answer_to_an_authenticated_request_is_signed_and_repeats_no_credential() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let reply = answer_to(&mut world, &mut alice);
    assert_eq!(alice.read(&reply).code, 0);
    let mut expected = [
        attribute::XOR_RELAYED_ADDRESS,
        attribute::LIFETIME,
        attribute::XOR_MAPPED_ADDRESS,
        attribute::SOFTWARE,
        attribute::MESSAGE_INTEGRITY,
    ];
    expected.sort_unstable();
    assert_eq!(kinds(&reply), expected);
    let software = decode_response(&reply).expect("a message").software.expect("SOFTWARE");
    assert!(std::str::from_utf8(software).is_ok_and(|text| text.chars().count() < 128));

    let reply = answer_to(&mut world, &mut alice);
    assert_eq!(alice.read(&reply).code, 437);
    let expected = sorted([ERROR_CODE, attribute::SOFTWARE, attribute::MESSAGE_INTEGRITY]);
    assert_eq!(kinds(&reply), expected, "an error");
}

// proves rfc8489:6.3-3
#[test]
fn attributes_are_judged_only_when_the_client_is_known() {
    let mut world = World::new();
    let odd = |writer: &mut MessageWriter<'_>| {
        udp(writer);
        writer.attribute(0x7001, b"");
    };
    let code = |world: &mut World, mut client: Client| {
        let request = client.request(Method::Allocate, odd);
        told(&world.send(client.from, &request).expect("an answer")).code
    };
    let guess = Client::named(&world, 1, "alice", "wrong");
    assert_eq!(code(&mut world, guess), 401);
    let alice = Client::alice(&world, 1);
    assert_eq!(code(&mut world, alice), 420);
    let mut buffer = [0; 64];
    let id = TransactionId::with_cookie([1; 12]);
    let mut writer = MessageWriter::request(&mut buffer, Method::Allocate, id);
    odd(&mut writer);
    let len = writer.finish().expect("room");
    let reply = world.send(testing::five_tuple(2), &buffer[..len]).expect("an answer");
    assert_eq!(told(&reply).code, 401, "nor is a stranger told");
}

// proves rfc8489:6.3.1-1, rfc8489:14.8-8
#[test]
fn of_many_unknown_attributes_the_first_sixteen_are_named() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let many: Vec<u16> = (0x7000..0x7020).collect();
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        for kind in &many {
            writer.attribute(*kind, b"");
        }
    });
    let told = told.expect("an answer");
    assert_eq!((told.code, &told.unknown[..]), (420, &many[..16]));
}

// proves rfc8489:14.3-2
#[test]
fn a_name_of_763_bytes_is_read_and_is_nobody_s() {
    let mut world = World::new();
    for (len, code) in [(508, 401), (509, 401), (763, 401), (764, 400)] {
        let mut long = Client::named(&world, 1, &"n".repeat(len), "password");
        let reply = answer_to(&mut world, &mut long);
        assert_eq!(told(&reply).code, code, "{len} bytes");
    }
}
