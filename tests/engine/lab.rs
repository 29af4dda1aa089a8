//! What only a comparison on one machine asks of the generator.

use super::*;

/// Two streams of 50 packets each second, of each call.
const SENT: u64 = CALLS as u64 * 2 * 50 * 2;

#[test]
fn a_tick_in_parts_sends_as_much_as_a_whole_one_and_nothing_is_lost() {
    let served = Served::start();
    let mut plan = plan(&served, "password");
    plan.generator.lab.parts = 5;
    let step = measured(&plan);
    let (sent, received) = (step.up.sent + step.down.sent, step.up.received + step.down.received);
    // A packet due at the end of a window may leave, and so count, behind it.
    assert!(sent.abs_diff(SENT) <= u64::from(CALLS) * 2, "{sent} of {SENT}");
    assert_eq!((received, step.strangers), (sent, 0));
}

#[test]
fn without_a_server_clients_and_peers_speak_all_the_same() {
    // Nobody listens there.
    let mut plan = plan_at(SocketAddr::from(([127, 0, 0, 1], 9)), std::process::id(), "");
    plan.servers[0].carrier = Carrier::LegacyUdp;
    plan.servers[0].watch = None;
    plan.generator.lab.is_serverless = true;
    let mut engine = engine(&plan);
    let setup = engine.hold(CALLS, &mut looker()).expect("nobody is asked");
    assert_eq!((setup.served, setup.failures.len()), (0, 0), "there are no allocations");
    let step = engine.measure(LENGTH, &mut looker()).expect("it goes through");
    assert_eq!((step.calls, step.strangers), (CALLS, 0));
    is_whole("up", &step.up, SENT / 2);
    is_whole("down", &step.down, SENT / 2);
    engine.hold(0, &mut looker()).expect("they leave");
}
