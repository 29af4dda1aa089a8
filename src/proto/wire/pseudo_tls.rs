//! The exchange that looks like TLS and is none ([MS-TURN] § 2.1.1): the client sends one hello, the server one, and
//! everything behind them is in clear. It lets the legacy dialect through where only TLS on port 443 passes.

/// Bytes of the client's hello.
pub const CLIENT_HELLO_LEN: usize = 50;
/// Bytes of the server's answer, which leaves in one piece with nothing behind it: clients read it with one call.
pub const SERVER_HELLO_LEN: usize = 83;

/// Where clients write what they like: time and random bytes.
const CLIENT_RANDOM: std::ops::Range<usize> = 11..43;

const CLIENT_HELLO: [u8; CLIENT_HELLO_LEN] = {
    let mut hello = [0; CLIENT_HELLO_LEN];
    // Record: handshake, TLS 1.0, 45 bytes; ClientHello of 41 bytes, TLS 1.0.
    let head = [0x16, 3, 1, 0, 0x2D, 1, 0, 0, 0x29, 3, 1];
    hello.split_at_mut(head.len()).0.copy_from_slice(&head);
    // No session; one suite, 0x0018; one way of compression, none.
    let tail = [0, 0, 2, 0, 0x18, 1, 0];
    hello.split_at_mut(CLIENT_RANDOM.end).1.copy_from_slice(&tail);
    hello
};

/// What the first bytes of a connection are, seen as a hello of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// All of it; what follows is the dialect's.
    Whole,
    /// It begins so, and is not over.
    Begun,
    /// It is not.
    No,
}

/// Judges the first bytes of a connection. Real TLS is told apart by the eleventh byte at the latest: a hello of 45
/// bytes has no room for an extension.
#[must_use]
pub fn judge(first: &[u8]) -> Hello {
    let same = first
        .iter()
        .zip(&CLIENT_HELLO)
        .enumerate()
        .all(|(at, (byte, expected))| CLIENT_RANDOM.contains(&at) || byte == expected);
    match (same, first.len() >= CLIENT_HELLO_LEN) {
        (true, true) => Hello::Whole,
        (true, false) => Hello::Begun,
        (false, _) => Hello::No,
    }
}

/// The hello of a client, with `random` where TLS has time and random bytes; servers do not look at it. The client says
/// nothing more until the server's answer is there.
#[must_use]
pub fn client_hello(random: &[u8; 32]) -> [u8; CLIENT_HELLO_LEN] {
    let mut hello = CLIENT_HELLO;
    hello[CLIENT_RANDOM].copy_from_slice(random);
    hello
}

/// Judges the first bytes that a client gets, seen as the server's answer. Behind [`SERVER_HELLO_LEN`] of them the
/// dialect begins.
#[must_use]
pub fn judge_answer(first: &[u8]) -> Hello {
    let expected = server_hello(&[0; 64]);
    let is_free = |at: usize| (11..43).contains(&at) || (44..76).contains(&at);
    let same =
        first.iter().zip(&expected).enumerate().all(|(at, (byte, wanted))| is_free(at) || byte == wanted);
    match (same, first.len() >= SERVER_HELLO_LEN) {
        (true, true) => Hello::Whole,
        (true, false) => Hello::Begun,
        (false, _) => Hello::No,
    }
}

/// The server's answer, with `random` where TLS has time, random bytes and session id; clients do not look at it.
#[must_use]
pub fn server_hello(random: &[u8; 64]) -> [u8; SERVER_HELLO_LEN] {
    let mut hello = [0; SERVER_HELLO_LEN];
    // Record: handshake, TLS 1.0, 78 bytes; ServerHello of 70 bytes, TLS 1.0.
    hello[..11].copy_from_slice(&[0x16, 3, 1, 0, 0x4E, 2, 0, 0, 0x46, 3, 1]);
    hello[11..43].copy_from_slice(&random[..32]);
    hello[43] = 32;
    hello[44..76].copy_from_slice(&random[32..]);
    // The suite, no compression; ServerHelloDone.
    hello[76..].copy_from_slice(&[0, 0x18, 0, 0x0E, 0, 0, 0]);
    hello
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let mut hello = CLIENT_HELLO.to_vec();
        hello[CLIENT_RANDOM].fill(0xC1);
        hello
    }

    #[test]
    fn a_hello_is_whole_with_its_last_byte_whatever_follows() {
        let hello = hello();
        for len in 0..CLIENT_HELLO_LEN {
            assert_eq!(judge(&hello[..len]), Hello::Begun, "{len} bytes");
        }
        assert_eq!(judge(&hello), Hello::Whole);
        assert_eq!(judge(&[&hello[..], &[2, 0, 0, 36]].concat()), Hello::Whole);
    }

    #[test]
    fn every_byte_but_the_random_ones_counts() {
        for at in 0..CLIENT_HELLO_LEN {
            let mut other = hello();
            other[at] ^= 1;
            let expected = if CLIENT_RANDOM.contains(&at) { Hello::Whole } else { Hello::No };
            assert_eq!(judge(&other), expected, "byte {at}");
            assert_eq!(judge(&other[..=at]) == Hello::No, expected == Hello::No, "byte {at}, at once");
        }
    }

    #[test]
    fn what_one_side_says_the_other_knows() {
        assert_eq!(judge(&client_hello(&[0xC1; 32])), Hello::Whole);
        assert_eq!(client_hello(&[0xC1; 32])[..], hello());
        let answer = server_hello(&[0x5A; 64]);
        for len in 0..SERVER_HELLO_LEN {
            assert_eq!(judge_answer(&answer[..len]), Hello::Begun, "{len} bytes");
        }
        assert_eq!(judge_answer(&answer), Hello::Whole);
        for at in 0..SERVER_HELLO_LEN {
            let mut other = answer;
            other[at] ^= 1;
            let is_random = (11..43).contains(&at) || (44..76).contains(&at);
            let expected = if is_random { Hello::Whole } else { Hello::No };
            assert_eq!(judge_answer(&other), expected, "byte {at}");
        }
        assert_eq!(judge_answer(b"HTTP/1.1 400 Bad"), Hello::No);
    }

    #[test]
    fn a_hello_of_real_tls_is_another() {
        assert_eq!(judge(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]), Hello::No);
        assert_eq!(judge(b"GET "), Hello::No);
    }

    // proves ms_turn:2-2
    #[test]
    fn the_answer_byte_by_byte() {
        let answer = server_hello(&[0xEE; 64]);
        let expected = [
            &[0x16, 0x03, 0x01, 0x00, 0x4E, 0x02, 0x00, 0x00, 0x46, 0x03, 0x01][..],
            &[0xEE; 32],
            &[0x20],
            &[0xEE; 32],
            &[0x00, 0x18, 0x00, 0x0E, 0x00, 0x00, 0x00],
        ];
        assert_eq!(answer[..], expected.concat());
        assert_eq!(usize::from(u16::from_be_bytes([answer[3], answer[4]])), answer.len() - 5);
    }

    #[test]
    fn each_side_knows_the_other_s_hello_and_no_other_bytes() {
        let hello = client_hello(&[0xC1; 32]);
        assert_eq!(judge(&hello), Hello::Whole);
        let answer = server_hello(&[0xEE; 64]);
        assert_eq!(judge_answer(&[&answer[..], b"more"].concat()), Hello::Whole);
        for len in 0..answer.len() {
            assert_eq!(judge_answer(&answer[..len]), Hello::Begun, "{len} bytes");
        }
        for at in 0..answer.len() {
            let mut other = answer;
            other[at] ^= 1;
            let free = (11..43).contains(&at) || (44..76).contains(&at);
            assert_eq!(judge_answer(&other), if free { Hello::Whole } else { Hello::No }, "byte {at}");
        }
        assert_eq!(judge_answer(&hello), Hello::No);
    }
}
