//! Pairs of keys: the tables of `mras.keys`.

use std::ops::Range;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::proto::types::Secret;

use super::file::article;
use super::read::Located;
use super::read::Reader;
use super::schema::Key;
use super::value::Complaint;

const EXAMPLE: &str = "write { key1 = { file = \"mras1.key\" }, key2 = { file = \"mras2.key\" } }";

impl Reader<'_, '_> {
    /// The pairs at `path`. Of a table with a mistake every mistake is told.
    pub(crate) fn mras_keys(&mut self, path: &str) -> Vec<Located<(Secret, Secret)>> {
        self.array(path, |reader, key, span, value| {
            let DeValue::Table(table) = value else {
                let rule = format!("a table is expected, not {}", article(value));
                reader.error(key, span, Complaint::new(rule, EXAMPLE));
                return None;
            };
            reader.mras_key(key, span, table)
        })
    }

    fn mras_key(
        &mut self,
        key: &Key,
        span: &Option<Range<usize>>,
        table: &DeTable<'_>,
    ) -> Option<(Secret, Secret)> {
        let (mut key1, mut key2, mut sound) = (None, None, true);
        for (name, value) in table {
            let slot = match name.get_ref().as_ref() {
                "key1" => &mut key1,
                "key2" => &mut key2,
                other => {
                    let rule = format!("unknown key `{other}` in a pair of keys");
                    self.error(key, &Some(name.span()), Complaint::new(rule, EXAMPLE));
                    sound = false;
                    continue;
                }
            };
            // What cannot be read is told by itself, and is not missing.
            *slot = Some(self.secret(key, "a key", &Some(value.span()), value.get_ref()));
        }
        for (name, part) in [("key1", &key1), ("key2", &key2)] {
            if part.is_none() {
                let rule = format!("`{name}` is missing in this pair of keys");
                self.error(key, span, Complaint::new(rule, EXAMPLE));
            }
        }
        Some((key1??, key2??)).filter(|_| sound)
    }
}
