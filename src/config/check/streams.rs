//! The rules of `listen.stream` and `tls.certificates`.

use crate::config::read::Located;
use crate::proto::types::limits;

use super::Rules;
use super::overlap;

const KEY: &str = "listen.stream";

impl Rules<'_> {
    pub(super) fn streams(&mut self) {
        let checked = self.checked;
        if checked.streams.len() > limits::LISTEN_ADDRESSES_MAX {
            let span = self.span_of(KEY);
            let fix = format!("write at most {}", limits::LISTEN_ADDRESSES_MAX);
            self.error(KEY, &span, "too many listeners", fix);
        }
        for (index, Located { value: listener, span }) in checked.streams.iter().enumerate() {
            self.listener(KEY, listener, span);
            let earlier = checked.streams[..index].iter().map(|other| other.value.bind);
            if let Some(other) = earlier.into_iter().find(|other| overlap(*other, listener.bind)) {
                let rule = match other == listener.bind {
                    true => format!("{other} is named twice"),
                    false => format!("{} and {other} take the same connections", listener.bind),
                };
                self.error(KEY, span, rule, "keep one of them");
            }
            if let Some(admin) = checked.admin.value
                && span.is_some()
                && overlap(admin, listener.bind)
            {
                let fix = "write another port here or to `[admin] listen`";
                self.error(KEY, span, format!("{admin} is where metrics and health are served"), fix);
            }
        }
        if checked.certificates.len() > limits::CERTIFICATES_MAX {
            let span = self.span_of("tls.certificates");
            let fix = format!("write at most {}", limits::CERTIFICATES_MAX);
            self.error("tls.certificates", &span, "too many certificates", fix);
        }
        let seen = !checked.streams.is_empty() || checked.mras_doors.show(&checked.certificates);
        if !checked.certificates.is_empty() && !seen && self.sound(KEY) {
            let span = self.span_of("tls.certificates");
            let fix = "write below [listen] stream = [\"0.0.0.0:443\", \"[::]:443\"]";
            self.warning("tls.certificates", &span, "without a listener for streams nobody sees them", fix);
        }
        if checked.streams_total.value == 0 {
            let span = &checked.streams_total.span;
            let fix = "write 1 or more; stream = [] below [listen] closes the listeners";
            self.error(
                "limits.streams_total",
                span,
                "without a single connection no listener is of use",
                fix,
            );
        }
    }
}
