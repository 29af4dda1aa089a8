//! The standard error stream, for lines that leave together: a thread that tells much at once keeps its lines for a moment,
//! and writes them by one call. Lines of other threads may pass them meanwhile; each tells its own time.

use std::cell::RefCell;
use std::io;
use std::io::Write;

/// Bytes of lines that a thread keeps at most.
const KEPT_MAX: usize = 4 << 10;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { keeps: false, lines: Vec::new() }) };
}

/// From here on lines of this thread are kept, until [`write`], the end of the thread, or [`KEPT_MAX`] bytes.
pub(super) fn keep() {
    KEPT.with_borrow_mut(|kept| kept.keeps = true);
}

/// Writes the lines of this thread that were kept; further ones are written at once.
pub(super) fn write() {
    // Also told by a thread that panics, wherever it is.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut() {
            kept.keeps = false;
            kept.write_to(&mut io::stderr());
        }
    });
}

/// Where each line of the log goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Without its memory a thread that ends keeps nothing.
        match KEPT.try_with(|kept| kept.borrow_mut().take(line, &mut io::stderr())) {
            Ok(()) => Ok(line.len()),
            Err(_) => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Kept {
    keeps: bool,
    lines: Vec<u8>,
}

impl Kept {
    fn take(&mut self, line: &[u8], out: &mut impl Write) {
        if self.lines.len() + line.len() > KEPT_MAX {
            self.write_to(out);
        }
        self.lines.extend_from_slice(line);
        if !self.keeps {
            self.write_to(out);
        }
    }

    fn write_to(&mut self, out: &mut impl Write) {
        if !self.lines.is_empty() {
            // Nobody is left to be told that the log cannot be written.
            let _ = out.write_all(&self.lines);
            self.lines.clear();
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.write_to(&mut io::stderr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers each call.
    #[derive(Default)]
    struct Paper(Vec<Vec<u8>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_kept_leaves_by_one_call_and_all_else_at_once() {
        let (mut kept, mut paper) = (Kept { keeps: false, lines: Vec::new() }, Paper::default());
        kept.take(b"one\n", &mut paper);
        assert_eq!(paper.0, [b"one\n"]);
        kept.keeps = true;
        kept.take(b"two\n", &mut paper);
        kept.take(b"three\n", &mut paper);
        assert_eq!(paper.0.len(), 1);
        kept.write_to(&mut paper);
        kept.write_to(&mut paper);
        assert_eq!(paper.0[1..], [b"two\nthree\n"]);
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_nothing_of_it_is_lost() {
        let (mut kept, mut paper) = (Kept { keeps: true, lines: Vec::new() }, Paper::default());
        let line = [b'x'; 100];
        (0..1_000).for_each(|_| kept.take(&line, &mut paper));
        assert!(paper.0.iter().all(|call| call.len() <= KEPT_MAX));
        kept.write_to(&mut paper);
        assert_eq!(paper.0.iter().map(Vec::len).sum::<usize>(), 100_000);
        assert_eq!(paper.0.len(), 100_000_usize.div_ceil(KEPT_MAX / 100 * 100));
    }
}
