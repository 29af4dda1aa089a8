//! What is known of a client when the server has ended.

use crate::testbed::edge::ClientView;
use crate::testbed::edge::Judgement;
use crate::testbed::edge::Note;

use super::board::Board;

/// What is known of a client.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its TURN user name.
    pub name: String,
    /// The scenario that it chose; empty for none.
    pub scenario: String,
    /// What it had to do, as the scenario says.
    pub expected: String,
    /// Whether it says anything about that.
    pub expects: bool,
    /// Whether it has an allocation.
    pub live: bool,
    /// Requests that it sent beyond the one that was befallen, of its method.
    pub further: u32,
    /// Whether it did what its scenario expects.
    pub judgement: Judgement,
    /// The newest notes of it, the oldest first.
    pub record: Vec<Note>,
}

impl Account {
    pub(super) fn of(client: &ClientView<'_>, board: &Board) -> Self {
        Self {
            name: client.name.to_owned(),
            scenario: client.scenario.to_owned(),
            expected: client.expected.to_owned(),
            expects: client.expects,
            live: client.live,
            further: client.further,
            judgement: client.judgement.clone(),
            record: board.of(client.name).cloned().collect(),
        }
    }
}
