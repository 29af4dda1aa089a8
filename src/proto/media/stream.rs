//! What a worker asks about a client's connection.

use crate::proto::types::FiveTuple;

use super::Table;

impl Table {
    /// Whether `from` has an allocation here, its time over or not.
    #[must_use]
    pub fn has_client(&self, from: &FiveTuple) -> bool {
        self.of_client(from).is_some()
    }
}
