//! The pure part of benches/compare: what is made of figures. The rest runs in `tests/run compare`.
#![allow(dead_code, reason = "the program uses what these tests do not")]

#[path = "../benches/compare/figures.rs"]
mod figures;
#[path = "../benches/compare/lines.rs"]
mod lines;
#[path = "../benches/compare/plot.rs"]
mod plot;
#[path = "../benches/compare/show.rs"]
mod show;
