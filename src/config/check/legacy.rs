//! The rules of [ms_turn] and [mras].

use crate::config::read::Located;
use crate::proto::types::limits;

use super::Rules;

/// A shorter key can be searched for by whoever holds one credential.
const KEY_LEN_GOOD: usize = 16;

impl Rules<'_> {
    pub(super) fn mras(&mut self) {
        let checked = self.checked;
        let Located { value: realm, span } = &checked.realm;
        if checked.ms_turn.value && realm.len() > limits::LEGACY_TEXT_MAX {
            let max = limits::LEGACY_TEXT_MAX;
            let rule = format!("clients that speak [MS-TURN] take a realm of at most {max} bytes");
            self.warning(
                "realm",
                span,
                rule,
                "write a shorter one, or ms_turn.enable = false where there is no such client",
            );
        }
        if !checked.ms_turn.value && !checked.mras.is_empty() {
            let span = self.span_of("mras.keys");
            let rule =
                "MRAS credentials are for clients that speak [MS-TURN], which ms_turn.enable shuts out";
            self.warning("mras.keys", &span, rule, "remove the keys, or write ms_turn.enable = true");
        }
        if checked.mras.len() > limits::MRAS_KEYS_MAX {
            let span = self.span_of("mras.keys");
            let fix = format!("write at most {}", limits::MRAS_KEYS_MAX);
            self.error("mras.keys", &span, "too many pairs of keys", fix);
        }
        for (index, Located { value: (key1, key2), span }) in checked.mras.iter().enumerate() {
            if key1.expose() == key2.expose() {
                let fix = "make two, each with `openssl rand -hex 32`";
                self.warning("mras.keys", span, "both keys of this pair are the same", fix);
            } else if [key1, key2].iter().any(|key| key.expose().len() < KEY_LEN_GOOD) {
                let rule =
                    format!("a key of fewer than {KEY_LEN_GOOD} bytes can be guessed from one credential");
                self.warning("mras.keys", span, rule, "make one with `openssl rand -hex 32`");
            }
            let mut earlier = checked.mras[..index].iter().map(|other| &other.value.0);
            if earlier.any(|other| other.expose() == key1.expose()) {
                self.warning("mras.keys", span, "the same key1 stands here twice", "keep one of them");
            }
        }
    }
}
