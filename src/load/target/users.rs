//! Who the clients of a load say they are: one user, or as many as a quota for each user makes necessary.

use std::time::Duration;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::plan::Who;
use crate::proto::auth::credential::PasswordMac;
use crate::proto::auth::credential::mint_with;
use crate::proto::auth::mras::MrasKey;
use crate::proto::auth::mras::TokenVersion;
use crate::proto::client::Credential;
use crate::proto::client::Proof;
use crate::proto::types::Secret;
use crate::proto::types::limits;

/// What the clients of a load get in by.
#[derive(Clone, Debug)]
pub enum Access {
    /// One user that the server knows.
    Static {
        /// Its name, as OpaqueString (RFC 8265) leaves it.
        user: String,
        /// Its password, likewise.
        password: Secret,
    },
    /// Names that end, made of a secret that the server shares.
    Shared {
        /// The secret.
        secret: Secret,
        /// What the passwords are made with.
        mac: PasswordMac,
    },
    /// Tokens of the old communicators, made of the two keys that their service and the server share.
    Mras {
        /// The key of names.
        key1: Secret,
        /// The key of passwords.
        key2: Secret,
    },
}

/// Makes `count` users, called `name`-1, `name`-2 and so on, whose credentials are good from `now_unix` (seconds since 1970) on
/// for `lifetime`. Where the server knows one user only there is one.
///
/// In the old dialect names and passwords are bytes, and are not in base64 here.
///
/// # Errors
/// [`FaultKind::Request`] for what no server would take.
pub fn who(access: &Access, name: &str, count: u32, now_unix: u64, lifetime: Duration) -> Result<Who, Fault> {
    let request = |what: String| Fault::new(FaultKind::Request, what);
    if let Access::Static { user, password } = access {
        if count > 1 {
            return Err(request(format!("--users {count}: --user and --password name one user only"))
                .cure("write --secret, of which users are made, or raise the server's quota for this one"));
        }
        check_name("--user", user)?;
        if password.expose().is_empty() {
            return Err(request("the password is empty".to_owned()).cure("write --password WORD"));
        }
        return Ok(Who::One(credential(user.as_bytes(), password.expose())));
    }
    check_count(count)?;
    let max = limits::CREDENTIAL_LIFETIME_MAX;
    if lifetime > max || lifetime.is_zero() {
        let what = format!(
            "credentials of {} s: every server refuses more than {} s",
            lifetime.as_secs(),
            max.as_secs()
        );
        return Err(request(what).cure("let the load end sooner"));
    }
    let expires_unix = now_unix.saturating_add(lifetime.as_secs());
    let mint = minter(access)?;
    let mut all = Vec::new();
    for number in 1..=count {
        let user = format!("{name}-{number}");
        check_name("the users' name", &format!("{expires_unix}:{user}"))?;
        all.push(mint(&user, expires_unix));
    }
    Ok(if all.len() == 1 { Who::One(all.remove(0)) } else { Who::Many(all) })
}

type Mint = Box<dyn Fn(&str, u64) -> Credential>;

fn minter(access: &Access) -> Result<Mint, Fault> {
    let empty = |what: &str| {
        let fault = Fault::new(FaultKind::Request, format!("{what} is empty"));
        Err(fault.cure("write the one that the server has, or make one with `openssl rand -hex 32`"))
    };
    match access {
        Access::Static { user, password } => {
            let credential = credential(user.as_bytes(), password.expose());
            Ok(Box::new(move |_, _| credential.clone()))
        }
        Access::Shared { secret, .. } if secret.expose().is_empty() => empty("the secret"),
        Access::Shared { secret, mac } => {
            let (secret, mac) = (secret.clone(), *mac);
            Ok(Box::new(move |user, expires_unix| {
                let (username, password) = mint_with(mac, &secret, user, expires_unix);
                credential(username.as_bytes(), password.as_bytes())
            }))
        }
        Access::Mras { key1, .. } if key1.expose().is_empty() => empty("the first MRAS key"),
        Access::Mras { key2, .. } if key2.expose().is_empty() => empty("the second MRAS key"),
        Access::Mras { key1, key2 } if key1.expose() == key2.expose() => {
            let what = "both MRAS keys are the same, which no server takes";
            Err(Fault::new(FaultKind::Request, what).cure("name the two files that the server has"))
        }
        Access::Mras { key1, key2 } => {
            let key = MrasKey::new(key1, key2);
            Ok(Box::new(move |user, expires_unix| {
                let token = key.mint(TokenVersion::V1, user.as_bytes(), expires_unix);
                credential(&token.username, &token.password)
            }))
        }
    }
}

/// How many users there may be.
pub(super) fn check_count(count: u32) -> Result<(), Fault> {
    if (1..=limits::LOAD_USERS_MAX).contains(&count) {
        return Ok(());
    }
    let fault = Fault::new(FaultKind::Request, format!("--users {count} is out of range"));
    Err(fault.cure(format!("write a number from 1 to {}", limits::LOAD_USERS_MAX)))
}

/// A name and a password, in bytes.
pub(super) fn credential(username: &[u8], password: &[u8]) -> Credential {
    let proof = Proof::Password(Secret::new(password));
    Credential { username: username.into(), proof, token: None }
}

fn check_name(option: &str, name: &str) -> Result<(), Fault> {
    let request = |what: String| Fault::new(FaultKind::Request, what);
    if name.is_empty() {
        return Err(request(format!("{option} is empty")).cure("write the name that the server knows"));
    }
    if name.chars().any(char::is_control) {
        let what = format!("{option} holds a control character");
        return Err(request(what).cure("write letters, digits and the like"));
    }
    if name.len() > limits::USERNAME_MAX {
        return Err(request(format!("{option} has {} bytes", name.len()))
            .cure(format!("write at most {}", limits::USERNAME_MAX)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes())
    }

    fn shared() -> Access {
        Access::Shared { secret: secret("shared"), mac: PasswordMac::Sha1 }
    }

    fn shown(credential: &Credential) -> (Vec<u8>, Vec<u8>) {
        match &credential.proof {
            Proof::Password(password) => (credential.username.to_vec(), password.expose().to_vec()),
            Proof::Key(_) => panic!("a password"),
        }
    }

    #[test]
    fn a_static_user_is_one() {
        let access = Access::Static { user: "alice".to_owned(), password: secret("wonder") };
        match who(&access, "load", 1, NOW, HOUR) {
            Ok(Who::One(one)) => assert_eq!(shown(&one), (b"alice".to_vec(), b"wonder".to_vec())),
            other => panic!("{other:?}"),
        }
        let fault = who(&access, "load", 2, NOW, HOUR).expect_err("one only").to_string();
        assert!(fault.contains("--users 2") && fault.contains("--secret"), "{fault}");
    }

    #[test]
    fn a_secret_makes_users_that_differ_and_whose_names_end() {
        let Ok(Who::Many(many)) = who(&shared(), "load", 3, NOW, HOUR) else { panic!("many") };
        let expected: Vec<_> = ["load-1", "load-2", "load-3"]
            .map(|user| mint_with(PasswordMac::Sha1, &secret("shared"), user, NOW + 3_600))
            .map(|(name, password)| (name.into_bytes(), password.into_bytes()))
            .into();
        assert_eq!(many.iter().map(shown).collect::<Vec<_>>(), expected);
        assert!(expected[0].0.starts_with(b"1700003600:load-1"));
        assert!(matches!(who(&shared(), "load", 1, NOW, HOUR), Ok(Who::One(_))));
    }

    #[test]
    fn mras_keys_make_tokens_in_bytes() {
        let access = Access::Mras { key1: secret("one"), key2: secret("two") };
        let Ok(Who::Many(many)) = who(&access, "load", 2, NOW, HOUR) else { panic!("many") };
        let token =
            MrasKey::new(&secret("one"), &secret("two")).mint(TokenVersion::V1, b"load-1", NOW + 3_600);
        assert_eq!(shown(&many[0]), (token.username.to_vec(), token.password.to_vec()));
        assert_ne!(shown(&many[0]), shown(&many[1]));
    }

    #[test]
    fn what_no_server_would_take_is_refused() {
        let mras = |one: &str, two: &str| Access::Mras { key1: secret(one), key2: secret(two) };
        let named = |user: &str| Access::Static { user: user.to_owned(), password: secret("p") };
        let nameless = Access::Static { user: "a".to_owned(), password: secret("") };
        let empty = Access::Shared { secret: secret(""), mac: PasswordMac::Sha256 };
        let long = "x".repeat(limits::USERNAME_MAX + 1);
        for (access, name, count, lifetime, said) in [
            (shared(), "load", 0, HOUR, "--users 0"),
            (shared(), "load", limits::LOAD_USERS_MAX + 1, HOUR, "out of range"),
            (shared(), "load", 1, Duration::ZERO, "credentials of 0 s"),
            (shared(), "load", 1, limits::CREDENTIAL_LIFETIME_MAX + Duration::from_secs(1), "credentials of"),
            (shared(), &*long, 1, HOUR, "the users' name has"),
            (shared(), "a\nb", 1, HOUR, "control character"),
            (empty, "load", 1, HOUR, "the secret is empty"),
            (mras("", "b"), "load", 1, HOUR, "the first MRAS key is empty"),
            (mras("a", ""), "load", 1, HOUR, "the second MRAS key is empty"),
            (mras("a", "a"), "load", 1, HOUR, "the same"),
            (named(""), "load", 1, HOUR, "--user is empty"),
            (named(&long), "load", 1, HOUR, "--user has"),
            (named("a\0b"), "load", 1, HOUR, "control character"),
            (nameless, "load", 1, HOUR, "the password is empty"),
        ] {
            let fault = who(&access, name, count, NOW, lifetime).expect_err(said);
            assert_eq!(fault.kind, FaultKind::Request, "{fault}");
            assert!(fault.what.contains(said) && fault.cure.is_some(), "{said}: {fault}");
        }
    }
}
