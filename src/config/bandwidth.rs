//! Bandwidths, `"2Mbit/s"`. Each refusal says what to write.

use crate::proto::types::limits;

use super::value::Complaint;

const UNITS: [(&str, u64); 3] = [("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

/// Reads a bandwidth as bits a second: a whole number with kbit/s, Mbit/s or Gbit/s. `"0"`, with a unit or without, is
/// no limit.
pub(crate) fn parse_bandwidth(text: &str) -> Result<u64, Complaint> {
    const EXAMPLE: &str =
        "write a whole number with kbit/s, Mbit/s or Gbit/s: \"2Mbit/s\"; \"0\" for any amount";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Complaint::new(format!("`{text}` is no bandwidth"), EXAMPLE));
    }
    let number: Option<u64> = number.parse().ok();
    let bits = match UNITS.iter().find(|(word, _)| *word == unit) {
        Some((_, bits)) => number.and_then(|number| number.checked_mul(*bits)),
        None if unit.is_empty() && number == Some(0) => Some(0),
        None => return Err(wrong_unit(text, number, unit, EXAMPLE)),
    };
    match bits {
        Some(0) => Ok(0),
        Some(bits) if bits < limits::BANDWIDTH_BITS_PER_S_MIN => Err(Complaint::new(
            format!("{text} is too little for any call"),
            format!("write at least \"{}\"", show_bandwidth(limits::BANDWIDTH_BITS_PER_S_MIN)),
        )),
        Some(bits) if bits <= limits::BANDWIDTH_BITS_PER_S_MAX => Ok(bits),
        _ => Err(Complaint::new(
            format!("{text} is too much to be counted"),
            format!(
                "write at most \"{}\", or \"0\" for any amount",
                show_bandwidth(limits::BANDWIDTH_BITS_PER_S_MAX)
            ),
        )),
    }
}

/// What to write where the unit is another one. Many write bytes or leave something out.
fn wrong_unit(text: &str, number: Option<u64>, unit: &str, example: &str) -> Complaint {
    let rule = if unit.is_empty() {
        format!("`{text}` lacks the unit")
    } else {
        format!("`{text}` is no bandwidth")
    };
    let letters: String = unit.chars().filter(|letter| !letter.is_whitespace()).collect();
    let in_bytes = letters.ends_with("B/s") || letters.ends_with("Bps");
    let thousands =
        UNITS.iter().find(|(word, _)| letters.to_lowercase().starts_with(&word[..1].to_lowercase()));
    let fix = match (number, thousands) {
        (Some(number), Some((word, _))) if in_bytes => {
            format!("bits are counted, not bytes: write \"{}{word}\"", number.saturating_mul(8))
        }
        (Some(number), Some((word, _))) if !unit.starts_with('.') => format!("write \"{number}{word}\""),
        (Some(number), None) if unit.is_empty() && number >= limits::BANDWIDTH_BITS_PER_S_MIN => {
            format!("write \"{}\" if bits a second are meant", show_bandwidth(number))
        }
        _ => example.to_owned(),
    };
    Complaint::new(rule, fix)
}

/// The shortest text that the configuration reads as `bits_per_s`, less what is no whole kbit/s.
#[must_use]
pub fn show_bandwidth(bits_per_s: u64) -> String {
    let whole = UNITS.iter().rev().find(|(_, bits)| bits_per_s >= *bits && bits_per_s.is_multiple_of(*bits));
    match whole {
        Some((word, bits)) => format!("{}{word}", bits_per_s / bits),
        None => format!("{}kbit/s", bits_per_s / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths() {
        for (text, bits) in [
            ("0", 0),
            ("0Mbit/s", 0),
            ("8kbit/s", 8_000),
            ("64kbit/s", 64_000),
            ("2Mbit/s", 2_000_000),
            ("1500kbit/s", 1_500_000),
            ("100Gbit/s", 100_000_000_000),
        ] {
            assert_eq!(parse_bandwidth(text), Ok(bits), "{text}");
            if bits != 0 {
                assert_eq!(parse_bandwidth(&show_bandwidth(bits)), Ok(bits));
            }
        }
        assert_eq!(show_bandwidth(2_000_000), "2Mbit/s");
        assert_eq!(show_bandwidth(1_500_000), "1500kbit/s");
    }

    #[test]
    fn what_is_no_bandwidth_is_refused_with_what_to_write() {
        for (text, fix) in [
            ("2000000", "write \"2Mbit/s\" if bits a second are meant"),
            ("2mbit/s", "write \"2Mbit/s\""),
            ("2 Mbit/s", "write \"2Mbit/s\""),
            ("2Mbps", "write \"2Mbit/s\""),
            ("2M", "write \"2Mbit/s\""),
            ("2MB/s", "bits are counted, not bytes: write \"16Mbit/s\""),
            ("7kbit/s", "write at least \"8kbit/s\""),
            ("101Gbit/s", "write at most \"100Gbit/s\", or \"0\" for any amount"),
            ("99999999999999999999Gbit/s", "write at most \"100Gbit/s\", or \"0\" for any amount"),
        ] {
            assert_eq!(parse_bandwidth(text).unwrap_err().fix, fix, "{text}");
        }
        for text in ["", "M", "-1Mbit/s", "+1Mbit/s", "1.5Mbit/s", "unlimited", "2é", "1", "∞"] {
            assert!(parse_bandwidth(text).unwrap_err().fix.starts_with("write a whole number"), "{text}");
        }
    }
}
