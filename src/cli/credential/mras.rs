//! `swingbridge credential --mras`: what a media relay authentication service would hand out.

use std::env;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::config::show_span;
use crate::proto::auth::mras::MrasKey;
use crate::proto::auth::mras::TokenVersion;
use crate::proto::types::Secret;

use super::CredentialFormat;
use super::secret_of_file;

/// The pair that mints.
pub(super) struct Keys(MrasKey);

impl Keys {
    /// From two files, or the environment.
    pub(super) fn find(key1: Option<&Path>, key2: Option<&Path>) -> Result<Self, String> {
        let key1 = key("--key1-file", key1, "SWINGBRIDGE_MRAS_KEY1")?;
        let key2 = key("--key2-file", key2, "SWINGBRIDGE_MRAS_KEY2")?;
        if key1.expose() == key2.expose() {
            return Err(
                "both keys are the same\n  help: make two, each with `openssl rand -hex 32`".to_owned()
            );
        }
        Ok(Self(MrasKey::new(&key1, &key2)))
    }
}

fn key(option: &str, file: Option<&Path>, variable: &str) -> Result<Secret, String> {
    let bytes = match (file, env::var_os(variable)) {
        (Some(path), _) => secret_of_file(path)?,
        (None, Some(value)) => value.into_encoded_bytes(),
        (None, None) => {
            return Err(format!("a key is missing\n  help: write {option} FILE, or set {variable}"));
        }
    };
    if bytes.is_empty() {
        return Err(format!("the key of {option} is empty\n  help: make one with `openssl rand -hex 32`"));
    }
    Ok(Secret::new(bytes))
}

/// The pair for `user`, as text or JSON.
pub(super) fn credential(
    keys: &Keys,
    user: &str,
    expires_unix: u64,
    ttl: Duration,
    format: CredentialFormat,
) -> Result<String, String> {
    let token = keys.0.mint(TokenVersion::V1, user.as_bytes(), expires_unix);
    let username = BASE64_STANDARD.encode(&token.username);
    let password = BASE64_STANDARD.encode(token.password);
    Ok(match format {
        CredentialFormat::Text => format!(
            "username  {username}\npassword  {password}\nexpires   in {}, at {expires_unix} (Unix time)\n",
            show_span(ttl)
        ),
        CredentialFormat::Json => {
            let object = json!({
                "username": username,
                "password": password,
                "expires_unix": expires_unix,
                "ttl_s": ttl.as_secs(),
            });
            format!("{object}\n")
        }
        CredentialFormat::IceServers => {
            return Err("an MRAS credential is nothing for a web page\n  help: leave --mras or --format out"
                .to_owned());
        }
    })
}
