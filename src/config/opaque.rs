//! Names, realm and passwords as clients have to spell them: the OpaqueString profile (RFC 8265 § 4.2), which RFC 8489
//! §§ 9.2.2, 14.3 and 14.9 ask for. It is applied here, where they are typed, and never to what comes from the
//! network: a client has applied it already, or its bytes match nobody's.

use std::borrow::Cow;

use precis_core::profile::Profile as _;
use precis_profiles::OpaqueString;

use super::value::Complaint;

/// `text` as the profile has it; `what` names it in the complaint, which does not quote it.
pub(crate) fn prepare(what: &str, text: &str) -> Result<String, Complaint> {
    // Of ASCII the profile changes nothing and refuses control characters.
    if text.is_ascii() {
        return match text.chars().any(|char| char.is_ascii_control()) {
            false => Ok(text.to_owned()),
            true => Err(Complaint::new(
                format!("{what} holds a control character"),
                "write letters, digits and the like",
            )),
        };
    }
    let profile = OpaqueString::new();
    let prepared = profile.enforce(text).ok();
    // The characters of the outcome are judged too (RFC 8264 § 7): a change of form can bring forth one that may not stand
    // where it stands.
    let sound = prepared.filter(|once| profile.enforce(once.as_ref()).is_ok_and(|twice| twice == *once));
    sound.map(Cow::into_owned).ok_or_else(|| {
        Complaint::new(
            format!("{what} holds a character that no client could spell alike (RFC 8265 section 4.2)"),
            "leave out control characters, unassigned characters and the like; ASCII is safest",
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_means_the_same_is_spelt_the_same() {
        for (typed, prepared) in [
            ("alice", "alice"),
            ("two words!~", "two words!~"),
            // A letter and its accent become one character, and a wide space a plain one; case and width stay.
            ("re\u{301}sume\u{301}", "r\u{e9}sum\u{e9}"),
            ("a\u{3000}b\u{a0}c", "a b c"),
            ("\u{3a3}", "\u{3a3}"),
            ("\u{ff21}", "\u{ff21}"),
            // The name of RFC 8489's test vector.
            (
                "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}",
                "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}",
            ),
            // SASLprep would make "IX" of this; its clients and those of RFC 8489 part here.
            ("\u{2168}", "\u{2168}"),
        ] {
            assert_eq!(prepare("it", typed).as_deref(), Ok(prepared), "{typed:?}");
        }
    }

    #[test]
    fn what_cannot_be_spelt_alike_is_refused_without_being_quoted() {
        for text in
            ["a\nb", "\0", "\u{7f}", "a\u{85}b", "a\u{200b}b\u{e000}", "\u{fffe}", "\u{1100}", "\u{387}"]
        {
            let complaint = prepare("a password", text).expect_err(&format!("{text:?}"));
            assert!(complaint.rule.starts_with("a password holds") && !complaint.rule.contains(text));
        }
    }

    proptest! {
        #[test]
        fn what_was_prepared_is_prepared(text: String) {
            if let Ok(once) = prepare("it", &text) {
                prop_assert_eq!(prepare("it", &once), Ok(once));
            }
        }

        #[test]
        fn printable_ascii_stays_as_it_is(text in "[ -~]*") {
            prop_assert_eq!(prepare("it", &text), Ok(text));
        }
    }
}
