//! The control plane: one thread that owns every allocation. It gives `proto::turn::Server` the time and the
//! messages, and carries out what it says.

mod clock;
mod commands;
mod entropy;
mod execute;
mod leave;
mod lent;
mod panics;
mod task;
pub mod view;

pub use clock::Clock;
pub use commands::Commands;
pub use commands::Order;
pub use entropy::DrawnAhead;
pub use entropy::SystemEntropy;
pub use leave::Leave;
pub use task::Control;
pub use task::Ended;
pub use task::EventSink;
