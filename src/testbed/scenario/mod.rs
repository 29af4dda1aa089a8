//! What an operator writes down: faults, what a client has to do about them, and the laboratory around. `docs/testbed.md`
//! teaches the file.

mod built_in;
mod fault;
mod lab;
mod problem;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use fault::Do;
pub use fault::Ends;
pub use fault::Expect;
pub use fault::Fault;
pub use fault::Moment;
pub use fault::Target;
pub use fault::Times;
pub use fault::Trigger;
pub use fault::Way;
pub use fault::When;
pub use lab::Lab;
pub use lab::Link;
pub use problem::Problem;
pub use problem::Problems;
pub use value::method_word;
pub use value::span;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// The name of the file without its ending.
    pub name: Box<str>,
    /// A sentence about it.
    pub about: Box<str>,
    /// What goes wrong, in the order of the file. Of several that could befall the same thing the first does.
    pub faults: Vec<Fault>,
    /// What a client has to do about it, if the file says so.
    pub expect: Option<Expect>,
    /// The laboratory around.
    pub lab: Lab,
}

impl Scenario {
    /// Reads the scenario `name`; `file` is what mistakes call it.
    ///
    /// # Errors
    /// Every mistake, with its line and what to write instead.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, Problems> {
        read::read(name, file, text)
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Every mistake, or that the file cannot be read.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&name, &file, &text),
            Err(error) => {
                let instead = "name a file that is there and may be read".to_owned();
                Err(Problems { file, all: vec![Problem { line: None, what: error.to_string(), instead }] })
            }
        }
    }
}

/// The scenarios that clients can choose from.
#[derive(Clone, Debug, Default)]
pub struct Scenarios {
    /// For clients that choose none.
    pub default: Arc<Scenario>,
    /// For those whose user name begins with the name and a dot.
    pub named: BTreeMap<Box<str>, Arc<Scenario>>,
}

impl Scenarios {
    /// `scenario` for every client, whatever its name.
    #[must_use]
    pub fn only(scenario: Scenario) -> Self {
        Self { default: Arc::new(scenario), named: BTreeMap::new() }
    }

    /// `scenario` for every client, but for those whose user name chooses one of those that are built in.
    #[must_use]
    pub fn chosen(scenario: Scenario) -> Self {
        let (scenario, mut all) = (Arc::new(scenario), Self::built_in());
        all.named.insert(scenario.name.clone(), Arc::clone(&scenario));
        all.default = scenario;
        all
    }

    /// The text of the one that is built in with this name.
    #[must_use]
    pub fn text_of(name: &str) -> Option<&'static str> {
        built_in::FILES.iter().find(|(each, _)| *each == name).map(|(_, text)| *text)
    }

    /// Those of `conf/testbed/faults/`, as they were when this program was built.
    #[must_use]
    pub fn built_in() -> Self {
        built_in::all()
    }

    /// Every `.toml` file of the folder.
    ///
    /// # Errors
    /// Every mistake of the first file with mistakes, or that the folder cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Problems> {
        let unread = |error: std::io::Error| Problems {
            file: folder.display().to_string(),
            all: vec![Problem {
                line: None,
                what: error.to_string(),
                instead: "name a folder of scenario files".to_owned(),
            }],
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(unread)? {
            paths.push(entry.map_err(unread)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
        paths.sort();
        let mut all = Self::default();
        for path in paths {
            let scenario = Scenario::read(&path)?;
            all.named.insert(scenario.name.clone(), Arc::new(scenario));
        }
        Ok(all)
    }

    /// The one that a user name chooses: what stands before its first dot, behind the colon of a time-limited name.
    #[must_use]
    pub fn of(&self, username: &str) -> &Arc<Scenario> {
        let name = username.rsplit(':').next().unwrap_or(username);
        let chosen = name.split_once('.').and_then(|(name, _)| self.named.get(name));
        chosen.unwrap_or(&self.default)
    }
}
