//! `swingbridge load`: how many calls does a TURN server carry? Of ours, or of anybody's.
//!
//! A [`Plan`] says what is asked; a mode decides which load comes next, and judges it; a [`Rig`] brings the load up and
//! measures it; an [`outcome::Report`] says what came of it. The plan is made by the command line, the report is printed
//! by it.
//!
//! Packets leave when they are due, whatever the server does meanwhile (open loop), and a latency counts from the moment
//! a packet was due. So a server that stalls is charged with all that had to wait, and not only with one packet.

pub mod carrier;
pub mod echo;
pub mod engine;
pub mod fault;
mod http;
pub mod machine;
pub mod measure;
pub mod mode;
pub mod nats;
pub mod objective;
pub mod outcome;
pub mod payload;
pub mod plan;
pub mod profile;
pub mod report;
pub mod rig;
pub mod target;
pub mod watch;

pub use engine::Engine;
pub use fault::Fault;
pub use mode::run;
pub use plan::Plan;
pub use rig::Rig;
