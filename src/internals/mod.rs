//! What the programs beside the library call and users do not: the bodies of fuzz targets and of benches. Built for tests,
//! and with the feature `internals`.

pub mod bench;
pub mod fuzz;
