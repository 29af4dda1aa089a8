//! What the programs beside the library call and users do not: the bodies of fuzz targets. Built for tests, and with the
//! feature `internals`.

pub mod fuzz;
