//! Names of network interfaces.

use toml::de::DeValue;

use crate::proto::types::limits;

use super::file::article;
use super::read::Located;
use super::read::Reader;
use super::value::Complaint;

/// What Linux lets a name be: IFNAMSIZ without the zero behind it.
const NAME_LEN_MAX: usize = 15;
const EXAMPLE: &str = "write a name that `ip link` shows: kernel_interfaces = [\"eth0\"]";

impl Reader<'_, '_> {
    /// Names of network interfaces, each once.
    pub(super) fn interfaces(&mut self, path: &str) -> Vec<Located<String>> {
        let mut known: Vec<String> = Vec::new();
        self.array(path, |reader, key, span, value| {
            let read = match value {
                DeValue::String(text) => interface(text),
                _ => Err(Complaint::new(
                    format!("the name of a network interface is expected, not {}", article(value)),
                    EXAMPLE,
                )),
            };
            let read = read.and_then(|name| match known.len() {
                _ if known.contains(&name) => {
                    Err(Complaint::new(format!("`{name}` stands there twice"), "write it once"))
                }
                limits::KERNEL_INTERFACES_MAX.. => Err(Complaint::new(
                    format!("more than {} interfaces", limits::KERNEL_INTERFACES_MAX),
                    "name those that media comes by",
                )),
                _ => Ok(name),
            });
            let name = read.map_err(|complaint| reader.error(key, span, complaint)).ok()?;
            known.push(name.clone());
            Some(name)
        })
    }
}

fn interface(text: &str) -> Result<String, Complaint> {
    let is_name = (1..=NAME_LEN_MAX).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(Complaint::new(format!("`{text}` is no name of a network interface"), EXAMPLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces() {
        for name in ["eth0", "enp3s0f1np1", "wg-relay", "br.100", "fifteen-bytes-x"] {
            assert_eq!(interface(name).as_deref(), Ok(name));
        }
        for name in ["", ".", "..", "a/b", "eth0:1", "eth 0", "éth0", "sixteen-bytes-xy", "eth0\n"] {
            assert!(interface(name).is_err(), "{name:?} was taken");
        }
    }
}
