//! What is wrong with a scenario file.

use std::fmt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its line, from 1; `None` where it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// All mistakes of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file as it was named.
    pub file: String,
    /// The mistakes, in the order of their lines.
    pub all: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.all.iter().enumerate() {
            let end = if at + 1 < self.all.len() { "\n" } else { "" };
            match problem.line {
                Some(line) => write!(out, "{}:{line}: ", self.file)?,
                None => write!(out, "{}: ", self.file)?,
            }
            write!(out, "{}; {}{end}", problem.what, problem.instead)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
