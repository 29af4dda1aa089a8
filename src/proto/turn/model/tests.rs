//! Random histories: of fixed seeds, and of fresh ones.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::proto::types::Dice;
use crate::proto::types::Entropy;

/// Seeds of histories that are always played.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;
/// Seeds whose histories have shown a mistake, of the server or of the reference.
const FOUND: [u64; 5] = [159, 170, 352, 730, 69];

/// The answers that known histories must bring about: method number, codes; 0 for a success.
const ANSWERS: [(u16, &[u16]); 4] = [
    (0x003, &[0, 300, 400, 401, 405, 420, 437, 438, 440, 442, 486, 500, 508]),
    (0x004, &[0, 400, 401, 405, 420, 437, 438, 441, 443]),
    (0x008, &[0, 400, 401, 403, 420, 437, 438, 441, 443, 508]),
    (0x009, &[0, 400, 401, 403, 420, 437, 438, 441, 443, 508]),
];

/// The known seeds, or those that SWINGBRIDGE_MODEL_SEEDS names: `FROM..TO`, both played.
#[allow(clippy::disallowed_methods, reason = "how much a test does is no part of what it tests")]
fn seeds() -> Vec<u64> {
    let Ok(text) = std::env::var("SWINGBRIDGE_MODEL_SEEDS") else { return SEEDS.chain(FOUND).collect() };
    let number = |text: &str| text.parse::<u64>().expect("SWINGBRIDGE_MODEL_SEEDS is FROM..TO");
    let (from, to) = text.split_once("..").expect("SWINGBRIDGE_MODEL_SEEDS is FROM..TO");
    SEEDS.chain(number(from)..=number(to)).collect()
}

fn an_op() -> impl Strategy<Value = Op> {
    any::<[u8; ops::OP_LEN]>().prop_map(|bytes| Op::decode(&bytes))
}

fn a_setup() -> impl Strategy<Value = Setup> {
    any::<[u8; SETUP_LEN]>().prop_map(|bytes| Setup::decode(&bytes))
}

/// The history of a seed.
fn history(seed: u64) -> (Setup, Vec<Op>) {
    let mut bytes = vec![0; SETUP_LEN + 150 * ops::OP_LEN];
    Dice::new(seed).fill_secret(&mut bytes);
    decode(&bytes)
}

/// What goes wrong, in the shortest history that is found by leaving operations out.
fn shortest(setup: &Setup, ops: &[Op]) -> String {
    let mut ops = ops.to_vec();
    let mut violation = run(setup, &ops).expect_err("it goes wrong");
    let mut chunk = ops.len();
    while chunk > 0 {
        let mut at = 0;
        while at < ops.len() {
            let mut fewer = ops.clone();
            fewer.drain(at..ops.len().min(at + chunk));
            match run(setup, &fewer) {
                Err(other) => (ops, violation) = (fewer, other),
                Ok(_) => at += chunk,
            }
        }
        chunk /= 2;
    }
    let lines: Vec<_> = ops.iter().enumerate().map(|(step, op)| format!("{step:3} {op:?}")).collect();
    format!("{violation}\n{setup:?}\n{}", lines.join("\n"))
}

#[test]
fn histories_of_known_seeds_go_well_and_bring_about_everything() {
    let mut all = Report::default();
    let mut answers = BTreeSet::new();
    for seed in seeds() {
        let (setup, ops) = history(seed);
        let Ok(report) = run(&setup, &ops) else { panic!("seed {seed}: {}", shortest(&setup, &ops)) };
        answers.extend(report.answers);
        all.inputs += report.inputs;
        all.repeated += report.repeated;
        all.dropped += report.dropped;
        all.moved += report.moved;
        all.carried += report.carried;
        all.passed += report.passed;
        all.stayed += report.stayed;
    }
    for (method, codes) in ANSWERS {
        let missing: Vec<_> = codes.iter().filter(|code| !answers.contains(&(method, **code))).collect();
        assert!(missing.is_empty(), "no request {method:#05x} was answered with {missing:?}: {answers:?}");
    }
    let counts = [all.repeated, all.dropped, all.moved, all.carried, all.passed, all.stayed];
    assert!(counts.iter().all(|count| *count > 0), "{all:?}");
}

/// A request as an honest client makes it.
fn ask(client: usize, body: ops::Body) -> Op {
    let login = ops::Login {
        user: None,
        password: ops::PasswordUse::Right,
        nonce: ops::NonceUse::Last,
        odd: ops::Odd::No,
    };
    Op::Ask { client, login, body }
}

fn allocate(client: usize, additional: Option<u8>, ticket: ops::TicketUse) -> Op {
    let (transport, lifetime, family, even, token) = (Some(17), None, None, None, None);
    let dont_fragment = false;
    ask(
        client,
        ops::Body::Allocate { transport, lifetime, family, additional, even, token, dont_fragment, ticket },
    )
}

fn refresh(client: usize, lifetime: Option<u32>, family: Option<u8>, ticket: ops::TicketUse) -> Op {
    ask(client, ops::Body::Refresh { lifetime, family, ticket })
}

fn bind(client: usize, channel: u16, peer: usize) -> Op {
    ask(client, ops::Body::Bind { channel: Some(channel), peer: Some(peer) })
}

fn permit(client: usize, peer: usize) -> Op {
    ask(client, ops::Body::Permit { peers: vec![peer] })
}

#[test]
fn histories_that_chance_seldom_finds_go_well() {
    let one_of_two_given_back = [
        allocate(0, Some(2), ops::TicketUse::No),
        bind(0, 0x4000, 5),
        bind(0, 0x4001, 0),
        refresh(0, Some(0), Some(2), ops::TicketUse::No),
        bind(0, 0x4000, 3),
        refresh(0, Some(0), Some(1), ops::TicketUse::No),
    ];
    let denied = ops::Change { credentials: 0, policy: 3, times: 0, quotas: (0, 0), mobility: true };
    let served_at_two_workers = [
        allocate(0, Some(2), ops::TicketUse::Empty),
        permit(0, 0),
        refresh(1, None, None, ops::TicketUse::Given(0)),
        permit(0, 3),
        bind(0, 0x4000, 5),
        refresh(0, Some(700), None, ops::TicketUse::No),
        Op::Reconfigure(denied),
        Op::Data { client: 0, channel: 0x4000 },
        Op::Data { client: 1, channel: 0x4000 },
    ];
    for ops in [&one_of_two_given_back[..], &served_at_two_workers] {
        let report = run(&Setup::decode(&[]), ops).unwrap_or_else(|violation| panic!("{violation}"));
        let codes: Vec<_> = report.answers.iter().filter(|answer| answer.1 != 0 && answer.1 != 401).collect();
        assert!(codes.is_empty() && report.passed > 0, "every step is granted: {codes:?}");
    }
}

#[test]
fn any_bytes_are_a_history() {
    for len in [0, 1, SETUP_LEN, SETUP_LEN + 1, SETUP_LEN + ops::OP_LEN + 3] {
        let (_, ops) = decode(&vec![0xA5; len]);
        assert_eq!(ops.len(), len.saturating_sub(SETUP_LEN).div_ceil(ops::OP_LEN));
        assert_eq!(run_bytes(&vec![0xA5; len]).map(|_| ()), Ok(()));
    }
    assert_eq!(decode(&[0xA5; 1 << 16]).1.len(), OPS_MAX);
}

fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: (config.cases / 4).max(1), max_shrink_iters: 4_000, ..config }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn server_tables_and_reference_agree(setup in a_setup(), ops in prop::collection::vec(an_op(), 1..80)) {
        if let Err(violation) = run(&setup, &ops) {
            prop_assert!(false, "{violation}");
        }
    }
}
