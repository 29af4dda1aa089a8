//! What outlives the process: the account's key and the certificate with its key, each a file that its owner alone can
//! read, in a folder of the state directory that belongs to one authority.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use instant_acme::AccountCredentials;
use sha2::Digest as _;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::net::Certificate;
use crate::proto::types::limits;

const ACCOUNT: &str = "account.json";
const CERTIFICATE: &str = "certificate.pem";
const PROBE: &str = "probe";

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Store(PathBuf);

impl Store {
    /// For the authority behind `directory`: what another one knows or signed is of no use to it.
    pub(super) fn new(state: &Path, directory: &str) -> Self {
        let digest = Sha256::digest(directory.as_bytes());
        let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self(state.join("acme").join(name))
    }

    /// Finds out whether anything can be kept, before something is ordered that would be lost.
    pub(super) fn probe(&self) -> io::Result<()> {
        self.write(PROBE, &[])?;
        fs::remove_file(self.0.join(PROBE))
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// The file of the certificate.
    pub(super) fn certificate_file(&self) -> PathBuf {
        self.0.join(CERTIFICATE)
    }

    /// The account that was made before; `None` if there is none.
    pub(super) fn account(&self) -> io::Result<Option<AccountCredentials>> {
        let Some(text) = self.read(ACCOUNT)? else { return Ok(None) };
        // What the library says of a mistake could show what stands there.
        let read = serde_json::from_slice(&text);
        read.map(Some).map_err(|_| io::Error::other("the file of the account cannot be understood"))
    }

    /// The account is of no use any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(self.0.join(ACCOUNT));
    }

    pub(super) fn keep_account(&self, account: &AccountCredentials) -> io::Result<()> {
        let text = serde_json::to_vec(account).map(Zeroizing::new);
        let text = text.map_err(|_| io::Error::other("the account cannot be written down"))?;
        self.write(ACCOUNT, &text)
    }

    /// The certificate that was got before; `None` if there is none.
    pub(super) fn certificate(&self) -> io::Result<Option<Certificate>> {
        let Some(both) = self.read(CERTIFICATE)? else { return Ok(None) };
        Certificate::from_pem(&both, &both).map(Some).map_err(io::Error::other)
    }

    /// Both stand in one file, so that never one is kept without the other.
    pub(super) fn keep_certificate(&self, chain: &str, key: &str) -> io::Result<()> {
        let both = Zeroizing::new([key.trim_end(), "\n", chain.trim_end(), "\n"].concat());
        self.write(CERTIFICATE, both.as_bytes())
    }

    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let file = match File::open(self.0.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(limits::ACME_FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limits::ACME_FILE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(bytes))
    }

    /// Whole or not at all: it is written under another name first.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let draft = self.0.join(format!("{name}.draft"));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let written =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&draft, self.0.join(name))
            });
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("swingbridge-acme-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_certificate_is_kept_with_its_key_for_its_owner_alone_and_per_authority() {
        let state = scratch("kept");
        let store = Store::new(&state, "https://a.example/directory");
        assert!(store.certificate().expect("nothing is there").is_none());
        store.probe().expect("a folder of our own");
        assert_eq!(fs::read_dir(store.folder()).expect("made").count(), 0, "the probe is gone");
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a sound name");
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        for _ in 0..2 {
            store.keep_certificate(&chain, &key).expect("kept");
        }
        assert_eq!(store.certificate().expect("readable").expect("there").names(), ["a.example"]);
        let mode = fs::metadata(store.certificate_file()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::metadata(store.folder()).expect("there").permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(store.folder()).expect("there").count(), 1, "no draft is left");
        let other = Store::new(&state, "https://b.example/directory");
        assert!(other.certificate().expect("nothing is there").is_none());
        let _ = fs::remove_dir_all(state);
    }

    #[test]
    fn what_is_broken_or_endless_is_told_and_never_shown() {
        let state = scratch("broken");
        let store = Store::new(&state, "https://a.example/directory");
        store.write(ACCOUNT, b"{\"id\":\"hush-hush\"").expect("written");
        let Err(error) = store.account() else { panic!("half a file") };
        assert!(!error.to_string().contains("hush"), "{error}");
        store.write(CERTIFICATE, b"hush-hush").expect("written");
        let error = store.certificate().expect_err("no certificate");
        assert!(!error.to_string().contains("hush"), "{error}");
        store.write(CERTIFICATE, &vec![b' '; limits::ACME_FILE_MAX + 1]).expect("written");
        assert_eq!(store.certificate().expect_err("too long").kind(), io::ErrorKind::FileTooLarge);
        assert!(Store::new(Path::new("/dev/null"), "https://a.example/").probe().is_err());
        let _ = fs::remove_dir_all(state);
    }
}
