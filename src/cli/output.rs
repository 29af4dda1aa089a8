//! Writing to people and programs. A reader that went away is no failure; a full disk is.

use std::io;
use std::io::IsTerminal as _;

use super::Exit;

/// Writes `text` to standard output and gives `exit` back, or [`Exit::Refused`] if that failed.
#[must_use]
pub(crate) fn out(text: &str, exit: Exit) -> Exit {
    settle(write(&mut io::stdout().lock(), text), exit)
}

/// Writes `text` to standard error and gives `exit` back.
#[must_use]
pub(crate) fn complain(text: &str, exit: Exit) -> Exit {
    // Where complaints cannot be written, complaining about that is of no use.
    let _ = write(&mut io::stderr().lock(), text);
    exit
}

/// Writes `text` to standard error, for who watches.
pub(crate) fn note(text: &str) {
    // Nobody watches where it cannot be written.
    let _ = write(&mut io::stderr().lock(), text);
}

/// Whether standard error is a terminal that wants colours (<https://no-color.org>).
pub(crate) fn stderr_has_colours() -> bool {
    wants_colours() && io::stderr().is_terminal()
}

/// The same for standard output.
pub(crate) fn stdout_has_colours() -> bool {
    wants_colours() && io::stdout().is_terminal()
}

fn wants_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn write(to: &mut impl io::Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

fn settle(written: io::Result<()>, exit: Exit) -> Exit {
    match written {
        Ok(()) => exit,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit,
        Err(error) => {
            complain(&format!("error: standard output cannot be written: {error}\n"), Exit::Refused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
        assert_eq!(settle(Err(io::ErrorKind::BrokenPipe.into()), Exit::Failed), Exit::Failed);
        assert_eq!(settle(Err(io::ErrorKind::StorageFull.into()), Exit::Done), Exit::Refused);
    }
}
