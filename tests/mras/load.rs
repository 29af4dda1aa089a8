//! The load generator asks for its users as a front end does.

use std::path::PathBuf;
use std::time::Duration;

use swingbridge::load::plan::Trust;
use swingbridge::load::plan::Who;
use swingbridge::load::target::mras::Service;
use swingbridge::load::target::mras::fetch;
use swingbridge::mras::Door;
use swingbridge::proto::auth::mras::TokenVersion;
use swingbridge::proto::client::Proof;

use crate::house::FRONT_END;
use crate::house::House;
use crate::house::UNIX;
use crate::house::key;
use crate::pki::Ca;

/// A folder that is gone when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("swingbridge-mras-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn users_come_from_the_service_and_who_may_not_ask_is_told() {
    let (house, folder) = (House::open(), Folder::new("fetch"));
    let stranger = Ca::new("another authority");
    let write = |name: &str, identity: &crate::pki::Identity| {
        (
            folder.write(&format!("{name}.pem"), &identity.chain),
            folder.write(&format!("{name}.key"), &identity.key),
        )
    };
    let (certificate, own) = write("own", &house.front_end);
    let authority = folder.write("ca.pem", house.ca.pem());
    let service = Service {
        uri: format!("https://localhost:{}", house.address(Door::Https).port()),
        trust: Trust::Authority(authority),
        certificate,
        key: own,
    };
    // The doors of this house are at 127.0.0.1 alone, whatever else the name is.
    let hour = Duration::from_secs(3_600);
    let Who::Many(users) = fetch(&service, "load", 150, hour).expect("granted") else { panic!("many") };
    assert_eq!(users.len(), 150, "more than one request may ask for");
    for (number, user) in [(1, &users[0]), (150, &users[149])] {
        let identity = format!("sip:load-{number}");
        let token = key(b"the first key").mint(TokenVersion::V1, identity.as_bytes(), UNIX + 3_600);
        let Proof::Password(password) = &user.proof else { panic!("a password") };
        assert_eq!((&user.username[..], password.expose()), (&token.username[..], &token.password[..]));
    }

    let (certificate, own) = write("stranger", &stranger.identity(&[FRONT_END]));
    let fault =
        fetch(&Service { certificate, key: own, ..service.clone() }, "load", 1, hour).expect_err("unknown");
    assert!(fault.to_string().contains("certificate"), "{fault}");
    let trust = Trust::Authority(folder.write("other.pem", stranger.pem()));
    let fault = fetch(&Service { trust, ..service.clone() }, "load", 1, hour).expect_err("not believed");
    assert!(fault.to_string().contains("--authority FILE"), "{fault}");
    let uri = format!("{}/elsewhere", service.uri);
    let fault = fetch(&Service { uri, ..service }, "load", 1, hour).expect_err("not there");
    assert!(fault.what.contains("404"), "{fault}");
}
