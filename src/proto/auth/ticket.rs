//! Mobility tickets (RFC 8016 § 3.3): a name of an allocation that only this process can write and read.
//!
//! ```text
//!  base64 of   number 5 │ AES-256-GCM( slot 3 │ SHA-256 of the user's name 4 ) │ tag 12
//! ```
//!
//! 32 characters without a zero byte, because clients exist that keep no longer and no other ticket. Each ticket has a
//! number of its own, which is the nonce; so the number of the last ticket that an allocation gave out names it among
//! all that ever were. The key is drawn when the process starts and never leaves it: a ticket of another process is
//! noise here. Nothing in a ticket is looked at before its tag was found right. A ticket alone opens nothing: whoever
//! shows it must also prove to be the user it was given to.

use std::fmt;

use aes_gcm::AesGcm;
use aes_gcm::Nonce;
use aes_gcm::Tag;
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::KeyInit;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::Digest;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::proto::types::Entropy;
use crate::proto::types::Username;
use crate::proto::types::limits::ALLOCATIONS_MAX;

/// Characters of a ticket, always.
pub const TICKET_LEN: usize = SEALED_LEN / 3 * 4;

/// A ticket as it stands in the MOBILITY-TICKET attribute: printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub [u8; TICKET_LEN]);

/// What a ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The allocation's slot: [`crate::proto::types::RelayId::index`].
    pub slot: u32,
    /// The ticket's number, from 1: no two tickets of a key have the same.
    pub number: u64,
    user: [u8; USER_LEN],
}

impl Claims {
    /// Whether the ticket was issued to `user`, as far as its few bytes tell: the allocation knows it in full.
    #[must_use]
    pub fn is_of(&self, user: &Username) -> bool {
        self.user.ct_eq(&fingerprint(user)).into()
    }
}

/// Writes tickets and reads them. `Debug` shows nothing of the key.
pub struct Tickets {
    key: Cipher,
    /// Tickets written with this key.
    written: u64,
}

impl Tickets {
    /// Draws a key.
    pub fn new(entropy: &mut impl Entropy) -> Self {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        entropy.fill_secret(&mut *key);
        Self { key: Cipher::new((&*key).into()), written: 0 }
    }

    /// Writes a ticket to `user` for the allocation in `slot`, below [`ALLOCATIONS_MAX`]; answers its number too. Where
    /// the numbers are used up `entropy` makes a new key, and all earlier tickets are worth nothing.
    pub fn write(&mut self, slot: u32, user: &Username, entropy: &mut impl Entropy) -> (Ticket, u64) {
        if self.written == NUMBER_MAX {
            *self = Self::new(entropy);
        }
        self.written += 1;
        let [.., a, b, c] = slot.to_be_bytes();
        let [d, e, f, g] = fingerprint(user);
        let mut body = [a, b, c, d, e, f, g];
        let tag = self
            .key
            .encrypt_inout_detached(&nonce(self.written), LABEL, (&mut body[..]).into())
            .expect("GCM seals far more bytes than a ticket has");
        let mut sealed = [0; SEALED_LEN];
        sealed[..NUMBER_LEN].copy_from_slice(&self.written.to_be_bytes()[8 - NUMBER_LEN..]);
        sealed[NUMBER_LEN..][..BODY_LEN].copy_from_slice(&body);
        sealed[NUMBER_LEN + BODY_LEN..].copy_from_slice(&tag);
        let mut text = [0; TICKET_LEN];
        STANDARD_NO_PAD.encode_slice(sealed, &mut text).expect("base64 makes 32 characters of 24 bytes");
        (Ticket(text), self.written)
    }

    /// What `presented` says; `None` unless this key wrote it, bit for bit.
    #[must_use]
    pub fn read(&self, presented: &[u8]) -> Option<Claims> {
        let text: &[u8; TICKET_LEN] = presented.as_array()?;
        let mut sealed = [0; SEALED_LEN];
        if STANDARD_NO_PAD.decode_slice(text, &mut sealed) != Ok(SEALED_LEN) {
            return None;
        }
        let (number, rest) = sealed.split_first_chunk::<NUMBER_LEN>()?;
        let (body, tag) = rest.split_first_chunk::<BODY_LEN>()?;
        let tag: &[u8; TAG_LEN] = tag.as_array()?;
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut body = *body;
        self.key
            .decrypt_inout_detached(&nonce(number), LABEL, (&mut body[..]).into(), &Tag::from(*tag))
            .ok()?;
        let [a, b, c, user @ ..] = body;
        Some(Claims { slot: u32::from_be_bytes([0, a, b, c]), number, user })
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("written", &self.written).finish_non_exhaustive()
    }
}

/// The number is the nonce: unique under its key, and nothing else is asked of it.
fn nonce(number: u64) -> Nonce<U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::<U12>::from(nonce)
}

fn fingerprint(user: &Username) -> [u8; USER_LEN] {
    let digest: [u8; 32] = Sha256::digest(user.as_bytes()).into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// With a tag of 96 bits, the shortest that GCM is used with for data of any kind (NIST SP 800-38D § 5.2.1.2).
type Cipher = AesGcm<Aes256, U12, U12>;

const KEY_LEN: usize = 32;
const NUMBER_LEN: usize = 5;
const NUMBER_MAX: u64 = (1 << (8 * NUMBER_LEN)) - 1;
const SLOT_LEN: usize = 3;
const USER_LEN: usize = 4;
const BODY_LEN: usize = SLOT_LEN + USER_LEN;
const TAG_LEN: usize = 12;
const SEALED_LEN: usize = NUMBER_LEN + BODY_LEN + TAG_LEN;
/// Ties the key to this use and this form.
const LABEL: &[u8] = b"mobility ticket, form 1";

const _: () = assert!(TICKET_LEN == 32 && SEALED_LEN.is_multiple_of(3));
const _: () = assert!(ALLOCATIONS_MAX as u64 <= 1 << (8 * SLOT_LEN));

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use crate::proto::types::Dice;

    use super::*;

    fn tickets(seed: u64) -> Tickets {
        Tickets::new(&mut Dice::new(seed))
    }

    fn user(name: &str) -> Username {
        Username::new(name.as_bytes())
    }

    fn written() -> (Tickets, Ticket) {
        let mut tickets = tickets(1);
        let (ticket, _) = tickets.write(70_000, &user("alice"), &mut Dice::new(2));
        (tickets, ticket)
    }

    #[test]
    fn what_was_written_is_read() {
        let (tickets, ticket) = written();
        let claims = tickets.read(&ticket.0).expect("ours");
        assert_eq!((claims.slot, claims.number), (70_000, 1));
        assert!(claims.is_of(&user("alice")));
        assert!(ticket.0.is_ascii());
    }

    // proves rfc8016:3.2.2-6, rfc8016:5-3
    #[test]
    fn a_ticket_is_of_one_user_alone() {
        let (tickets, ticket) = written();
        let claims = tickets.read(&ticket.0).expect("ours");
        for other in ["bob", "alic", "alicee", "Alice", ""] {
            assert!(!claims.is_of(&user(other)), "{other}");
        }
    }

    // proves rfc8016:3.3-1, rfc8016:5-1
    #[test]
    fn every_flipped_bit_is_noticed_in_the_text_and_in_what_it_stands_for() {
        let (tickets, ticket) = written();
        for bit in 0..TICKET_LEN * 8 {
            let mut text = ticket.0;
            text[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.read(&text), None, "bit {bit}");
        }
        let sealed = STANDARD_NO_PAD.decode(ticket.0).expect("base64");
        for bit in 0..SEALED_LEN * 8 {
            let mut sealed = sealed.clone();
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tickets.read(STANDARD_NO_PAD.encode(sealed).as_bytes()), None, "bit {bit}");
        }
    }

    #[test]
    fn a_ticket_cut_short_or_made_longer_is_none() {
        let (tickets, ticket) = written();
        for len in 0..TICKET_LEN {
            assert_eq!(tickets.read(&ticket.0[..len]), None, "{len} characters");
        }
        assert_eq!(tickets.read(&[&ticket.0[..], b"A"].concat()), None);
    }

    // proves rfc8016:5-1, rfc8016:5-2
    #[test]
    fn the_ticket_of_another_process_is_noise() {
        let (_, ticket) = written();
        assert_eq!(tickets(3).read(&ticket.0), None);
    }

    // proves rfc8016:3.2.2-8, rfc8016:3.3-1, rfc8016:5-2
    #[test]
    fn two_tickets_of_the_same_allocation_differ_and_do_not_show_whose_they_are() {
        let (mut tickets, _) = written();
        let texts: Vec<_> = (0..100).map(|_| tickets.write(7, &user("a"), &mut Dice::new(2)).0.0).collect();
        assert_eq!(texts.iter().collect::<HashSet<_>>().len(), 100);
        let bodies: HashSet<_> = texts.iter().map(|text| text[8..16].to_vec()).collect();
        assert_eq!(bodies.len(), 100, "slot and user cannot be seen");
    }

    #[test]
    fn when_the_numbers_are_used_up_a_new_key_begins() {
        /// As many as five bytes can say.
        const LAST: u64 = 0xff_ffff_ffff;
        let (mut tickets, early) = written();
        tickets.written = LAST - 1;
        let (last, number) = tickets.write(7, &user("a"), &mut Dice::new(4));
        assert_eq!((number, tickets.read(&last.0).map(|claims| claims.number)), (LAST, Some(LAST)));
        let (first, number) = tickets.write(7, &user("a"), &mut Dice::new(4));
        assert_eq!((number, tickets.read(&first.0).map(|claims| claims.number)), (1, Some(1)));
        assert_eq!((tickets.read(&last.0), tickets.read(&early.0)), (None, None));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", tickets(1)), "Tickets { written: 0, .. }");
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_and_none_is_ours(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(tickets(1).read(&bytes), None);
        }

        #[test]
        fn text_of_the_right_form_is_none_either(sealed: [u8; SEALED_LEN]) {
            let text = STANDARD_NO_PAD.encode(sealed);
            prop_assert_eq!(text.len(), TICKET_LEN);
            prop_assert_eq!(tickets(1).read(text.as_bytes()), None);
        }

        #[test]
        fn all_claims_come_back(slot in 0..ALLOCATIONS_MAX, name: Vec<u8>, before in 0..NUMBER_MAX) {
            let mut tickets = tickets(1);
            tickets.written = before;
            let (ticket, number) = tickets.write(slot, &Username::new(&name), &mut Dice::new(2));
            let claims = tickets.read(&ticket.0).expect("ours");
            prop_assert_eq!((claims.slot, claims.number, number), (slot, before + 1, before + 1));
            prop_assert!(claims.is_of(&Username::new(&name)));
        }
    }
}
