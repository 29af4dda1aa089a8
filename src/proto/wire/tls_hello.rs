//! How far the first flight of a TLS client has come. Nothing of it is understood here but where it ends.
//!
//! ```text
//!   record │ 16 │ version 16 │ length 16 │ fragment │ …      the ClientHello may stand in several
//!   handshake message │ 01 │ length 24 │ ClientHello │
//! ```

use crate::proto::types::limits::CLIENT_HELLO_MAX;

const RECORD_HEADER_LEN: usize = 5;
const HANDSHAKE: u8 = 0x16;
const MESSAGE_HEADER_LEN: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// How far a ClientHello has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// It is there.
    Whole,
    /// Not yet.
    More {
        /// Bytes that must be there before the next look is worth it, more than are there and at most
        /// [`CLIENT_HELLO_MAX`].
        at_least: usize,
    },
    /// It is none, or longer than [`CLIENT_HELLO_MAX`].
    Broken,
}

/// Looks at `bytes`, the beginning of a connection.
#[must_use]
pub fn look(bytes: &[u8]) -> Hello {
    let (mut at, mut header, mut seen) = (0, [0; MESSAGE_HEADER_LEN], 0);
    loop {
        let Some(&[kind, _, _, l0, l1]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return more(at + RECORD_HEADER_LEN);
        };
        let fragment_len = usize::from(u16::from_be_bytes([l0, l1]));
        // An empty fragment would let a client go on for ever.
        if kind != HANDSHAKE || fragment_len == 0 {
            return Hello::Broken;
        }
        at += RECORD_HEADER_LEN;
        if seen < MESSAGE_HEADER_LEN {
            let len = fragment_len.min(MESSAGE_HEADER_LEN - seen);
            let Some(part) = bytes.get(at..at + len) else { return more(at + len) };
            header[seen..seen + len].copy_from_slice(part);
        }
        seen += fragment_len;
        at += fragment_len;
        if header[0] != CLIENT_HELLO {
            return Hello::Broken;
        }
        if seen >= MESSAGE_HEADER_LEN {
            let [_, m0, m1, m2] = header;
            let message_len = MESSAGE_HEADER_LEN + u32::from_be_bytes([0, m0, m1, m2]) as usize;
            if message_len > CLIENT_HELLO_MAX {
                return Hello::Broken;
            }
            if seen >= message_len {
                return if bytes.len() >= at { whole(at) } else { more(at) };
            }
        }
        if at > CLIENT_HELLO_MAX {
            return Hello::Broken;
        }
    }
}

const fn whole(end: usize) -> Hello {
    if end > CLIENT_HELLO_MAX { Hello::Broken } else { Hello::Whole }
}

const fn more(at_least: usize) -> Hello {
    if at_least > CLIENT_HELLO_MAX { Hello::Broken } else { Hello::More { at_least } }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello of `len` bytes in records of `fragment` bytes at most.
    fn hello(len: usize, fragment: usize) -> Vec<u8> {
        let mut message = vec![CLIENT_HELLO];
        message.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes()[1..]);
        message.resize(MESSAGE_HEADER_LEN + len, 0x5A);
        let mut bytes = Vec::new();
        for part in message.chunks(fragment) {
            bytes.extend_from_slice(&[HANDSHAKE, 3, 1]);
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    proptest! {
        #[test]
        fn it_is_whole_at_its_last_byte_and_not_before(
            len in 0_usize..1_200,
            fragment in prop_oneof![1_usize..8, 8_usize..1_500],
        ) {
            let bytes = hello(len, fragment);
            for end in 0..bytes.len() {
                let Hello::More { at_least } = look(&bytes[..end]) else {
                    return Err(TestCaseError::fail(format!("{end} of {}", bytes.len())));
                };
                prop_assert!(at_least > end && at_least <= bytes.len());
            }
            prop_assert_eq!(look(&bytes), Hello::Whole);
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            let _ = look(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = HANDSHAKE;
            }
            let _ = look(&bytes);
        }
    }

    #[test]
    fn what_is_too_long_or_none_is_found_by_its_header() {
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0x40, 0, CLIENT_HELLO, 0, 0x40, 0]), Hello::Broken);
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0x01, 0, CLIENT_HELLO, 1, 0, 0]), Hello::Broken);
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0x01, 0, 2, 0, 0, 0x40]), Hello::Broken, "a ServerHello");
        assert_eq!(look(&[HANDSHAKE, 3, 1, 0, 0]), Hello::Broken, "an empty record");
        assert_eq!(look(&[0x15, 3, 1, 0, 2]), Hello::Broken, "an alert");
        let longest = hello(CLIENT_HELLO_MAX - RECORD_HEADER_LEN - MESSAGE_HEADER_LEN, 1 << 15);
        assert_eq!((longest.len(), look(&longest)), (CLIENT_HELLO_MAX, Hello::Whole));
        let longer = hello(CLIENT_HELLO_MAX - RECORD_HEADER_LEN - MESSAGE_HEADER_LEN + 1, 1 << 15);
        assert_eq!(look(&longer), Hello::Broken);
    }

    #[test]
    fn crumbs_cannot_go_past_the_limit() {
        let bytes = hello(CLIENT_HELLO_MAX - MESSAGE_HEADER_LEN, 4);
        assert_eq!(look(&bytes), Hello::Broken);
    }
}
