//! `conf/full.toml`: every key with what it means and its default.

use std::fmt::Write as _;

use super::schema::KEYS;
use super::schema::Key;
use super::schema::Kind;
use super::schema::Takes;
use super::schema::Unset;

const HEAD: &str = "\
# Every key of Swingbridge, with its default. Generated from src/config/schema.rs: a test keeps both alike.
#
# A key that is left out has the default shown here, so a file of your own need hold only what differs; begin with
# minimal.toml or webrtc.toml. A key behind `#` has no default, and its line is an example.
# `swingbridge check FILE` names every mistake. SIGHUP reads the file again: keys that say so take effect at
# once, the others at the next start.
";

/// The text of `conf/full.toml`.
#[must_use]
pub fn full() -> String {
    let mut out = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        out.push('\n');
        if key.section() != section {
            section = key.section();
            // Writing to a String cannot fail.
            let _ = writeln!(out, "[{section}]");
        }
        one(key, &mut out);
    }
    out
}

fn one(key: &Key, out: &mut String) {
    for line in key.doc.lines() {
        let _ = writeln!(out, "# {line}");
    }
    if key.takes == Takes::Live {
        out.push_str("# A reload brings it in.\n");
    }
    match (key.unset, key.kind) {
        (Unset::Value(default), _) => {
            let _ = writeln!(out, "{} = {default}", key.name());
        }
        // The one thing that has no default and without which nothing works.
        (Unset::Nothing { example, .. }, Kind::Secrets) => {
            let _ = writeln!(out, "{} = {example}", key.name());
        }
        (Unset::Nothing { example, meaning }, _) => {
            let _ = writeln!(out, "# Left out: {meaning}.\n# {} = {example}", key.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::LazyLock;

    use super::*;
    use crate::config;
    use crate::config::SecretFile;
    use crate::config::Severity;
    use crate::config::Source;

    struct OneSecret;

    impl Source for OneSecret {
        fn environment(&self, name: &str) -> Option<Vec<u8>> {
            (name == "SWINGBRIDGE_SECRET").then(|| b"0123456789abcdef0123456789abcdef".to_vec())
        }

        fn file(&self, path: &Path) -> io::Result<SecretFile> {
            // Base64 of 32 bytes: a good secret, and a good key of access tokens.
            let mut bytes = b"bm9ib2R5LW1heS1zZWUhIW5vYm9keS1tYXktc2VlISE=\n".to_vec();
            // The keys of a pair must differ.
            if path.ends_with("mras2.key") {
                bytes[0] = b'c';
            }
            Ok(SecretFile { bytes, world_readable: false })
        }

        fn pem(&self, path: &Path) -> io::Result<Vec<u8>> {
            static MADE: LazyLock<[String; 2]> = LazyLock::new(|| {
                let made = rcgen::generate_simple_self_signed(vec!["turn.example.net".to_owned()]);
                let made = made.expect("a sound name");
                [made.cert.pem(), made.signing_key.serialize_pem()]
            });
            let [chain, key] = &*MADE;
            Ok(if path == Path::new("key.pem") { key } else { chain }.clone().into_bytes())
        }
    }

    fn read(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name);
        std::fs::read_to_string(&path).unwrap_or_default()
    }

    /// `SWINGBRIDGE_BLESS=1 cargo test --lib generate` writes the file anew.
    #[test]
    fn the_committed_file_is_the_generated_one() {
        if std::env::var_os("SWINGBRIDGE_BLESS").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/full.toml");
            std::fs::write(path, full()).expect("the checkout is writable");
        }
        assert_eq!(read("full.toml"), full(), "run: SWINGBRIDGE_BLESS=1 cargo test --lib generate");
    }

    #[test]
    fn every_committed_configuration_is_sound() {
        for name in
            ["minimal.toml", "webrtc.toml", "office-communicator.toml", "full.toml", "testbed/loopback.toml"]
        {
            let loaded = config::load(name, &read(name), &OneSecret);
            assert!(!read(name).is_empty(), "conf/{name} is missing");
            assert_eq!(loaded.report.problems(), [], "{}", loaded.report.render(false));
        }
    }

    #[test]
    fn every_example_is_sound_too() {
        let names: Vec<_> = KEYS.iter().map(|key| format!("# {} = ", key.name())).collect();
        let text: String = full()
            .lines()
            .map(|line| match names.iter().any(|name| line.starts_with(name)) {
                true => format!("{}\n", &line[2..]),
                false => format!("{line}\n"),
            })
            .collect();
        let loaded = config::load("full.toml", &text, &OneSecret);
        assert_eq!(loaded.report.count(Severity::Error), 0, "{}", loaded.report.render(false));
        assert!(text.contains("\naddresses = ["));
    }

    #[test]
    fn lines_fit_a_terminal() {
        for line in full().lines() {
            assert!(line.chars().count() <= 118, "{line}");
        }
    }
}
