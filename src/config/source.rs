//! Where secrets come from that do not stand in the file itself.

use std::env;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;

/// What a secret's file holds.
#[derive(Debug)]
pub struct SecretFile {
    /// Its bytes as they are.
    pub bytes: Vec<u8>,
    /// Whether every user of the machine may read it.
    pub world_readable: bool,
}

impl SecretFile {
    /// The bytes without the one line end that editors and `echo` leave behind.
    #[must_use]
    pub fn trimmed(mut self) -> Vec<u8> {
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
            if self.bytes.last() == Some(&b'\r') {
                self.bytes.pop();
            }
        }
        self.bytes
    }
}

/// Environment and files, so that tests can bring their own.
pub trait Source {
    /// The environment variable `name`; `None` if it is not set.
    fn environment(&self, name: &str) -> Option<Vec<u8>>;

    /// The file at `path`, at most [`SECRET_FILE_MAX`] bytes.
    ///
    /// # Errors
    /// What the operating system says, or that the file is too long.
    fn file(&self, path: &Path) -> io::Result<SecretFile>;

    /// The file of a certificate chain or key at `path`, at most 256 KiB.
    ///
    /// # Errors
    /// What the operating system says, or that the file is too long.
    fn pem(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.file(path).map(|file| file.bytes)
    }

    /// The time in seconds since 1970-01-01 UTC, by which is judged what has expired; 0 where nothing has.
    fn unix(&self) -> u64 {
        0
    }
}

/// Bytes of a secret's file; a longer one is something else.
pub const SECRET_FILE_MAX: usize = 4_096;

/// Bytes of a file with certificates; a longer one is something else.
pub(super) const PEM_FILE_MAX: usize = 256 * 1_024;

/// The machine's own environment and files.
#[derive(Clone, Debug)]
pub struct OperatingSystem {
    folder: PathBuf,
}

impl OperatingSystem {
    /// Relative paths begin at the folder of the configuration file `config`.
    #[must_use]
    pub fn beside(config: &Path) -> Self {
        Self { folder: config.parent().map(Path::to_owned).unwrap_or_default() }
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
        let file = File::open(self.folder.join(path))?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((bytes, metadata))
    }
}

impl Source for OperatingSystem {
    fn environment(&self, name: &str) -> Option<Vec<u8>> {
        use std::os::unix::ffi::OsStringExt as _;
        // A name with these characters cannot be set, and asking for it would be a panic on some systems.
        if name.is_empty() || name.contains(['=', '\0']) {
            return None;
        }
        env::var_os(name).map(std::ffi::OsString::into_vec)
    }

    fn file(&self, path: &Path) -> io::Result<SecretFile> {
        use std::os::unix::fs::PermissionsExt as _;
        let (bytes, metadata) = self.read(path, SECRET_FILE_MAX)?;
        Ok(SecretFile { bytes, world_readable: metadata.permissions().mode() & 0o004 != 0 })
    }

    fn pem(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.read(path, PEM_FILE_MAX).map(|(bytes, _)| bytes)
    }

    fn unix(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }
}

/// Holds nothing: for the embedded defaults, which name no file and no variable.
pub(crate) struct Nowhere;

impl Source for Nowhere {
    fn environment(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }

    fn file(&self, _path: &Path) -> io::Result<SecretFile> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_line_end_goes_and_no_more() {
        for (given, left) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a \n", "a "), ("a", "a"), ("", "")]
        {
            let file = SecretFile { bytes: given.into(), world_readable: false };
            assert_eq!(file.trimmed(), left.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn a_file_is_read_beside_the_configuration_with_its_mode_and_not_without_end() {
        let folder = env::temp_dir().join(format!("swingbridge-source-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder of our own");
        let path = folder.join("secret");
        fs::write(&path, "hush\n").expect("writable");
        let source = OperatingSystem::beside(&folder.join("swingbridge.toml"));
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our own file");
            let read = source.file(Path::new("secret")).expect("readable");
            assert_eq!((read.bytes.as_slice(), read.world_readable), (b"hush\n".as_slice(), open));
        }
        assert!(source.file(Path::new("none")).is_err());
        assert!(source.file(&folder).is_err());
        assert_eq!(
            source.file(Path::new("/dev/zero")).expect_err("endless").kind(),
            io::ErrorKind::FileTooLarge
        );
        fs::remove_dir_all(&folder).expect("our own folder");
    }

    #[test]
    fn a_name_that_no_variable_can_have_is_not_set() {
        let source = OperatingSystem::beside(Path::new("x"));
        for name in ["", "A=B", "A\0B"] {
            assert_eq!(source.environment(name), None);
        }
    }

    /// A machine where systemd handed over one credential.
    struct Handed {
        folder: Option<&'static str>,
    }

    impl Source for Handed {
        fn environment(&self, name: &str) -> Option<Vec<u8>> {
            (name == "CREDENTIALS_DIRECTORY").then_some(self.folder?.into())
        }

        fn file(&self, path: &Path) -> io::Result<SecretFile> {
            match path.to_str() {
                Some("/run/credentials/swingbridge.service/turn-secret") => {
                    Ok(SecretFile { bytes: b"0123456789abcdef\n".to_vec(), world_readable: false })
                }
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    #[test]
    fn secrets_and_passwords_come_from_what_systemd_hands_over() {
        let text = "[auth]\nsecrets = [{ credential = \"turn-secret\" }]\n\
                    users = { alice = { credential = \"turn-secret\" } }";
        let here = Handed { folder: Some("/run/credentials/swingbridge.service") };
        let loaded = crate::config::load("a.toml", text, &here);
        let checked = loaded.checked.unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
        let built = checked.build(&crate::config::Machine::default()).credentials;
        assert_eq!(built.secrets[0].expose(), b"0123456789abcdef");
        assert_eq!(built.users[0].1.expose(), b"0123456789abcdef");
    }

    #[test]
    fn a_credential_that_was_not_handed_over_is_told_with_the_line_that_would() {
        let report = |folder, name: &str| {
            let text = format!("[auth]\nsecrets = [{{ credential = \"{name}\" }}]");
            crate::config::load("a.toml", &text, &Handed { folder }).report.render(false)
        };
        let unset = report(None, "turn-secret");
        assert!(unset.contains("CREDENTIALS_DIRECTORY is not set"), "{unset}");
        assert!(unset.contains("LoadCredential=turn-secret:"), "{unset}");
        let missing = report(Some("/run/credentials/swingbridge.service"), "other");
        assert!(missing.contains("the credential `other` cannot be read: there is none"), "{missing}");
        for name in ["", ".", "..", "../swingbridge.service/turn-secret", "/etc/shadow", "a\\u0000b"] {
            let shown = report(Some("/run/credentials/swingbridge.service"), name);
            assert!(shown.contains("is no name of a credential"), "{shown}");
        }
    }
}
