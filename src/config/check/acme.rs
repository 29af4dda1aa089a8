//! The rules of `[tls.acme]`.

use crate::config::read::Located;
use crate::net::Certificate;
use crate::proto::types::limits;

use super::Rules;

const NAMES: &str = "tls.acme.names";

impl Rules<'_> {
    pub(super) fn acme(&mut self) {
        let acme = &self.checked.acme;
        self.acme_addresses();
        if acme.names.is_empty() {
            return self.nothing_to_order();
        }
        let span = self.span_of(NAMES);
        if !cfg!(feature = "acme") {
            let fix = "build it with `cargo build --release --features acme`, or write [[tls.certificates]]";
            self.error(NAMES, &span, "this build cannot order certificates", fix);
        }
        if !acme.accept_terms.value && self.sound("tls.acme.accept_terms") {
            let fix =
                "read the terms of service of the authority, then write below [tls.acme] accept_terms = true";
            self.error(NAMES, &span, "nothing is ordered unless you agree to its terms", fix);
        }
        if acme.names.len() > limits::ACME_NAMES_MAX {
            let fix = format!("write at most {}", limits::ACME_NAMES_MAX);
            self.error(NAMES, &span, "too many names for one certificate", fix);
        }
        let streams = &self.checked.streams;
        if self.sound("listen.stream")
            && !streams.iter().any(|listener| listener.value.external.port() == 443)
        {
            let fix = "write below [listen] stream = [\"0.0.0.0:443\", \"[::]:443\"], or have port 443 forwarded to one \
                       of the listeners";
            self.warning(NAMES, &span, "the authority asks at port 443, where nothing listens", fix);
        }
        self.acme_names();
    }

    fn acme_names(&mut self) {
        let checked = self.checked;
        let names = &checked.acme.names;
        for (index, Located { value: name, span }) in names.iter().enumerate() {
            if names[..index].iter().any(|other| other.value == *name) {
                self.error(NAMES, span, format!("{name} is named twice"), "keep one of them");
            }
            let passed = |pattern: &str| match pattern.strip_prefix("*.") {
                Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
                None => pattern == name,
            };
            if checked.web.passthrough.iter().any(|pattern| passed(&pattern.value)) {
                let rule = format!("{name} is passed through, so its certificate here would never be shown");
                self.error(NAMES, span, rule, "take the name out of one of both");
            }
            let given = checked.certificates.iter().flat_map(|given| Certificate::names(&given.value));
            if given.into_iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let rule = format!("one of tls.certificates is for {name} too, and is shown first");
                self.warning(NAMES, span, rule, "take the name out of one of both");
            }
        }
    }

    fn nothing_to_order(&mut self) {
        let Located { value: accepted, span } = &self.checked.acme.accept_terms;
        if *accepted && self.sound(NAMES) {
            let fix = "write below [tls.acme] names = [\"turn.example.net\"]";
            self.warning("tls.acme.accept_terms", span, "no name is there to order a certificate for", fix);
        }
    }

    fn acme_addresses(&mut self) {
        let acme = &self.checked.acme;
        let Located { value: directory, span } = &acme.directory;
        let host = directory.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
        let is_plain = directory.len() <= 1_024 && directory.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || host.is_none_or(str::is_empty) {
            let fix = "write the address that the authority names: directory = \"https://ca.example.net/directory\"";
            self.error("tls.acme.directory", span, "this is no address over HTTPS", fix);
        }
        let Located { value: contact, span } = &acme.contact;
        let is_mail = contact.strip_prefix("mailto:").is_some_and(|mail| {
            mail.contains('@') && mail.len() <= 254 && mail.bytes().all(|byte| byte.is_ascii_graphic())
        });
        if span.is_some() && !is_mail && self.sound("tls.acme.contact") {
            let fix = "write contact = \"mailto:admin@example.net\", or leave the key out";
            self.error("tls.acme.contact", span, "this is no address of mail as a URL", fix);
        }
    }
}
