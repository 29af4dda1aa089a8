//! The first flight of a DTLS client (RFC 6347 § 4.2), as far as a server must understand it before it keeps anything:
//! the cookie that shows that the client receives where it says it is.
//!
//! ```text
//!   record    │ type │ version 16 │ epoch 16 │ sequence 48 │ length 16 │ fragment │
//!   handshake │ 01 │ length 24 │ message_seq 16 │ offset 24 │ length 24 │ ClientHello │
//!   hello     │ version 16 │ random 256 │ 8 session id │ 8 cookie │ suites, compression, extensions │
//! ```
//!
//! A ClientHello in several fragments is not understood: it would have to be kept.

/// Bytes of a record's header.
pub const RECORD_HEADER_LEN: usize = 13;
/// Bytes of a cookie of ours.
pub const COOKIE_LEN: usize = 32;
/// Bytes of an answer to a ClientHello without a cookie; every ClientHello is longer.
pub const VERIFY_REQUEST_LEN: usize = RECORD_HEADER_LEN + MESSAGE_HEADER_LEN + 3 + COOKIE_LEN;

/// Bytes of an answer to a client that speaks nothing newer than DTLS 1.0.
pub const TOO_OLD_LEN: usize = RECORD_HEADER_LEN + 2;

const MESSAGE_HEADER_LEN: usize = 12;
const RANDOM_LEN: usize = 32;
/// Where the session id's length stands.
const SESSION_AT: usize = RECORD_HEADER_LEN + MESSAGE_HEADER_LEN + 2 + RANDOM_LEN;
const SESSION_MAX: usize = 32;
/// Two bytes of suites' length, one suite, one byte of compressions' length, one compression.
const REST_MIN: usize = 6;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE: u8 = 22;
const HEARTBEAT: u8 = 25;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// DTLS 1.0, which a HelloVerifyRequest shall name whatever is agreed upon afterwards.
const VERSION: [u8; 2] = [0xFE, 0xFF];

/// Whether `datagram` begins with the type and version of a DTLS record (RFC 7983 § 7).
#[must_use]
pub fn is_record(datagram: &[u8]) -> bool {
    matches!(datagram, [CHANGE_CIPHER_SPEC..=HEARTBEAT, 0xFE, 0xFD..=0xFF, ..])
        && datagram.len() > RECORD_HEADER_LEN
}

/// A ClientHello that is alone and whole in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    datagram: &'a [u8],
    cookie_at: usize,
    cookie_len: usize,
}

impl<'a> Hello<'a> {
    /// Reads `datagram`; `None` if it is no such ClientHello of epoch 0.
    #[must_use]
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let (record, fragment) = datagram.split_at_checked(RECORD_HEADER_LEN)?;
        let [HANDSHAKE, 0xFE, 0xFD..=0xFF, 0, 0, _, _, _, _, _, _, l0, l1] = *record else { return None };
        let [CLIENT_HELLO, m0, m1, m2, _, _, 0, 0, 0, f0, f1, f2] = *fragment.first_chunk()? else {
            return None;
        };
        let body = fragment.len() - MESSAGE_HEADER_LEN;
        let whole = usize::from(u16::from_be_bytes([l0, l1])) == fragment.len()
            && u32::from_be_bytes([0, m0, m1, m2]) as usize == body
            && [m0, m1, m2] == [f0, f1, f2];
        if !whole {
            return None;
        }
        let session_len = usize::from(*datagram.get(SESSION_AT)?);
        let cookie_at = SESSION_AT + 1 + session_len + 1;
        let cookie_len = usize::from(*datagram.get(cookie_at - 1)?);
        let rest = datagram.len().checked_sub(cookie_at + cookie_len)?;
        (session_len <= SESSION_MAX && rest >= REST_MIN).then_some(Self { datagram, cookie_at, cookie_len })
    }

    /// The cookie it brings; empty in a first one.
    #[must_use]
    pub fn cookie(&self) -> &'a [u8] {
        &self.datagram[self.cookie_at..self.cookie_at + self.cookie_len]
    }

    /// The client's random bytes, which are the same in both of its hellos.
    #[must_use]
    pub fn random(&self) -> &'a [u8] {
        &self.datagram[SESSION_AT - RANDOM_LEN..SESSION_AT]
    }

    /// What of a hello is the same in both: a cookie covers it (RFC 6347 § 4.2.1).
    #[must_use]
    pub fn parameters(&self) -> [&'a [u8]; 2] {
        let body = RECORD_HEADER_LEN + MESSAGE_HEADER_LEN;
        [&self.datagram[body..self.cookie_at - 1], &self.datagram[self.cookie_at + self.cookie_len..]]
    }

    /// Whether the client speaks DTLS 1.2; what is older has been given up (RFC 8996).
    #[must_use]
    pub fn speaks_1_2(&self) -> bool {
        let body = RECORD_HEADER_LEN + MESSAGE_HEADER_LEN;
        // The numbers count down from 1.0.
        self.datagram[body] == 0xFE && self.datagram[body + 1] <= 0xFD
    }

    /// The alert that tells a client that no version is common (RFC 6347 § 4.2.1, RFC 5246 § 7.2.2).
    #[must_use]
    pub fn too_old(&self) -> [u8; TOO_OLD_LEN] {
        let mut answer = [0; TOO_OLD_LEN];
        answer[0] = ALERT;
        answer[1..3].copy_from_slice(&VERSION);
        answer[5..11].copy_from_slice(&self.datagram[5..11]);
        answer[12] = 2;
        answer[13..].copy_from_slice(&[FATAL, PROTOCOL_VERSION]);
        answer
    }

    /// The sequence number of its record, 48 bits.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.datagram[5..11].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The HelloVerifyRequest that asks for `cookie`, in one record with the number of the hello's.
    #[must_use]
    pub fn verify_request(&self, cookie: &[u8; COOKIE_LEN]) -> [u8; VERIFY_REQUEST_LEN] {
        let mut answer = [0; VERIFY_REQUEST_LEN];
        let (record, message) = answer.split_at_mut(RECORD_HEADER_LEN);
        record[0] = HANDSHAKE;
        record[1..3].copy_from_slice(&VERSION);
        record[5..11].copy_from_slice(&self.datagram[5..11]);
        record[12] = (MESSAGE_HEADER_LEN + 3 + COOKIE_LEN) as u8;
        let body_len = (3 + COOKIE_LEN) as u8;
        message[0] = HELLO_VERIFY_REQUEST;
        message[3] = body_len;
        // Its message_seq is 0: nothing of ours came before it, as far as anybody remembers.
        message[11] = body_len;
        message[12..14].copy_from_slice(&VERSION);
        message[14] = COOKIE_LEN as u8;
        message[15..].copy_from_slice(cookie);
        answer
    }

    /// The hello as it was before the client knew a cookie: message and record have the number 0.
    #[must_use]
    pub fn without_cookie(&self) -> Vec<u8> {
        let mut first = Vec::with_capacity(self.datagram.len());
        first.extend_from_slice(&self.datagram[..self.cookie_at - 1]);
        first.push(0);
        first.extend_from_slice(&self.datagram[self.cookie_at + self.cookie_len..]);
        let fragment_len = first.len() - RECORD_HEADER_LEN;
        let [.., b1, b2, b3] = ((fragment_len - MESSAGE_HEADER_LEN) as u32).to_be_bytes();
        first[5..11].fill(0);
        first[11..13].copy_from_slice(&(fragment_len as u16).to_be_bytes());
        first[14..17].copy_from_slice(&[b1, b2, b3]);
        first[17..19].fill(0);
        first[22..25].copy_from_slice(&[b1, b2, b3]);
        first
    }
}

/// Adds `more` to the sequence numbers of the records of epoch 0 in `datagram`, which nothing protects: the first record
/// after a HelloVerifyRequest that nobody remembers goes on where the client's numbers are (RFC 6347 § 4.2.1).
pub fn shift_plain_records(datagram: &mut [u8], more: u64) {
    let mut rest = datagram;
    while let Some((record, behind)) = rest.split_at_mut_checked(RECORD_HEADER_LEN) {
        if record[3..5] == [0, 0] {
            let mut number = [0; 8];
            number[2..].copy_from_slice(&record[5..11]);
            let shifted = u64::from_be_bytes(number).wrapping_add(more).to_be_bytes();
            record[5..11].copy_from_slice(&shifted[2..]);
        }
        let len = usize::from(u16::from_be_bytes([record[11], record[12]]));
        match behind.get_mut(len..) {
            Some(next) => rest = next,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ClientHello with this session id, this cookie and this rest.
    fn hello(session: &[u8], cookie: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend((0..32).map(|number| number * 7));
        body.push(session.len() as u8);
        body.extend_from_slice(session);
        body.push(cookie.len() as u8);
        body.extend_from_slice(cookie);
        body.extend_from_slice(rest);
        let [_, b1, b2, b3] = (body.len() as u32).to_be_bytes();
        let mut message = vec![1, b1, b2, b3, 0, 1, 0, 0, 0, b1, b2, b3];
        message.extend_from_slice(&body);
        let mut record = vec![22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 1, 2];
        record.extend_from_slice(&(message.len() as u16).to_be_bytes());
        record.extend_from_slice(&message);
        record
    }

    const REST: [u8; 6] = [0, 2, 0xC0, 0x2B, 1, 0];

    #[test]
    fn what_a_hello_holds_is_read() {
        let bytes = hello(&[9; 5], &[7; 20], &REST);
        let read = Hello::read(&bytes).expect("a hello");
        assert_eq!(read.cookie(), [7; 20]);
        assert_eq!(read.random(), (0..32).map(|number| number * 7).collect::<Vec<u8>>());
        assert_eq!(read.sequence(), 0x0102);
        let [before, behind] = read.parameters();
        assert_eq!((before.len(), before[35..].to_vec(), behind), (40, vec![9; 5], &REST[..]));
    }

    #[test]
    fn what_is_cut_or_lies_about_a_length_is_no_hello() {
        let bytes = hello(&[9; 5], &[7; 20], &REST);
        for len in 0..bytes.len() {
            assert_eq!(Hello::read(&bytes[..len]), None, "{len} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Hello::read(&longer), None);
        // Type, version, epoch, record's length, message's type, both of its lengths, its offset.
        for at in [0, 1, 3, 4, 11, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24] {
            let mut lie = bytes.clone();
            lie[at] ^= 0x40;
            assert_eq!(Hello::read(&lie), None, "byte {at}");
        }
        assert_eq!(Hello::read(&hello(&[9; 33], &[], &REST)), None, "a session id is at most 32 bytes");
        assert_eq!(Hello::read(&hello(&[9; 5], &[], &REST[..5])), None, "no room for a suite");
        let mut cookie_lies = hello(&[], &[1; 3], &REST);
        cookie_lies[SESSION_AT + 1] = 200;
        assert_eq!(Hello::read(&cookie_lies), None);
    }

    #[test]
    fn the_answer_asks_for_the_cookie_and_is_shorter_than_any_hello() {
        let shortest = hello(&[], &[], &REST);
        assert!(VERIFY_REQUEST_LEN < shortest.len(), "{} bytes", shortest.len());
        let answer = Hello::read(&shortest).expect("a hello").verify_request(&[0xAA; COOKIE_LEN]);
        let mut expected = vec![22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 1, 2, 0, 47];
        expected.extend_from_slice(&[3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35, 0xFE, 0xFF, 32]);
        expected.extend_from_slice(&[0xAA; 32]);
        assert_eq!(answer.as_slice(), expected);
    }

    #[test]
    fn an_old_client_is_told_that_it_is() {
        let mut bytes = hello(&[], &[], &REST);
        assert!(Hello::read(&bytes).expect("a hello").speaks_1_2());
        bytes[26] = 0xFC;
        assert!(Hello::read(&bytes).expect("a hello").speaks_1_2(), "1.3 names itself elsewhere");
        bytes[26] = 0xFF;
        let old = Hello::read(&bytes).expect("a hello");
        assert!(!old.speaks_1_2());
        assert_eq!(old.too_old(), [21, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 1, 2, 0, 2, 2, 70]);
    }

    #[test]
    fn without_its_cookie_it_is_the_first_hello_again() {
        let with = hello(&[9; 5], &[7; 32], &REST);
        let mut first = hello(&[9; 5], &[], &REST);
        first[5..11].fill(0);
        first[17..19].fill(0);
        assert_eq!(Hello::read(&with).expect("a hello").without_cookie(), first);
    }

    #[test]
    fn records_of_epoch_0_are_numbered_on_and_no_others() {
        let record = |epoch: u8, number: u8, len: u8| {
            let mut record = vec![22, 0xFE, 0xFD, 0, epoch, 0, 0, 0, 0, 0, number, 0, len];
            record.extend(vec![0xEE; len.into()]);
            record
        };
        let mut datagram = [record(0, 3, 4), record(1, 0, 2), record(0, 250, 0)].concat();
        shift_plain_records(&mut datagram, 10);
        let mut last = record(0, 4, 0);
        last[9] = 1;
        assert_eq!(datagram, [record(0, 13, 4), record(1, 0, 2), last].concat());
    }

    #[test]
    fn the_first_bytes_tell_a_record() {
        assert!(is_record(&hello(&[], &[], &REST)));
        for (first, second, is) in
            [(20, 0xFE, true), (25, 0xFE, true), (19, 0xFE, false), (26, 0xFE, false), (22, 3, false)]
        {
            let mut datagram = [0; 20];
            datagram[..3].copy_from_slice(&[first, second, 0xFD]);
            assert_eq!(is_record(&datagram), is, "{first} {second}");
        }
        assert!(!is_record(&[22, 0xFE, 0xFD]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), more in any::<u64>()) {
            if let Some(hello) = Hello::read(&bytes) {
                let first = hello.without_cookie();
                prop_assert!(Hello::read(&first).is_some_and(|first| first.cookie().is_empty()));
            }
            let len = bytes.len();
            shift_plain_records(&mut bytes, more);
            prop_assert_eq!(bytes.len(), len);
        }

        #[test]
        fn a_hello_comes_back_as_it_was_made(
            session in prop::collection::vec(any::<u8>(), 0..=32),
            cookie in prop::collection::vec(any::<u8>(), 0..=255),
            rest in prop::collection::vec(any::<u8>(), 6..300),
        ) {
            let bytes = hello(&session, &cookie, &rest);
            let read = Hello::read(&bytes).expect("a hello");
            prop_assert_eq!(read.cookie(), &cookie[..]);
            prop_assert_eq!(read.parameters()[1], &rest[..]);
            let first = read.without_cookie();
            prop_assert_eq!(Hello::read(&first).expect("a hello").parameters(), read.parameters());
        }
    }
}
