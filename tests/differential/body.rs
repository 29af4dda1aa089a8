//! The body of the fuzz target `differential`: each input through our codec, through stun-types with turn-types, and
//! through stun-rs. They agree, or the disagreement is of a known class, which a predicate on the bytes proves; any
//! other is a failure. Shared by the test beside this file and by `fuzz/fuzz_targets/differential.rs`.

#[path = "class.rs"]
mod class;
#[path = "naive.rs"]
mod naive;
#[path = "read.rs"]
mod read;

use std::collections::BTreeSet;

use swingbridge::proto::wire::Malformed;
use swingbridge::proto::wire::rfc8656::attributes;

pub(crate) use class::Class;
use naive::Naive;
use read::OfStunRs;
use read::Reading;

/// stun-rs needs a millisecond for some datagrams of 1,400 bytes: longer ones teach nothing new.
const INPUT_MAX: usize = 1_400;

/// What is asked of each codec: the types that ours has values of in the class of the message.
const KINDS: &[u16] = &[
    attributes::USERNAME,
    attributes::REALM,
    attributes::NONCE,
    attributes::USERHASH,
    attributes::LIFETIME,
    attributes::REQUESTED_TRANSPORT,
    attributes::REQUESTED_ADDRESS_FAMILY,
    attributes::EVEN_PORT,
    attributes::RESERVATION_TOKEN,
    attributes::DONT_FRAGMENT,
    attributes::CHANNEL_NUMBER,
    attributes::XOR_PEER_ADDRESS,
    attributes::XOR_RELAYED_ADDRESS,
    attributes::XOR_MAPPED_ADDRESS,
    attributes::ALTERNATE_SERVER,
    attributes::ERROR_CODE,
    attributes::DATA,
    attributes::FINGERPRINT,
];

const TEXTS: [(u16, usize); 3] =
    [(attributes::USERNAME, 508), (attributes::REALM, 763), (attributes::NONCE, 763)];

/// Answers the classes of disagreement that `input` shows.
///
/// # Panics
/// At a disagreement of no known class.
pub(crate) fn body(input: &[u8]) -> BTreeSet<Class> {
    let mut classes = BTreeSet::new();
    let input = &input[..input.len().min(INPUT_MAX)];
    of_channel_data(input, &mut classes);
    let Some(naive) = Naive::read(input) else {
        assert!(read::ours(input).is_err(), "without a header, and read by us");
        assert!(read::stun_types(input, &[]).is_none(), "without a header, and read by stun-types");
        assert!(
            !matches!(read::stun_rs(input, &[]), OfStunRs::Read(_)),
            "without a header, and read by stun-rs"
        );
        return classes;
    };
    let ours = read::ours(input);
    let case = Case { input, naive: &naive };
    case.with_stun_types(&ours, read::stun_types(input, KINDS).as_ref(), &mut classes);
    case.with_stun_rs(&ours, &read::stun_rs(input, KINDS), &mut classes);
    classes
}

fn of_channel_data(input: &[u8], classes: &mut BTreeSet<Class>) {
    let [ours, theirs] = read::channel_data_of_both(input);
    if ours == theirs {
        return;
    }
    let (number, data) = theirs.expect("what we read turn-types reads");
    assert_eq!(ours, None, "other data: {input:02x?}");
    let class = match number {
        0x4000..=0x7FFE if input.len() > 4 + data.len() + 3 => Class::ChannelPadding,
        0x7FFF..=0xFFFE => Class::ChannelRange,
        _ => panic!("unexplained: turn-types reads channel {number:#06x}: {input:02x?}"),
    };
    classes.insert(class);
}

struct Case<'a> {
    input: &'a [u8],
    naive: &'a Naive<'a>,
}

impl Case<'_> {
    fn with_stun_types(
        &self,
        ours: &Result<Reading, Option<Malformed>>,
        theirs: Option<&Reading>,
        classes: &mut BTreeSet<Class>,
    ) {
        match (ours, theirs) {
            (Ok(ours), Some(theirs)) => self.same("stun-types", ours, theirs, classes),
            (Ok(_), None) => self.unexplained("stun-types", "refuses what we read"),
            (Err(Some(why)), Some(_)) => _ = classes.insert(self.of_laxness("stun-types", *why)),
            (Err(_), _) => {}
        }
    }

    fn with_stun_rs(
        &self,
        ours: &Result<Reading, Option<Malformed>>,
        theirs: &OfStunRs,
        classes: &mut BTreeSet<Class>,
    ) {
        match (ours, theirs) {
            (_, OfStunRs::Panicked) => _ = classes.insert(Class::Panic),
            (Ok(ours), OfStunRs::Read(theirs)) => self.same("stun-rs", ours, theirs, classes),
            // It has no message where one value is not to its taste, also of an attribute that is no relay's business.
            (Ok(_), OfStunRs::Refused(Some(kind))) if self.naive.has(*kind) => {
                classes.insert(Class::ValueRefusesMessage);
            }
            (Ok(_), OfStunRs::Refused(_)) => self.unexplained("stun-rs", "refuses the frame of what we read"),
            (Err(Some(why)), OfStunRs::Read(_)) => _ = classes.insert(self.of_laxness("stun-rs", *why)),
            (Err(_), _) => {}
        }
    }

    /// Why another codec reads a message that is none to us.
    fn of_laxness(&self, who: &str, why: Malformed) -> Class {
        let naive = self.naive;
        match why {
            Malformed::TrailingBytes if naive.is_longer_than_it_says() => Class::BytesBehind,
            Malformed::UnalignedLength if naive.is_unaligned() => Class::Unaligned,
            Malformed::Fingerprint if naive.fingerprint_is_not_last() => Class::FingerprintNotLast,
            Malformed::Fingerprint if who == "stun-rs" && naive.has(attributes::FINGERPRINT) => {
                Class::FingerprintUnchecked
            }
            Malformed::AttributeOverrun | Malformed::Fingerprint if naive.goes_on_behind_its_end() => {
                Class::BehindIntegrity
            }
            _ => self.unexplained(who, &format!("reads what we refuse as {why:?}")),
        }
    }

    /// Compares two readings of what both read.
    fn same(&self, who: &str, ours: &Reading, theirs: &Reading, classes: &mut BTreeSet<Class>) {
        assert_eq!(ours.head, theirs.head, "{who}: {:02x?}", self.input);
        for (kind, value) in &ours.values {
            match theirs.value(*kind) {
                Some(other) if other != value => {
                    classes.insert(self.of_value(who, *kind, value.as_ref(), other.as_ref()));
                }
                _ => {}
            }
        }
        // The integrity of an indication is not looked at here.
        let is_right = |reading: &Reading| reading.verified == Some(true);
        if ours.head.0 & 0x0110 != 0x0010 && is_right(ours) != is_right(theirs) {
            classes.insert(self.of_macs(who, ours, theirs));
        }
    }

    /// Why two codecs read another value of one type.
    fn of_value(&self, who: &str, kind: u16, ours: Option<&String>, theirs: Option<&String>) -> Class {
        if self.naive.goes_on_behind_its_end() {
            return Class::BehindIntegrity;
        }
        let value = self.naive.first(kind).map_or(&[][..], |attr| attr.value);
        let text_max = TEXTS.iter().find(|(text, _)| *text == kind).map(|(_, max)| *max);
        match (ours, theirs) {
            (Some(_), None) if text_max.is_some() && str::from_utf8(value).is_err() => Class::TextNotUtf8,
            (Some(_), None) if text_max.is_some_and(|max| value.len() > max) => Class::TextTooLong,
            (Some(_), None) if kind == attributes::REQUESTED_ADDRESS_FAMILY && !matches!(value[0], 1 | 2) => {
                Class::FamilyUnjudged
            }
            (None, Some(_)) if kind == attributes::XOR_PEER_ADDRESS && self.naive.repeats(kind) => {
                Class::PeersAllOrNone
            }
            (None, Some(_)) if length(kind).is_some_and(|lens| !lens.contains(&value.len())) => {
                Class::ValueLength
            }
            _ => self.unexplained(who, &format!("reads {kind:#06x} as {theirs:?}, we as {ours:?}")),
        }
    }

    /// Why two codecs judge the integrity of a message otherwise.
    fn of_macs(&self, who: &str, ours: &Reading, theirs: &Reading) -> Class {
        let [sha1, sha256] = [attributes::MESSAGE_INTEGRITY, attributes::MESSAGE_INTEGRITY_SHA256];
        let lengths = [(sha1, 20), (sha256, 32)]
            .map(|(kind, len)| self.naive.first(kind).map(|a| a.value.len() == len));
        if self.naive.goes_on_behind_its_end() {
            Class::BehindIntegrity
        } else if lengths.contains(&Some(false)) {
            Class::TruncatedMac
        } else if self.naive.has(sha1) && self.naive.has(sha256) {
            Class::BothMacs
        } else {
            self.unexplained(
                who,
                &format!("judges its MAC as {:?}, we as {:?}", theirs.verified, ours.verified),
            )
        }
    }

    fn unexplained(&self, who: &str, what: &str) -> ! {
        panic!("unexplained: {who} {what}: {:02x?}", self.input)
    }
}

/// The lengths that the standards give the value of a type, where they give one.
fn length(kind: u16) -> Option<&'static [usize]> {
    match kind {
        attributes::LIFETIME | attributes::CHANNEL_NUMBER => Some(&[4]),
        attributes::REQUESTED_TRANSPORT | attributes::REQUESTED_ADDRESS_FAMILY => Some(&[4]),
        attributes::EVEN_PORT => Some(&[1]),
        attributes::DONT_FRAGMENT => Some(&[0]),
        attributes::RESERVATION_TOKEN => Some(&[8]),
        attributes::USERHASH => Some(&[32]),
        attributes::XOR_PEER_ADDRESS
        | attributes::XOR_RELAYED_ADDRESS
        | attributes::XOR_MAPPED_ADDRESS
        | attributes::ALTERNATE_SERVER => Some(&[8, 20]),
        _ => None,
    }
}
