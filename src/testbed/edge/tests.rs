//! What the edge does to clients: ours ends as `docs/testbed.md` says, and one with the rule switched off does not.

mod bench;
mod faults;
mod ways;
