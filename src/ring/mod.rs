//! Bounded lock-free channels between two threads, and the way a sleeping consumer is woken.
//!
//! ```text
//!   Sender ──push──▶ [ a short ring of rtrb ] ─────────────pop──▶ Receiver
//!      │ └─ full ──▶ [ one of `capacity` places ] ──then──┘          │ looks once more before it sleeps
//!      └─ if the consumer sleeps ──▶ Wake (flag + eventfd) ──────────┘ waits on the eventfd: epoll, tokio AsyncFd
//! ```
//!
//! Assumptions: one thread pushes and one pops; several rings may share the [`Wake`] of one consumer; a push that
//! finds the consumer awake costs no system call. Who has many values puts them all into the ring and wakes the consumer
//! then. A full ring gives the value back: nothing is ever dropped here.

mod channel;
mod gauge;
mod sleep;
mod wake;

pub use channel::Receiver;
pub use channel::Sender;
pub use channel::channel;
pub use gauge::Gauge;
pub use wake::Wake;
