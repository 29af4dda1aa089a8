//! What a changed file cannot change while the server runs.

use super::load::Listed;
use super::schema::Key;
use super::schema::Takes;

/// The keys that take a restart and whose value is another in `after` than in `before`, in the order of the schema.
///
/// Values are compared by what they mean: another layout, or a default that is written out, is no change. Where
/// `before` is what the server was started with, these are the keys in which it runs with something else than its file
/// says.
#[must_use]
pub fn needs_restart(before: &[Listed], after: &[Listed]) -> Vec<&'static Key> {
    let value_before =
        |key: &Key| before.iter().find(|listed| listed.key.path == key.path).map(|listed| &listed.value);
    let changed = after.iter().filter(|listed| {
        listed.key.takes == Takes::Restart
            && value_before(listed.key).is_none_or(|before| !means_the_same(before, &listed.value))
    });
    changed.map(|listed| listed.key).collect()
}

/// Whether two values, in TOML or as a remark about a key without one, mean the same.
fn means_the_same(one: &str, other: &str) -> bool {
    one == other || matches!((meaning(one), meaning(other)), (Some(one), Some(other)) if one == other)
}

fn meaning(value: &str) -> Option<toml::Value> {
    let table: toml::Table = format!("value = {value}").parse().ok()?;
    table.get("value").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::config::OperatingSystem;
    use crate::config::schema::KEYS;
    use crate::config::schema::Unset;

    const SECRET: &str = "auth.secrets = [\"0123456789abcdef\"]\n";

    fn listed(text: &str) -> Vec<Listed> {
        let source = OperatingSystem::beside(std::path::Path::new("a.toml"));
        let loaded = config::load("a.toml", &format!("{text}\n{SECRET}"), &source);
        loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false))).listed().to_vec()
    }

    fn between(before: &str, after: &str) -> Vec<&'static str> {
        needs_restart(&listed(before), &listed(after)).into_iter().map(|key| key.path).collect()
    }

    #[test]
    fn each_key_that_takes_a_restart_is_named_when_it_changes_and_no_other() {
        let before = "realm = \"one\"\nlisten.udp = [\"127.0.0.1:3478\"]\nlimits.allocations_per_user = 1\n";
        assert_eq!(between(before, before), Vec::<&str>::new());
        let after = "realm = \"two\"\nlisten.udp = [\"127.0.0.1:3479\"]\nlimits.allocations_per_user = 2\n\
                     log = { format = \"json\", level = \"debug\" }\npeers.deny = [\"8.8.8.8\"]\n";
        assert_eq!(between(before, after), ["realm", "listen.udp", "log.format"]);
        assert_eq!(between(after, before), ["realm", "listen.udp", "log.format"]);
    }

    #[test]
    fn a_key_without_a_default_is_named_when_it_comes_and_when_it_goes() {
        let with = "relay.addresses = [\"203.0.113.7\"]";
        assert_eq!(between("", with), ["relay.addresses"]);
        assert_eq!(between(with, ""), ["relay.addresses"]);
    }

    #[test]
    fn another_layout_and_a_default_written_out_are_no_change() {
        for (before, after) in [
            (
                "listen.udp = [\"127.0.0.1:1\", \"127.0.0.1:2\"]",
                "listen.udp = [\n '127.0.0.1:1',\n '127.0.0.1:2',\n]",
            ),
            ("", "listen.udp = ['0.0.0.0:3478', '[::]:3478']\nrelay.ports = \"50000-59999\""),
            ("relay.workers = 0", ""),
        ] {
            assert_eq!(between(before, after), Vec::<&str>::new(), "{after}");
            assert_eq!(between(after, before), Vec::<&str>::new(), "{after}");
        }
    }

    #[test]
    fn every_default_has_a_meaning() {
        for key in KEYS {
            if let Unset::Value(default) = key.unset {
                assert!(meaning(default).is_some(), "{}", key.path);
            }
        }
    }
}
