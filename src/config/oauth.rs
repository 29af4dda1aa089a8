//! Keys of access tokens: the tables of `auth.oauth`.

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;
use zeroize::Zeroizing;

use crate::proto::auth::token::TokenAlgorithm;
use crate::proto::auth::token::TokenKey;
use crate::proto::types::Secret;
use crate::proto::types::Username;
use crate::proto::types::limits;

use super::file::article;
use super::read::Located;
use super::read::Reader;
use super::schema::Key;
use super::value::Complaint;

const EXAMPLE: &str = "write { kid = \"2026-01\", key = { file = \"oauth.key\" }, algorithm = \"A256GCM\" }";
const MOMENT: &str = "write a moment with its time zone, without quotes: 2026-01-31T00:00:00Z";

/// The keys of one table, each once, as they were found.
#[derive(Default)]
struct Parts<'t, 'd> {
    kid: Option<&'t Spanned<DeValue<'d>>>,
    key: Option<&'t Spanned<DeValue<'d>>>,
    algorithm: Option<&'t Spanned<DeValue<'d>>>,
    not_before: Option<&'t Spanned<DeValue<'d>>>,
    not_after: Option<&'t Spanned<DeValue<'d>>>,
}

impl Reader<'_, '_> {
    /// The keys at `path`. Of a table with a mistake every mistake is told.
    pub(crate) fn token_keys(&mut self, path: &str) -> Vec<Located<TokenKey>> {
        self.array(path, |reader, key, span, value| {
            let DeValue::Table(table) = value else {
                let rule = format!("a table is expected, not {}", article(value));
                reader.error(key, span, Complaint::new(rule, EXAMPLE));
                return None;
            };
            reader.token_key(key, span, table)
        })
    }

    fn token_key(&mut self, key: &Key, span: &Option<Range<usize>>, table: &DeTable<'_>) -> Option<TokenKey> {
        let mut parts = Parts::default();
        let mut sound = true;
        for (name, value) in table {
            let slot = match name.get_ref().as_ref() {
                "kid" => &mut parts.kid,
                "key" => &mut parts.key,
                "algorithm" => &mut parts.algorithm,
                "not_before" => &mut parts.not_before,
                "not_after" => &mut parts.not_after,
                other => {
                    let rule = format!("unknown key `{other}` in an OAuth key");
                    self.error(key, &Some(name.span()), Complaint::new(rule, EXAMPLE));
                    sound = false;
                    continue;
                }
            };
            *slot = Some(value);
        }
        let kid = self.part(key, span, "kid", parts.kid, read_kid);
        let algorithm = self.part(key, span, "algorithm", parts.algorithm, read_algorithm);
        let bytes = match parts.key {
            Some(value) => {
                let text = self.secret(key, "a key", &Some(value.span()), value.get_ref());
                text.and_then(|text| {
                    let read = decode_key(&text, algorithm);
                    read.map_err(|complaint| self.error(key, &Some(value.span()), complaint)).ok()
                })
            }
            None => self.part(key, span, "key", None, |_| unreachable!("there is none")),
        };
        let from = self.moment(key, parts.not_before, 0);
        let until = self.moment(key, parts.not_after, u64::MAX);
        let (kid, algorithm, bytes, from, until) = (kid?, algorithm?, bytes?, from?, until?);
        if from > until {
            self.error(key, span, Complaint::new("`not_after` lies before `not_before`", "exchange them"));
            return None;
        }
        TokenKey::new(Username::new(kid.as_bytes()), algorithm, &bytes, from..=until).filter(|_| sound)
    }

    /// A part that must be there, read by `read`.
    fn part<'t, T>(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        name: &str,
        value: Option<&'t Spanned<DeValue<'_>>>,
        read: impl Fn(&'t DeValue<'_>) -> Result<T, Complaint>,
    ) -> Option<T> {
        let Some(value) = value else {
            let rule = format!("`{name}` is missing in this OAuth key");
            self.error(key, span, Complaint::new(rule, EXAMPLE));
            return None;
        };
        read(value.get_ref()).map_err(|complaint| self.error(key, &Some(value.span()), complaint)).ok()
    }

    /// A moment in seconds since 1970-01-01 UTC; `open` if it is left out.
    fn moment(&mut self, key: &Key, value: Option<&Spanned<DeValue<'_>>>, open: u64) -> Option<u64> {
        let Some(value) = value else { return Some(open) };
        let read = value.get_ref().as_datetime().and_then(unix);
        if read.is_none() {
            let rule = match value.get_ref() {
                DeValue::Datetime(_) => "this moment is not complete, or lies before 1970".to_owned(),
                other => format!("a moment is expected, not {}", article(other)),
            };
            self.error(key, &Some(value.span()), Complaint::new(rule, MOMENT));
        }
        read
    }
}

fn read_kid(value: &DeValue<'_>) -> Result<String, Complaint> {
    const FIX: &str = "write the id by which the authorization server names the key: kid = \"2026-01\"";
    let Some(kid) = value.as_str() else {
        return Err(Complaint::new(format!("a key id is expected, not {}", article(value)), FIX));
    };
    if kid.is_empty() || kid.len() > limits::USERNAME_MAX || kid.chars().any(char::is_control) {
        let rule = format!("a key id has 1 to {} bytes and no control character", limits::USERNAME_MAX);
        return Err(Complaint::new(rule, FIX));
    }
    Ok(kid.to_owned())
}

fn read_algorithm(value: &DeValue<'_>) -> Result<TokenAlgorithm, Complaint> {
    match value.as_str() {
        Some("A128GCM") => Ok(TokenAlgorithm::A128Gcm),
        Some("A256GCM") => Ok(TokenAlgorithm::A256Gcm),
        _ => Err(Complaint::new("the algorithm is not known here", "write \"A256GCM\" or \"A128GCM\"")),
    }
}

/// The bytes of a key in base64, of the length that `algorithm` has, if that is known.
fn decode_key(text: &Secret, algorithm: Option<TokenAlgorithm>) -> Result<Secret, Complaint> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    const FIX: &str = "make one with `openssl rand -base64 32`, or 16 for A128GCM";
    let bytes = LENIENT.decode(text.expose()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| Complaint::new("this key is no base64", FIX))?;
    match algorithm.map(TokenAlgorithm::key_len) {
        Some(len) if bytes.len() != len => {
            Err(Complaint::new(format!("the key has {} bytes, the algorithm takes {len}", bytes.len()), FIX))
        }
        _ => Ok(Secret::new(bytes.as_slice())),
    }
}

/// Seconds since 1970-01-01 UTC; `None` if date, time or offset is missing, or the moment lies before.
fn unix(moment: &toml::value::Datetime) -> Option<u64> {
    let (date, time) = (moment.date?, moment.time?);
    let offset_min = match moment.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    // Days since 1970-01-01 in the Gregorian calendar, with years that begin in March, so that a leap day is the last.
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + i64::from(date.day) - 1 - 719_468;
    let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_min;
    u64::try_from(days * 86_400 + minutes * 60 + i64::from(time.second.unwrap_or(0))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        unix(&text.parse().expect("a moment"))
    }

    #[test]
    fn moments_are_those_of_an_independent_computation() {
        // date -u -d TEXT +%s
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-01-31T00:00:00Z", 1_769_817_600),
            ("2026-01-31T01:30:00+01:30", 1_769_817_600),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["1969-12-31T23:59:59Z", "2026-01-31", "2026-01-31T00:00:00", "00:00:00"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_base64_of_the_right_length_with_padding_or_without() {
        let decode = |text: &str, algorithm| decode_key(&Secret::new(text.as_bytes()), Some(algorithm));
        for text in ["AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(decode(text, TokenAlgorithm::A128Gcm).expect("16 bytes").expose(), [0; 16]);
            assert!(decode(text, TokenAlgorithm::A256Gcm).is_err());
        }
        for text in ["", "no base64", "AAAAAAAAAAAAAAAAAAAAA"] {
            assert!(decode(text, TokenAlgorithm::A128Gcm).is_err(), "{text:?}");
        }
    }
}
