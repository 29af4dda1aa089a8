//! The scenarios of `conf/testbed/faults/`.

use std::sync::Arc;

use super::Scenario;
use super::Scenarios;

macro_rules! files {
    ($($name:literal,)*) => {
        /// Name and text of each.
        pub(super) const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../conf/testbed/faults/", $name, ".toml"))),)*
        ];
    };
}

files! {
    "address-change",
    "capacity",
    "corrupt-answer",
    "delay-answer",
    "drop-answer",
    "forbidden",
    "mismatch",
    "mtu-black-hole",
    "new-realm",
    "port-change",
    "quota",
    "redirect",
    "redirect-loop",
    "relay-vanishes",
    "server-restart",
    "short-lifetime",
    "stale-nonce",
    "stale-nonce-storm",
    "wrong-credentials",
    "wrong-mac",
}

/// All of them.
pub(super) fn all() -> Scenarios {
    let mut all = Scenarios::default();
    for (name, text) in FILES {
        let read = Scenario::parse(name, name, text);
        let scenario = Arc::new(read.expect("a test reads each file of the folder"));
        all.named.insert(scenario.name.clone(), scenario);
    }
    all
}
