//! Values of a scenario file. What is refused is answered with what to write instead.

use std::time::Duration;

use crate::proto::wire::Method;

/// A million parts: what shares of packets are counted in.
const MILLION: f64 = 1_000_000.0;
/// A day: nothing in a scenario takes longer.
const SPAN_MAX: Duration = Duration::from_secs(86_400);

/// The methods by their words.
pub(super) const METHODS: [(&str, Method); 7] = [
    ("binding", Method::Binding),
    ("allocate", Method::Allocate),
    ("refresh", Method::Refresh),
    ("create-permission", Method::CreatePermission),
    ("channel-bind", Method::ChannelBind),
    ("connect", Method::Connect),
    ("connection-bind", Method::ConnectionBind),
];

/// `20s`, `500ms`, `5m`, `1h`: a whole number and one unit, a day at most.
pub fn span(text: &str) -> Result<Duration, String> {
    const FIX: &str = "write a whole number and a unit: \"500ms\", \"20s\", \"5m\", \"1h\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| FIX.to_owned())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(FIX.to_owned()),
    };
    let span = number.checked_mul(millis).map(Duration::from_millis);
    span.filter(|span| *span <= SPAN_MAX).ok_or_else(|| "write at most 24h".to_owned())
}

/// `2%`, `0.05%`: in parts of a million.
pub(super) fn share(text: &str) -> Result<u32, String> {
    const FIX: &str = "write a share from 0% to 100%: \"2%\", \"0.05%\"";
    let number: f64 = text.strip_suffix('%').and_then(|text| text.parse().ok()).ok_or(FIX)?;
    if !(0.0..=100.0).contains(&number) {
        return Err(FIX.to_owned());
    }
    Ok((number / 100.0 * MILLION).round() as u32)
}

/// `512kbit/s`, `2Mbit/s`, `1Gbit/s`: in bits of a second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    const FIX: &str = "write a whole number and a unit: \"512kbit/s\", \"2Mbit/s\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| FIX.to_owned())?;
    let bits: u64 = match &text[digits..] {
        "kbit/s" => 1_000,
        "Mbit/s" => 1_000_000,
        "Gbit/s" => 1_000_000_000,
        _ => return Err(FIX.to_owned()),
    };
    number.checked_mul(bits).filter(|rate| *rate > 0).ok_or_else(|| FIX.to_owned())
}

/// A method; `any` is none in particular.
pub(super) fn method_or_any(text: &str) -> Result<Option<Method>, String> {
    if text == "any" { Ok(None) } else { method(text).map(Some) }
}

/// A method.
pub(super) fn method(text: &str) -> Result<Method, String> {
    one_of(text, &METHODS)
}

/// The word's meaning.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        format!("write one of {}", words.join(", "))
    })
}

/// What a method is called in scenario files.
#[must_use]
pub fn method_word(method: Method) -> &'static str {
    METHODS.iter().find(|(_, each)| *each == method).map_or("request", |(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units_and_nothing_else() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "5", "s", "5 s", "-1s", "1h30m", "25h", "99999999999999999999s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
        assert_eq!((share("2%"), share("0.05%"), share("100%")), (Ok(20_000), Ok(500), Ok(1_000_000)));
        for wrong in ["", "%", "2", "101%", "-1%", "NaN%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert_eq!((rate("512kbit/s"), rate("2Mbit/s")), (Ok(512_000), Ok(2_000_000)));
        for wrong in ["0kbit/s", "2mbit/s", "1Gbit", "", "99999999999999999999Gbit/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
