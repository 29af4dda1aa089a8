//! The time in front of a line of the log: UTC, to the microsecond, as the library writes it (RFC 3339), but digit by digit
//! into a buffer of its length. That takes a fifth of the library's time for it, which is about formats of any kind.

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time;
use tracing_subscriber::fmt::time::FormatTime;

/// A time as it is written, with zeroes for digits.
const FORM: [u8; 27] = *b"0000-00-00T00:00:00.000000Z";
/// The first second whose year has more digits: 10000-01-01, since 1970-01-01 UTC.
const YEAR_10000_S: u64 = 253_402_300_800;
const DAY_S: u64 = 86_400;

/// Stamps lines with the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp;

impl FormatTime for Stamp {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(now) if now.as_secs() < YEAR_10000_S => {
                out.write_str(str::from_utf8(&written(now)).map_err(|_| fmt::Error)?)
            }
            _ => time::SystemTime.format_time(out),
        }
    }
}

/// The time that is `since_1970` after the beginning of 1970, in a year of four digits.
fn written(since_1970: Duration) -> [u8; FORM.len()] {
    let (seconds, micros) = (since_1970.as_secs(), since_1970.subsec_micros());
    let (year, month, day) = date(seconds / DAY_S);
    let second = seconds % DAY_S;
    let mut out = FORM;
    let mut put = |last: usize, len: usize, mut value: u64| {
        for digit in out[last - len..last].iter_mut().rev() {
            *digit += (value % 10) as u8;
            value /= 10;
        }
    };
    put(4, 4, year);
    put(7, 2, month);
    put(10, 2, day);
    put(13, 2, second / 3_600);
    put(16, 2, second / 60 % 60);
    put(19, 2, second % 60);
    put(26, 6, micros.into());
    out
}

/// Year, month and day of the month, so many `days` after 1970-01-01. Counted from a first of March, so that the day that leap
/// years have more is the last of its year, and in turns of 400 years, which are of one length.
fn date(days: u64) -> (u64, u64, u64) {
    const TURN: u64 = 146_097;
    // 0000-03-01 lies so many days before 1970.
    let days = days + 719_468;
    let (turn, day) = (days / TURN, days % TURN);
    let year = (day - day / 1_460 + day / 36_524 - day / (TURN - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // From March on five months have 153 days, again and again.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * turn + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64, micros: u32) -> String {
        let written = written(Duration::new(seconds, micros * 1_000 + 999));
        String::from_utf8(written.to_vec()).expect("ASCII")
    }

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        // date -u -d @…
        for (seconds, micros, wanted) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_795_409_400, 123_456, "2026-11-23T04:50:00.123456Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
            (YEAR_10000_S - 1, 0, "9999-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(text(seconds, micros), wanted);
        }
    }

    #[test]
    fn each_day_follows_the_one_before_it() {
        let leaps =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..=YEAR_10000_S / DAY_S {
            assert_eq!(date(days), (year, month, day));
            let last = match month {
                2 => 28 + u64::from(leaps(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, month) = if day == last { (1, month + 1) } else { (day + 1, month) };
            (month, year) = if month == 13 { (1, year + 1) } else { (month, year) };
        }
    }

    #[test]
    fn a_stamp_looks_like_that_of_the_library() {
        let [mut ours, mut theirs] = [String::new(), String::new()];
        Stamp.format_time(&mut Writer::new(&mut ours)).expect("a String takes every write");
        time::SystemTime.format_time(&mut Writer::new(&mut theirs)).expect("a String takes every write");
        let form = |text: &str| text.replace(|each: char| each.is_ascii_digit(), "0");
        assert_eq!(form(&ours), form(&theirs));
        assert_eq!(form(&ours).as_bytes(), FORM);
    }
}
