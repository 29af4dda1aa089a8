//! The rules of `[listen.web]` and of `listen.proxy_from`.

use std::net::SocketAddr;

use crate::config::read::Located;
use crate::net::Certificate;
use crate::proto::types::limits;

use super::Rules;
use super::overlap;

const NAMES: &str = "listen.web.passthrough";
const PROXIES: &str = "listen.proxy_from";

impl Rules<'_> {
    pub(super) fn web(&mut self) {
        let web = &self.checked.web;
        self.site("listen.web.upstream", &web.upstream);
        self.site("listen.web.passthrough_to", &web.passthrough_to);
        self.names();
        self.without_a_site();
        self.places_of_the_web();
        self.proxies();
    }

    fn site(&mut self, key: &str, site: &Located<Option<SocketAddr>>) {
        let Located { value: Some(address), span } = site else { return };
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            let rule = format!("nothing can be reached at {address}");
            self.error(key, span, rule, "write the address that the web site listens on: \"127.0.0.1:8080\"");
        }
        let ours = self.checked.streams.iter().map(|listener| listener.value.bind);
        let everywhere = |bind: SocketAddr| {
            bind.ip().is_unspecified()
                && bind.is_ipv4() == address.is_ipv4()
                && bind.port() == address.port()
                && address.ip().is_loopback()
        };
        if let Some(bind) = ours.into_iter().find(|bind| bind == address || everywhere(*bind)) {
            let rule = format!("{address} is this server itself, which listens on {bind}");
            self.error(key, span, rule, "write the address that the web site listens on");
        }
        if self.checked.admin.value.is_some_and(|admin| overlap(admin, *address)) {
            let rule = format!("{address} is where metrics and health are served, for operators alone");
            self.error(key, span, rule, "write the address that the web site listens on");
        }
    }

    fn names(&mut self) {
        let checked = self.checked;
        let names = &checked.web.passthrough;
        let to = &checked.web.passthrough_to;
        if names.len() > limits::WEB_NAMES_MAX {
            let span = self.span_of(NAMES);
            let fix = format!("write at most {}, or a wildcard", limits::WEB_NAMES_MAX);
            self.error(NAMES, &span, "too many names", fix);
        }
        if !names.is_empty() && to.value.is_none() && self.sound("listen.web.passthrough_to") {
            let span = self.span_of(NAMES);
            let fix = "write below [listen.web] passthrough_to = \"127.0.0.1:8443\"";
            self.error(NAMES, &span, "nothing says where these names are passed to", fix);
        }
        if names.is_empty() && to.value.is_some() && self.sound(NAMES) {
            let fix = "write below [listen.web] passthrough = [\"www.example.net\"]";
            self.warning("listen.web.passthrough_to", &to.span, "no name is passed there", fix);
        }
        for (index, Located { value: name, span }) in names.iter().enumerate() {
            if names[..index].iter().any(|other| other.value == *name) {
                self.error(NAMES, span, format!("{name} is named twice"), "keep one of them");
            }
            let shown = checked.certificates.iter().flat_map(|certificate| names_of(&certificate.value));
            if shown.into_iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let rule = format!("{name} is passed through, so its certificate here is never shown");
                self.warning(NAMES, span, rule, "take the name out of one of both");
            }
        }
    }

    /// Settings of a site that there is not.
    fn without_a_site(&mut self) {
        let web = &self.checked.web;
        self.of_no_site("upstream_proxy", &web.upstream_proxy, ("upstream", &web.upstream));
        self.of_no_site("upstream_h2", &web.upstream_h2, ("upstream", &web.upstream));
        self.of_no_site("passthrough_proxy", &web.passthrough_proxy, ("passthrough_to", &web.passthrough_to));
        let any = web.upstream.value.or(web.passthrough_to.value).is_some();
        if any && self.checked.streams.is_empty() && self.sound("listen.stream") {
            let key = if web.upstream.value.is_some() { "upstream" } else { "passthrough_to" };
            let key = format!("listen.web.{key}");
            let span = self.span_of(&key);
            let fix = "write below [listen] stream = [\"0.0.0.0:443\", \"[::]:443\"]";
            self.warning(&key, &span, "without a listener for streams nobody comes there", fix);
        }
    }

    fn of_no_site(
        &mut self,
        key: &str,
        set: &Located<bool>,
        (name, site): (&str, &Located<Option<SocketAddr>>),
    ) {
        if set.value && site.value.is_none() && self.sound(&format!("listen.web.{name}")) {
            let rule = format!("there is no `{name}` that it could be for");
            let fix = format!("write below [listen.web] {name} = \"127.0.0.1:8080\", or remove this");
            self.warning(&format!("listen.web.{key}"), &set.span, rule, fix);
        }
    }

    fn places_of_the_web(&mut self) {
        let Located { value: total, span } = &self.checked.web.total;
        let half = self.checked.streams_total.value / 2;
        if *total == 0 {
            let fix = "write 1 or more; without `upstream` and `passthrough` there is no web site";
            self.error("limits.web_total", span, "without a single connection no web site is of use", fix);
        } else if span.is_some() && *total > half && half > 0 {
            let rule = format!("{total} of the {} of streams_total leave callers too few", 2 * half);
            self.error("limits.web_total", span, rule, format!("write at most {half}, the half"));
        }
    }

    fn proxies(&mut self) {
        let proxies = &self.checked.proxy_from;
        let span = self.span_of(PROXIES);
        if proxies.len() > limits::PROXY_NETWORKS_MAX {
            let fix = format!("write at most {}", limits::PROXY_NETWORKS_MAX);
            self.error(PROXIES, &span, "too many networks", fix);
        }
        if proxies.iter().any(|(_, prefix_len)| *prefix_len == 0) {
            let fix = "write the addresses of the proxies alone: proxy_from = [\"10.0.0.2\"]";
            self.error(PROXIES, &span, "everybody could say whose connection theirs is", fix);
        }
    }
}

fn names_of(certificate: &Certificate) -> &[String] {
    certificate.names()
}
