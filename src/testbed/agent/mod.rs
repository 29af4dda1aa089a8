//! Our own ICE agent as a program for the laboratory: it gathers by every way to the server that it was told of, tells the
//! other side by the laboratory's signalling, sends data for a while, and says what came of it.

mod discover;
mod environment;
mod line;
mod media;
mod signal;
mod talk;
mod tunnel;

pub use discover::discover;
pub use environment::Environment;
pub use talk::Said;
pub use talk::Wish;
pub use talk::run;
