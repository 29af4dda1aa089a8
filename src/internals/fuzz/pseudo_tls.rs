//! The first bytes of a connection: the hello that only looks like TLS, and what else they may say.

use crate::proto::types::limits::SNIFF_MAX;
use crate::proto::wire::pseudo_tls;
use crate::proto::wire::pseudo_tls::Hello;
use crate::proto::wire::pseudo_tls::SERVER_HELLO_LEN;
use crate::proto::wire::sniff::Verdict;
use crate::proto::wire::sniff::sniff;

/// What [MS-TURN] § 2.1.1 leaves no choice about, in front of the random bytes and behind them.
const HEAD: [u8; 11] = [0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
const TAIL: [u8; 7] = [0, 0, 2, 0, 0x18, 1, 0];
const TAIL_AT: usize = 43;

pub(super) fn body(bytes: &[u8]) {
    judge(bytes);
    // Chance alone makes no hello.
    let mut hello = bytes.to_vec();
    hello.resize(bytes.len().max(50), 0xC1);
    hello[..HEAD.len()].copy_from_slice(&HEAD);
    hello[TAIL_AT..50].copy_from_slice(&TAIL);
    judge(&hello);
    assert_eq!(pseudo_tls::judge(&hello), Hello::Whole);
    assert_eq!(sniff(&hello), Some(Verdict::PseudoTls));
    if let Some(random) = bytes.first_chunk() {
        let answer = pseudo_tls::server_hello(random);
        assert_eq!(usize::from(answer[4]) + 5, SERVER_HELLO_LEN);
        assert_eq!([&answer[11..43], &answer[44..76]].concat(), random);
    }
}

fn judge(bytes: &[u8]) {
    let mut said = None;
    for len in 0..=bytes.len().min(SNIFF_MAX) {
        let first = &bytes[..len];
        assert_eq!(pseudo_tls::judge(first), naive(first), "{first:02x?}");
        // What is sure once stays sure, and it never takes more than so many bytes.
        let verdict = sniff(first);
        if let Some(before) = said {
            assert_eq!(verdict, Some(before), "{first:02x?}");
        }
        said = verdict;
        assert!(len < SNIFF_MAX || said.is_some(), "{first:02x?}");
        if verdict == Some(Verdict::PseudoTls) {
            assert_eq!(naive(first), Hello::Whole);
        }
    }
}

fn naive(first: &[u8]) -> Hello {
    let fits = |at: usize, fixed: &[u8]| first.iter().skip(at).zip(fixed).all(|(one, other)| one == other);
    match (fits(0, &HEAD) && fits(TAIL_AT, &TAIL), first.len()) {
        (false, _) => Hello::No,
        (true, 50..) => Hello::Whole,
        (true, _) => Hello::Begun,
    }
}
