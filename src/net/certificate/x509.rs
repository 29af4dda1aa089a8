//! The facts of a certificate that are told to people: the names it is for, when it begins and when it ends. Whether it is
//! sound is for the library that uses it to say.
//!
//! ```text
//!   Certificate = SEQ { TBS = SEQ { [0] version?, serial, algorithm, issuer, SEQ { notBefore, notAfter }, subject,
//!                                   key, [1]?, [2]?, [3] { SEQ { SEQ { OID, critical?, OCTETS { value } } … } }? } … }
//! ```

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
/// A name of a host among the alternative names (RFC 5280 § 4.2.1.6).
const DNS_NAME: u8 = 0x82;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];

/// What was found.
pub(super) struct Facts {
    pub(super) names: Vec<String>,
    /// Seconds since 1970-01-01 UTC.
    pub(super) not_before: u64,
    /// The same.
    pub(super) not_after: u64,
}

/// Reads a certificate in DER; `None` if it has another form.
pub(super) fn read(certificate: &[u8]) -> Option<Facts> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (tbs, _) = expect(certificate, SEQUENCE)?;
    let rest = match element(tbs)? {
        (VERSION, _, rest) => rest,
        _ => tbs,
    };
    let (_, rest) = expect(rest, INTEGER)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (validity, rest) = expect(rest, SEQUENCE)?;
    let (kind, not_before, not_after) = element(validity)?;
    let not_before = moment(kind, not_before)?;
    let (kind, not_after, _) = element(not_after)?;
    let not_after = moment(kind, not_after)?;
    let mut rest = rest;
    let mut names = Vec::new();
    while !rest.is_empty() {
        let (kind, value, after) = element(rest)?;
        if kind == EXTENSIONS {
            names = alternative_names(value)?;
        }
        rest = after;
    }
    Some(Facts { names, not_before, not_after })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let (mut extensions, _) = expect(extensions, SEQUENCE)?;
    while !extensions.is_empty() {
        let (extension, rest) = expect(extensions, SEQUENCE)?;
        extensions = rest;
        let (id, mut value) = expect(extension, OID)?;
        if id != SUBJECT_ALT_NAME {
            continue;
        }
        // Between both may stand whether it is critical.
        while !value.is_empty() {
            let (kind, content, rest) = element(value)?;
            if kind == OCTETS {
                return dns_names(expect(content, SEQUENCE)?.0);
            }
            value = rest;
        }
    }
    Some(Vec::new())
}

fn dns_names(mut all: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !all.is_empty() {
        let (kind, value, rest) = element(all)?;
        if kind == DNS_NAME && value.iter().all(u8::is_ascii_graphic) {
            names.extend(String::from_utf8(value.to_vec()));
        }
        all = rest;
    }
    Some(names)
}

/// The content of the first element, which is of this kind, and what follows it.
fn expect(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == kind).then_some((content, rest))
}

/// Kind and content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, short], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match short {
        0..=0x7F => (usize::from(short), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7F))?;
            (digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((kind, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 § 4.1.2.5); moments before 1970 are 0.
fn moment(kind: u8, text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |from: usize, len: usize| -> Option<i64> {
        std::str::from_utf8(digits.get(from..from + len)?).ok()?.parse().ok()
    };
    let (year, at) = match kind {
        UTC_TIME => match number(0, 2)? {
            year @ 0..50 => (2_000 + year, 2),
            year => (1_900 + year, 2),
        },
        GENERAL_TIME => (number(0, 4)?, 4),
        _ => return None,
    };
    let (month, day) = (number(at, 2)?, number(at + 2, 2)?);
    let (hour, minute, second) = (number(at + 4, 2)?, number(at + 6, 2)?, number(at + 8, 2)?);
    // Days since 1970-01-01, with years that begin in March, so that a leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(u64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_those_of_an_independent_computation() {
        // date -u -d TEXT +%s
        for (kind, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (UTC_TIME, "260131000000Z", Some(1_769_817_600)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (GENERAL_TIME, "21000301000000Z", Some(4_107_542_400)),
            (GENERAL_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERAL_TIME, "99991231235959", None),
            (UTC_TIME, "26x131000000Z", None),
            (0x13, "260131000000Z", None),
        ] {
            assert_eq!(moment(kind, text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            end in any::<prop::sample::Index>(),
        ) {
            let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("sound");
            let mut bytes = made.cert.der().to_vec();
            for (at, byte) in noise {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = read(&bytes);
            let _ = read(&bytes[..end.index(bytes.len())]);
        }
    }
}
