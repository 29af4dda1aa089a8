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

#[cfg(test)]
mod tests {
    use crate::proto::media::TableChange;
    use crate::proto::media::fixture::client;
    use crate::proto::media::fixture::insert;
    use crate::proto::media::fixture::relay;
    use crate::proto::media::fixture::table;

    #[test]
    fn a_client_is_here_until_its_allocation_is_removed() {
        let mut table = table(false);
        table.apply(insert(relay(5, 1), client(1), "198.51.100.1:50000", 1_000));
        assert_eq!([1, 2].map(|port| table.has_client(&client(port))), [true, false]);
        table.apply(TableChange::Remove { relay: relay(5, 1) });
        assert!(!table.has_client(&client(1)));
    }
}
