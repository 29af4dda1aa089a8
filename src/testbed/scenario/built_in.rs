//! The scenarios of `conf/testbed/`.

use std::sync::Arc;

use super::Scenario;
use super::Scenarios;

macro_rules! files {
    ($($name:literal,)*) => {
        /// Name and text of each.
        pub(super) const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../conf/testbed/", $name, ".toml"))),)*
        ];
    };
}

files! {}

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
