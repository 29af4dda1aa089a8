//! Ten hours on a credential of eight, in virtual time.

use super::*;
use crate::proto::auth::credential::PasswordMac;
use crate::proto::auth::credential::mint_with;

const HOUR: u64 = 3_600;

/// Carol's call from now on: what a client does every four minutes.
struct Call {
    carol: Client,
    refused: Vec<(u64, u16)>,
}

impl Call {
    fn begin(world: &mut World, mac: PasswordMac, hours: u64) -> Self {
        let expires = world.now().unix + hours * HOUR;
        let (name, password) = mint_with(mac, &Secret::new(SECRET), "carol", expires);
        let mut carol = Client::named(world, 1, &name, &password);
        assert_eq!(carol.allocate(world).code, 0);
        assert_eq!(carol.bind(world, 0x4000, "8.8.8.8:53").code, 0);
        Self { carol, refused: Vec::new() }
    }

    /// Refreshes the allocation, a permission and a channel every four minutes for so many hours. A stale nonce is taken as
    /// clients take it.
    fn go_on(&mut self, world: &mut World, hours: u64) {
        for _ in 0..hours * 15 {
            world.pass(240);
            for step in 0..3 {
                let mut code = self.step(world, step);
                if code == 438 {
                    let (tick, from) = (world.now().tick(), self.carol.from);
                    self.carol.nonce = world.server.config.challenger.nonce_key.mint(tick, &from).0.to_vec();
                    code = self.step(world, step);
                }
                if code != 0 {
                    self.refused.push((world.seconds, code));
                }
            }
        }
    }

    /// The code of an answer, signed or, once nothing is left of the session, not.
    fn step(&mut self, world: &mut World, step: u8) -> u16 {
        let request = match step {
            0 => self.carol.request(Method::Refresh, |_| {}),
            1 => self.carol.request(Method::CreatePermission, |writer| {
                writer.peer(peer("9.9.9.9:0"));
            }),
            _ => self.carol.request(Method::ChannelBind, |writer| {
                writer.attribute(attribute::CHANNEL_NUMBER, &channel_value(0x4000)).peer(peer("8.8.8.8:53"));
            }),
        };
        told(&world.send(self.carol.from, &request).expect("an answer")).code
    }

    /// What a new Allocate with the same credential gets, from another port.
    fn anew(&self, world: &mut World, number: u16) -> u16 {
        let from = testing::five_tuple(number);
        let nonce = world.server.config.challenger.nonce_key.mint(world.now().tick(), &from).0.to_vec();
        let mut again = Client { from, nonce, ..self.carol.clone() };
        let request = again.request(Method::Allocate, udp);
        told(&world.send(from, &request).expect("an answer")).code
    }
}

#[test]
fn a_call_of_ten_hours_outlives_its_credential_of_eight_while_no_new_one_begins() {
    for mac in [PasswordMac::Sha1, PasswordMac::Sha256] {
        let mut world = World::new();
        let mut call = Call::begin(&mut world, mac, 8);
        assert_eq!(call.anew(&mut world, 2), 0);
        call.go_on(&mut world, 8);
        world.pass(290);
        assert_eq!(call.anew(&mut world, 3), 0, "five minutes of leeway");
        world.pass(20);
        assert_eq!(call.anew(&mut world, 4), 401);
        call.go_on(&mut world, 2);
        assert_eq!(call.refused, [], "{mac:?}");
        assert_eq!(call.anew(&mut world, 5), 401);
        let opened = world.opened.first().expect("carol's port").0;
        assert!(!world.closed.contains(&opened), "ten hours on one port");
    }
}

#[test]
fn the_call_ends_where_the_session_does() {
    let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(HOUR));
    let mut call = Call::begin(&mut world, PasswordMac::Sha1, 8);
    let begun = world.seconds;
    call.go_on(&mut world, 10);
    let (first, code) = *call.refused.first().expect("an end");
    assert_eq!(code, 401);
    assert_eq!(first - begun, 9 * HOUR, "eight of the credential and one of grace");
    assert_eq!(world.server.occupancy().live, 0, "what is not refreshed expires");
    assert_eq!(world.ends(), [EndReason::Expired]);
}

#[test]
fn a_day_s_step_of_the_wall_clock_either_way_changes_neither_the_call_nor_its_end() {
    for step in [86_400, -86_400] {
        let mut world = World::with(|config| config.session_lifetime_max = Duration::from_secs(HOUR));
        let mut call = Call::begin(&mut world, PasswordMac::Sha1, 8);
        let begun = world.seconds;
        call.go_on(&mut world, 4);
        world.unix = world.unix.checked_add_signed(step).expect("a date");
        // The credential is a day over, or a day and four hours from its end, which is above the ceiling.
        assert_eq!(call.anew(&mut world, 2), 401, "{step}");
        call.go_on(&mut world, 4);
        assert_eq!(call.refused, [], "{step}");
        call.go_on(&mut world, 2);
        assert_eq!(
            call.refused.first().map(|(at, code)| (at - begun, *code)),
            Some((9 * HOUR, 401)),
            "{step}"
        );
    }
}
