//! The rules of the doors of the MRAS service.

use crate::config::read::Located;
use crate::proto::types::limits;

use super::Rules;
use super::overlap;

const FRONT_ENDS: &str = "mras.front_ends";

impl Rules<'_> {
    pub(super) fn mras_doors(&mut self) {
        let doors = &self.checked.mras_doors;
        let all =
            [("mras.https", &doors.https), ("mras.sip", &doors.sip), ("mras.sip_plain", &doors.sip_plain)];
        for (index, (key, door)) in all.into_iter().enumerate() {
            let Located { value: Some(address), span } = door else { continue };
            if address.port() == 0 || address.ip().is_multicast() {
                let fix = "write an address of this machine with a port: \"10.0.0.5:5062\"";
                self.error(key, span, format!("no front end could reach {address}"), fix);
            }
            self.mapped(key, address.ip(), span);
            let earlier = all[..index].iter().filter_map(|(other, door)| door.value.map(|at| (*other, at)));
            let streams = self.checked.streams.iter().map(|listener| ("listen.stream", listener.value.bind));
            let admin = self.checked.admin.value.map(|at| ("admin.listen", at));
            if let Some((other, at)) =
                earlier.chain(streams).chain(admin).find(|(_, other)| overlap(*other, *address))
            {
                let rule = format!("{address} and {at} of {other} take the same connections");
                self.error(key, span, rule, "write another port to one of them");
            }
            if self.checked.mras.is_empty() && self.sound("mras.keys") {
                let fix = "write below [mras] keys = [{ key1 = { file = \"mras1.key\" }, key2 = { file = \"mras2.key\" } }]";
                self.error(key, span, "without keys there is nothing to hand out", fix);
            }
        }
        self.proof();
        if let Located { value: Some(address), span } = &doors.sip_plain
            && !address.ip().is_loopback()
        {
            let rule = format!("whoever reaches {address} would be handed credentials for anybody");
            let fix = "write \"127.0.0.1:5061\", with a TLS proxy on this machine in front; sip = \"0.0.0.0:5062\" asks for \
                       certificates itself";
            self.error("mras.sip_plain", span, rule, fix);
        }
        self.front_ends();
    }

    /// What the doors cannot do without that demand a certificate.
    fn proof(&mut self) {
        let checked = self.checked;
        let doors = &checked.mras_doors;
        for (key, door) in [("mras.https", &doors.https), ("mras.sip", &doors.sip)] {
            if door.value.is_none() {
                continue;
            }
            let span = &door.span;
            if doors.authority.is_none() && self.sound("mras.client_ca") {
                let fix = "write below [mras] client_ca = \"front-ends-ca.pem\"";
                self.error(key, span, "no authority is named that front ends are believed by", fix);
            }
            if doors.front_ends.is_empty() && self.sound(FRONT_ENDS) {
                let fix = "write below [mras] front_ends = [\"pool.example.com\"]";
                self.error(key, span, "no front end is named that may come in", fix);
            }
            let unsound = !self.sound("mras.certificates") || !self.sound("tls.certificates");
            if doors.certificates.is_empty() && checked.certificates.is_empty() && !unsound {
                let fix = "write [[tls.certificates]] with chain and key, or certificates below [mras]";
                self.error(key, span, "there is no certificate to show to front ends", fix);
            }
        }
    }

    fn front_ends(&mut self) {
        let front_ends = &self.checked.mras_doors.front_ends;
        if front_ends.len() > limits::MRAS_FRONT_ENDS_MAX {
            let span = self.span_of(FRONT_ENDS);
            let fix = format!("write at most {}", limits::MRAS_FRONT_ENDS_MAX);
            self.error(FRONT_ENDS, &span, "too many front ends", fix);
        }
        for (index, Located { value: name, span }) in front_ends.iter().enumerate() {
            if front_ends[..index].iter().any(|other| other.value == *name) {
                self.warning(FRONT_ENDS, span, format!("`{name}` stands here twice"), "keep one of them");
            }
        }
        if self.checked.mras_doors.certificates.len() > limits::CERTIFICATES_MAX {
            let span = self.span_of("mras.certificates");
            let fix = format!("write at most {}", limits::CERTIFICATES_MAX);
            self.error("mras.certificates", &span, "too many certificates", fix);
        }
    }
}
