//! Allocations made with access tokens (RFC 7635).

use super::*;
use crate::proto::auth::token::TokenAlgorithm;
use crate::proto::auth::token::TokenGrant;
use crate::proto::auth::token::TokenKey;

const NAME: &str = "turn.example.net";
const ACCESS_TOKEN: u16 = 0x001B;

fn key(kid: &str, fill: u8) -> TokenKey {
    let secret = Secret::new([fill; 32]);
    TokenKey::new(Username::new(kid.as_bytes()), TokenAlgorithm::A256Gcm, &secret, 0..=u64::MAX)
        .expect("32 bytes")
}

/// A world that takes tokens under the key ids `old` and `new`, and alice's password too.
fn world() -> World {
    World::with(|config| {
        config.challenger.third_party = Some(NAME.into());
        config.credentials = Arc::new(Credentials::new(CredentialConfig {
            realm: REALM.into(),
            users: vec![(Username::new(b"alice"), Secret::new(*b"password"))],
            secrets: Vec::new(),
            lifetime_max_s: 8 * 3_600,
            tokens: TokenConfig { server_name: NAME.into(), keys: vec![key("old", 1), key("new", 2)] },
            mras: Vec::new(),
        }));
    })
}

/// A client and its token, from the client address with this number.
struct Holder {
    client: Client,
    token: Vec<u8>,
}

impl Holder {
    fn new(world: &World, number: u16, kid: &str, lifetime_s: u32) -> Self {
        let mut client = Client::named(world, number, kid, "");
        let fill = if kid == "old" { 1 } else { 2 };
        let nonce = world.now().unix.to_be_bytes();
        let mac_key = [b"session key: ".as_slice(), &number.to_be_bytes(), &nonce].concat();
        let grant = TokenGrant { mac_key: &mac_key, issued_unix: world.now().unix, lifetime_s };
        let mut iv = [0; 12];
        iv[..8].copy_from_slice(&nonce);
        iv[8..10].copy_from_slice(&number.to_be_bytes());
        let token = key(kid, fill).seal(NAME, iv, &grant).expect("it fits");
        client.key = MacKey::new(&mac_key);
        Self { client, token }
    }

    /// Takes the five-tuple and nonce of `other`.
    fn at(mut self, other: &Self) -> Self {
        self.client.from = other.client.from;
        self.client.nonce.clone_from(&other.client.nonce);
        self.client.transactions = other.client.transactions + 1_000;
        self
    }

    fn ask(&mut self, world: &mut World, method: Method, body: impl FnOnce(&mut MessageWriter<'_>)) -> Told {
        let token = self.token.clone();
        self.client
            .ask(world, method, |writer| {
                body(writer);
                writer.attribute(ACCESS_TOKEN, &token);
            })
            .expect("an answer")
    }

    fn allocate(&mut self, world: &mut World) -> Told {
        self.ask(world, Method::Allocate, udp)
    }

    fn refresh(&mut self, world: &mut World, seconds: u32) -> Told {
        self.ask(world, Method::Refresh, |writer| {
            writer.attribute(attribute::LIFETIME, &seconds.to_be_bytes());
        })
    }

    /// The code of an Allocate whose answer nobody signs.
    fn refused(&mut self, world: &mut World) -> u16 {
        let token = self.token.clone();
        let request = self.client.request(Method::Allocate, |writer| {
            udp(writer);
            writer.attribute(ACCESS_TOKEN, &token);
        });
        let reply = world.send(self.client.from, &request).expect("an answer");
        let answer = decode_response(&reply).expect("a message");
        assert_eq!(answer.integrity.algorithm(), None);
        assert_eq!(answer.third_party, Some(NAME.as_bytes()));
        told(&reply).code
    }
}

// proves rfc7635:4-1, rfc7635:6.1-1
#[test]
fn a_stranger_is_told_where_a_token_would_help_and_a_stale_nonce_is_not() {
    let mut world = world();
    let mut alice = Client::alice(&world, 1);
    alice.key = MacKey::new(b"wrong");
    let request = alice.request(Method::Allocate, udp);
    let reply = world.send(alice.from, &request).expect("an answer");
    let answer = decode_response(&reply).expect("a message");
    assert_eq!((answer.error_code, answer.third_party), (Some(401), Some(NAME.as_bytes())));
    let mut stale = Client { nonce: b"stale".to_vec(), ..Client::alice(&world, 1) };
    let request = stale.request(Method::Allocate, udp);
    let reply = world.send(stale.from, &request).expect("an answer");
    let answer = decode_response(&reply).expect("a message");
    assert_eq!((answer.error_code, answer.third_party), (Some(438), None));
}

// proves rfc7635:4.1-1, rfc7635:7-1, rfc7635:7-4, rfc8656:7.2-3
#[test]
fn a_token_carries_a_call_whose_other_requests_need_it_no_more() {
    let mut world = world();
    let mut holder = Holder::new(&world, 1, "old", 3_600);
    let told = holder.allocate(&mut world);
    assert_eq!((told.code, told.lifetime), (0, Some(600)));
    assert_eq!(holder.client.permit(&mut world, &["8.8.8.8:0"]).code, 0);
    assert_eq!(holder.client.bind(&mut world, 0x4000, "8.8.8.8:53").code, 0);
    assert_eq!(holder.refresh(&mut world, 600).code, 0);
    assert_eq!(holder.client.refresh(&mut world, Some(600)).code, 0, "without the token, by its key");
    assert_eq!(Client::alice(&world, 2).allocate(&mut world).code, 0, "a password is as good as ever");
}

// proves rfc7635:7-2
#[test]
fn one_wrong_bit_in_the_token_and_there_is_no_allocation() {
    let mut world = world();
    let good = Holder::new(&world, 1, "old", 3_600);
    for bit in (0..good.token.len() * 8).step_by(7) {
        let mut holder = Holder::new(&world, 1, "old", 3_600);
        holder.client.transactions += u32::try_from(bit).expect("small");
        holder.token[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(holder.refused(&mut world), 401, "bit {bit}");
    }
    assert!(world.opened.is_empty());
}

// proves rfc7635:7-1, rfc7635:7-2, rfc7635:7-6
#[test]
fn an_expired_token_and_one_of_another_key_id_are_refused() {
    let mut world = world();
    let mut late = Holder::new(&world, 1, "old", 60);
    let mut wrong = Holder::new(&world, 2, "old", 60);
    wrong.client.username = b"new".to_vec();
    assert_eq!(wrong.refused(&mut world), 401);
    world.pass(65);
    assert_eq!(late.refused(&mut world), 401);
}

// proves rfc7635:9-2
#[test]
fn no_lifetime_reaches_beyond_the_token_and_the_call_ends_with_it() {
    let mut world = world();
    let mut holder = Holder::new(&world, 1, "old", 700);
    assert_eq!(holder.allocate(&mut world).lifetime, Some(600));
    world.pass(300);
    assert_eq!(holder.refresh(&mut world, 3_600).lifetime, Some(400));
    assert_eq!(holder.client.refresh(&mut world, Some(3_600)).lifetime, Some(400));
    world.pass(399);
    assert_eq!(world.server.occupancy().live, 1);
    world.pass(1);
    assert_eq!(world.server.occupancy().live, 0);
    let mut short = Holder::new(&world, 2, "old", 30);
    assert_eq!(short.allocate(&mut world).lifetime, Some(30), "shorter than any default");
}

// proves rfc7635:9-5
#[test]
fn a_newer_token_even_of_a_newer_key_carries_the_call_on_and_counts_for_the_same() {
    let mut world = world();
    let mut first = Holder::new(&world, 1, "old", 700);
    first.allocate(&mut world);
    world.pass(500);
    let mut second = Holder::new(&world, 1, "new", 3_600).at(&first);
    let early = second.client.request(Method::Refresh, |_| {});
    assert_eq!(told(&world.send(second.client.from, &early).expect("an answer")).code, 401, "not yet");
    assert_eq!(second.refresh(&mut world, 1_000).lifetime, Some(1_000));
    assert_eq!(second.client.permit(&mut world, &["8.8.8.8:0"]).code, 0);
    world.pass(900);
    assert_eq!(world.server.occupancy().live, 1, "beyond the first token");
    assert_eq!(second.refresh(&mut world, 0).code, 0);
    assert_eq!(world.server.occupancy().allocations, 0);
    assert_eq!(world.server.per_user.len(), 0, "what was counted is uncounted");
}

#[test]
fn a_token_takes_over_no_allocation_that_a_password_made() {
    let mut world = world();
    let mut alice = Client::alice(&world, 1);
    alice.allocate(&mut world);
    let mut holder = Holder::new(&world, 1, "old", 3_600);
    holder.client.transactions += 1_000;
    assert_eq!(holder.refresh(&mut world, 600).code, 441);
    assert_eq!(holder.refresh(&mut world, 0).code, 441);
    assert_eq!(alice.refresh(&mut world, None).code, 0);
}

#[test]
fn a_step_of_the_wall_clock_ends_no_token_s_call() {
    let mut world = world();
    let mut holder = Holder::new(&world, 1, "old", 3_600);
    holder.allocate(&mut world);
    for step in [86_400, -2 * 86_400] {
        world.unix = world.unix.checked_add_signed(step).expect("a date");
        world.pass(10);
        assert_eq!(holder.refresh(&mut world, 600).code, 0);
    }
}

// proves rfc7635:7-9, rfc7635:12-1
#[test]
fn a_server_that_takes_no_tokens_does_not_understand_them() {
    let mut world = World::new();
    let mut alice = Client::alice(&world, 1);
    let told = alice.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(ACCESS_TOKEN, &[0; 64]);
    });
    let told = told.expect("an answer");
    assert_eq!((told.code, told.unknown), (420, vec![ACCESS_TOKEN]));
}

// proves rfc7635:5-1, rfc7635:7-8
#[test]
fn a_token_negotiates_the_integrity_of_its_answers_like_a_password() {
    let mut world = world();
    let mut holder = Holder::new(&world, 1, "old", 3_600);
    let token = holder.token.clone();
    let request = holder.client.request_with(Algorithm::Sha256, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(ACCESS_TOKEN, &token);
        writer.attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
        writer.attribute(attribute::PASSWORD_ALGORITHMS, &OFFERED);
    });
    let reply = world.send(holder.client.from, &request).expect("an answer");
    let answer = decode_response(&reply).expect("a message");
    assert_eq!(answer.integrity.algorithm(), Some(Algorithm::Sha256));
    assert!(answer.success && answer.integrity.verify(&holder.client.key));
}

#[test]
fn whoever_shares_a_key_id_moves_nobody_elses_allocation_and_whoever_moves_keeps_to_its_token() {
    let mut world = world();
    world.server.config.mobility = true;
    let show = |holder: &mut Holder, world: &mut World, ticket: &[u8]| {
        holder.ask(world, Method::Refresh, |writer| {
            writer.attribute(attribute::MOBILITY_TICKET, ticket);
            writer.attribute(attribute::LIFETIME, &3_600_u32.to_be_bytes());
        })
    };
    let mut holder = Holder::new(&world, 1, "old", 1_000);
    let told = holder.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::MOBILITY_TICKET, b"");
    });
    let ticket = told.ticket.expect("a ticket");
    for kid in ["old", "new"] {
        let mut other = Holder::new(&world, 2, kid, 3_600);
        assert_eq!(show(&mut other, &mut world, &ticket).code, 441, "{kid}");
    }
    let elsewhere = Holder::new(&world, 3, "old", 1_000).client.from;
    let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &elsewhere).0.to_vec();
    (holder.client.from, holder.client.nonce) = (elsewhere, nonce);
    let told = show(&mut holder, &mut world, &ticket);
    assert_eq!((told.code, told.lifetime), (0, Some(1_000)), "no longer than its token");
    // Where it is now it goes on under a newer token, and its ticket with it.
    let mut newer = Holder::new(&world, 4, "new", 2_000).at(&holder);
    let told = show(&mut newer, &mut world, &told.ticket.expect("a ticket"));
    assert_eq!((told.code, told.lifetime, told.ticket.is_some()), (0, Some(2_000), true));
}

#[test]
fn a_ticket_given_to_another_key_id_moves_nothing_until_it_is_renewed_in_place() {
    let mut world = world();
    world.server.config.mobility = true;
    let show = |holder: &mut Holder, world: &mut World, ticket: &[u8]| {
        holder.ask(world, Method::Refresh, |writer| {
            writer.attribute(attribute::MOBILITY_TICKET, ticket);
        })
    };
    let mut older = Holder::new(&world, 1, "old", 1_000);
    let told = older.ask(&mut world, Method::Allocate, |writer| {
        udp(writer);
        writer.attribute(attribute::MOBILITY_TICKET, b"");
    });
    let ticket = told.ticket.expect("a ticket");
    let mut holder = Holder::new(&world, 2, "new", 2_000).at(&older);
    assert_eq!(holder.refresh(&mut world, 600).code, 0, "adopted, without a new ticket");
    let home = (holder.client.from, holder.client.nonce.clone());
    let elsewhere = Holder::new(&world, 3, "old", 1_000).client.from;
    let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &elsewhere).0.to_vec();
    (holder.client.from, holder.client.nonce) = (elsewhere, nonce.clone());
    assert_eq!(show(&mut holder, &mut world, &ticket).code, 441);
    (holder.client.from, holder.client.nonce) = home;
    let newer = show(&mut holder, &mut world, &ticket).ticket.expect("a ticket of the new key id");
    (holder.client.from, holder.client.nonce) = (elsewhere, nonce);
    assert_eq!(show(&mut holder, &mut world, &newer).code, 0);
}

// proves rfc7635:7-7
#[test]
fn a_good_token_without_the_key_in_it_gets_401() {
    let mut world = world();
    let mut thief = Holder::new(&world, 1, "old", 3_600);
    thief.client.key = MacKey::new(b"whatever the thief thinks");
    assert_eq!(thief.refused(&mut world), 401);
    assert!(world.opened.is_empty());
}

// proves rfc7635:9-1
#[test]
fn one_token_is_good_for_several_allocations() {
    let mut world = world();
    let mut first = Holder::new(&world, 1, "old", 3_600);
    assert_eq!(first.allocate(&mut world).code, 0);
    let elsewhere = Client::named(&world, 2, "old", "");
    let client = Client { from: elsewhere.from, nonce: elsewhere.nonce, ..first.client.clone() };
    let mut second = Holder { client, token: first.token };
    assert_eq!((second.allocate(&mut world).code, world.opened.len()), (0, 2));
}
