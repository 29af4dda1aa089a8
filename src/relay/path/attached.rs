//! The tiers in the kernel, as choosing and workers have them: what they need is looked for, the program is attached once for
//! all workers, and each of them keeps the program's maps as its table says. Without the feature `kernel` there is none.

#[cfg(feature = "kernel")]
mod with;
#[cfg(not(feature = "kernel"))]
mod without;

#[cfg(feature = "kernel")]
pub use crate::relay::path::kernel::Buckets;
#[cfg(feature = "kernel")]
pub(in crate::relay) use with::Attached;
#[cfg(feature = "kernel")]
pub(super) use with::attach;
#[cfg(not(feature = "kernel"))]
pub(in crate::relay) use without::Attached;
#[cfg(not(feature = "kernel"))]
pub use without::Buckets;
#[cfg(not(feature = "kernel"))]
pub(super) use without::attach;

/// What workers get, and where buckets are lent.
pub(super) type Ready = (Vec<Attached>, Buckets);
