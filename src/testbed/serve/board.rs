//! What is remembered of each client, for the page.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::proto::types::limits::TESTBED_CLIENTS_MAX;
use crate::proto::types::limits::TESTBED_NOTES_MAX;
use crate::testbed::edge::Note;

/// The newest notes of each client.
#[derive(Debug, Default)]
pub(super) struct Board(BTreeMap<Arc<str>, VecDeque<Note>>);

impl Board {
    pub(super) fn keep(&mut self, note: Note) {
        let Some(client) = note.client.clone() else { return };
        if !self.0.contains_key(&client) && self.0.len() >= TESTBED_CLIENTS_MAX {
            // The one that has been quiet for longest.
            let quiet = self.0.iter().min_by_key(|(_, notes)| notes.back().map(|note| note.at));
            if let Some(quiet) = quiet.map(|(client, _)| Arc::clone(client)) {
                self.0.remove(&quiet);
            }
        }
        let notes = self.0.entry(client).or_default();
        notes.push_back(note);
        if notes.len() > TESTBED_NOTES_MAX {
            notes.pop_front();
        }
    }

    /// Those of `client`, the oldest first.
    pub(super) fn of(&self, client: &str) -> impl DoubleEndedIterator<Item = &Note> {
        self.0.get(client).into_iter().flatten()
    }
}
