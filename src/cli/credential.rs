//! `swingbridge credential`: makes what a web application's back end would make.

use std::env;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serde_json::json;

use crate::config::OperatingSystem;
use crate::config::Source as _;
use crate::config::prepare;
use crate::config::show_span;
use crate::proto::auth::credential::PasswordMac;
use crate::proto::auth::credential::mint_with;
use crate::proto::types::Secret;
use crate::proto::types::limits;

use super::CredentialArgs;
use super::Exit;
use super::args::CredentialFormat;
use super::args::CredentialMac;
use super::output;

mod mras;

/// Where a secret may stand beside a file.
pub(super) const SECRET_VARIABLE: &str = "SWINGBRIDGE_SECRET";

/// Prints a credential.
pub(crate) fn run(args: CredentialArgs) -> Exit {
    match credential(args) {
        Ok(text) => output::out(&text, Exit::Done),
        Err(message) => output::complain(&format!("error: {message}\n"), Exit::Wrong),
    }
}

fn credential(args: CredentialArgs) -> Result<String, String> {
    let CredentialArgs { secret, secret_file, user, ttl, mac, format, host, mras, key1_file, key2_file } =
        args;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| "this machine's clock stands before 1970")?;
    let expires_unix = expiry(now.as_secs(), ttl)?;
    let user = prepare("--user", &user).map_err(|why| format!("{}\n  help: {}", why.rule, why.fix))?;
    check_user(&user, expires_unix)?;
    if mras {
        let keys = mras::Keys::find(key1_file.as_deref(), key2_file.as_deref())?;
        return mras::credential(&keys, &user, expires_unix, ttl, format);
    }
    let mac = match mac {
        CredentialMac::Sha1 => PasswordMac::Sha1,
        CredentialMac::Sha256 => PasswordMac::Sha256,
    };
    let host = host.map(|host| authority(&host)).transpose()?;
    let secret = find_secret(secret.map(super::args::SecretArg::into_inner), secret_file.as_deref())?;
    let (username, password) = mint_with(mac, &secret, &user, expires_unix);
    Ok(render(format, &username, &password, expires_unix, ttl, host.as_deref()))
}

fn expiry(now: u64, ttl: Duration) -> Result<u64, String> {
    let max = limits::CREDENTIAL_LIFETIME_MAX;
    if ttl > max {
        let (ttl, max) = (show_span(ttl), show_span(max));
        return Err(format!(
            "--ttl {ttl} is too long: every server refuses more than {max}\n  help: write --ttl {max}"
        ));
    }
    if ttl.is_zero() {
        return Err("--ttl 0s would be over at once\n  help: write --ttl 8h".to_owned());
    }
    Ok(now.saturating_add(ttl.as_secs()))
}

fn check_user(user: &str, expires_unix: u64) -> Result<(), String> {
    if user.is_empty() {
        return Err("--user is empty\n  help: write the name that quotas shall count by".to_owned());
    }
    if user.chars().any(char::is_control) {
        return Err("--user holds a control character\n  help: write letters, digits and the like".to_owned());
    }
    let length = format!("{expires_unix}:{user}").len();
    if length > limits::USERNAME_MAX {
        let most = limits::USERNAME_MAX - (length - user.len());
        return Err(format!("--user has {} bytes\n  help: write at most {most}", user.len()));
    }
    Ok(())
}

pub(super) fn find_secret(argument: Option<String>, file: Option<&Path>) -> Result<Secret, String> {
    let bytes = if let Some(text) = argument {
        text.into_bytes()
    } else if let Some(path) = file {
        secret_of_file(path)?
    } else {
        let value = env::var_os(SECRET_VARIABLE).ok_or_else(|| {
            format!(
                "no secret\n  help: write --secret-file FILE, set {SECRET_VARIABLE}, or write --secret SECRET, which \
                 other users of this machine can see"
            )
        })?;
        value.into_encoded_bytes()
    };
    if bytes.is_empty() {
        return Err("the secret is empty\n  help: make one with `openssl rand -hex 32`".to_owned());
    }
    Ok(Secret::new(bytes))
}

pub(super) fn secret_of_file(path: &Path) -> Result<Vec<u8>, String> {
    let read = OperatingSystem::beside(Path::new("")).file(path);
    Ok(read.map_err(|error| format!("the file `{}` cannot be read: {error}", path.display()))?.trimmed())
}

/// `host` with a port, as it stands in a URI (RFC 7065 § 3).
fn authority(host: &str) -> Result<String, String> {
    const PORT: u16 = 3478;
    if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
        return Ok(SocketAddr::new(IpAddr::V6(ip), PORT).to_string());
    }
    if let Ok(endpoint) = host.parse::<SocketAddr>() {
        return Ok(endpoint.to_string());
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse::<u16>().ok().filter(|port| *port > 0)),
        None => (host, Some(PORT)),
    };
    let is_name =
        !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || "-._".contains(char));
    match port {
        Some(port) if is_name => Ok(format!("{name}:{port}")),
        _ => Err(format!(
            "--host {host:?} is no host\n  help: write a name or an address, with a port or without: \
             turn.example.net, 203.0.113.7:3478, [2001:db8::7]:3478"
        )),
    }
}

fn render(
    format: CredentialFormat,
    username: &str,
    password: &str,
    expires_unix: u64,
    ttl: Duration,
    host: Option<&str>,
) -> String {
    let url = host.map(|host| format!("turn:{host}?transport=udp"));
    match format {
        CredentialFormat::Text => {
            let url = url.map(|url| format!("url       {url}\n")).unwrap_or_default();
            let ttl = show_span(ttl);
            format!(
                "{url}username  {username}\npassword  {password}\nexpires   in {ttl}, at {expires_unix} (Unix time)\n"
            )
        }
        CredentialFormat::Json => {
            let urls: Vec<_> = url.into_iter().collect();
            let object = json!({
                "username": username,
                "password": password,
                "expires_unix": expires_unix,
                "ttl_s": ttl.as_secs(),
                "urls": urls,
            });
            format!("{object}\n")
        }
        CredentialFormat::IceServers => {
            let urls: Vec<_> = url.into_iter().collect();
            format!("{}\n", ice_servers(&urls, username, password))
        }
    }
}

/// What `new RTCPeerConnection({iceServers: …})` takes.
pub(crate) fn ice_servers(urls: &[String], username: &str, password: &str) -> serde_json::Value {
    json!([{ "urls": urls, "username": username, "credential": password }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (host, authority_) in [
            ("turn.example.net", "turn.example.net:3478"),
            ("turn.example.net:443", "turn.example.net:443"),
            ("203.0.113.7", "203.0.113.7:3478"),
            ("203.0.113.7:5349", "203.0.113.7:5349"),
            ("2001:db8::7", "[2001:db8::7]:3478"),
            ("[2001:db8::7]", "[2001:db8::7]:3478"),
            ("[2001:db8::7]:5349", "[2001:db8::7]:5349"),
        ] {
            assert_eq!(authority(host).as_deref(), Ok(authority_), "{host}");
        }
        for host in ["", ":3478", "a b", "turn:a.b", "a:0", "a:99999", "http://a", "a?x", "é.example", "a\"b"]
        {
            assert!(authority(host).is_err(), "{host:?} was taken");
        }
    }

    #[test]
    fn a_ttl_that_no_server_takes_is_refused() {
        assert_eq!(expiry(100, Duration::from_secs(28_800)), Ok(28_900));
        assert!(expiry(100, Duration::from_secs(28_801)).is_err());
        assert!(expiry(100, Duration::ZERO).is_err());
        assert_eq!(expiry(u64::MAX, Duration::from_secs(1)), Ok(u64::MAX));
    }

    #[test]
    fn a_name_that_does_not_fit_a_username_is_refused() {
        let fits = limits::USERNAME_MAX - "1700000000:".len();
        assert!(check_user(&"a".repeat(fits), 1_700_000_000).is_ok());
        assert!(check_user(&"a".repeat(fits + 1), 1_700_000_000).is_err());
        assert!(check_user("", 1_700_000_000).is_err());
        assert!(check_user("a\nb", 1_700_000_000).is_err());
    }

    #[test]
    fn ice_servers_are_json_whatever_the_name_holds() {
        let text =
            render(CredentialFormat::IceServers, "1:a\"b", "p", 1, Duration::from_secs(1), Some("h:1"));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value[0]["username"], "1:a\"b");
        assert_eq!(value[0]["urls"][0], "turn:h:1?transport=udp");
        assert_eq!(value[0]["credential"], "p");
    }
}
