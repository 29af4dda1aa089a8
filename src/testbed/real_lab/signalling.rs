//! What the two programs tell each other outside of the network: lines of text, over a socket of each. What one writes the
//! other reads, whenever it comes.

use std::collections::VecDeque;
use std::io;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use crate::proto::types::limits::LAB_SIGNAL_LINE_MAX;
use crate::proto::types::limits::LAB_SIGNAL_LINES_MAX;

use super::addresses::Side;

/// What waits for one side, and how it is reached.
#[derive(Debug, Default)]
struct Mailbox {
    waiting: VecDeque<Vec<u8>>,
    reader: Option<UnixStream>,
}

impl Mailbox {
    /// Takes a line. The newest of too many is lost.
    fn put(&mut self, line: Vec<u8>) {
        if self.waiting.len() < LAB_SIGNAL_LINES_MAX {
            self.waiting.push_back(line);
        }
        self.deliver();
    }

    fn open(&mut self, reader: UnixStream) {
        self.reader = Some(reader);
        self.deliver();
    }

    fn deliver(&mut self) {
        while let (Some(reader), Some(line)) = (&mut self.reader, self.waiting.front()) {
            if reader.write_all(line).is_err() {
                // Whoever comes next gets what this one did not take.
                self.reader = None;
                return;
            }
            self.waiting.pop_front();
        }
    }
}

type Shared = Arc<Mutex<Mailbox>>;

/// The name of a side's socket in the folder of the run.
pub(super) fn socket_name(side: Side) -> String {
    format!("{}.sock", side.name())
}

/// Opens both sockets in `folder`. They are served until the process ends.
///
/// # Errors
/// What the kernel says.
pub(super) fn open(folder: &Path) -> io::Result<()> {
    let boxes: [Shared; 2] = Default::default();
    for side in Side::BOTH {
        let listener = UnixListener::bind(folder.join(socket_name(side)))?;
        let own = Arc::clone(&boxes[side.index()]);
        let others = Arc::clone(&boxes[side.other().index()]);
        thread::Builder::new()
            .name(format!("signal-{}", side.name()))
            .spawn(move || serve(&listener, &own, &others))?;
    }
    Ok(())
}

/// One program after the other; a side has one at a time.
fn serve(listener: &UnixListener, own: &Shared, others: &Shared) {
    for stream in listener.incoming().flatten() {
        if let Ok(writer) = stream.try_clone() {
            lock(own).open(writer);
        }
        let mut lines = BufReader::new(stream);
        while let Ok(Some(line)) = next_line(&mut lines) {
            lock(others).put(line);
        }
    }
}

/// The next line with its end; `None` at the end of all, and for a line that is too long.
fn next_line(from: &mut impl io::BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    from.take(LAB_SIGNAL_LINE_MAX as u64).read_until(b'\n', &mut line)?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}

fn lock(mailbox: &Shared) -> std::sync::MutexGuard<'_, Mailbox> {
    // Each change is whole, so a panic leaves nothing half done.
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("swingbridge-signal-{}-{:?}", std::process::id(), thread::current().id());
            let folder = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_one_says_the_other_hears_even_if_it_comes_later() {
        let folder = Folder::new();
        open(&folder.0).unwrap();
        let connect = |side| UnixStream::connect(folder.0.join(socket_name(side))).unwrap();
        let mut left = connect(Side::Left);
        left.write_all(b"one\ntw").unwrap();
        left.write_all(b"o\n").unwrap();
        let mut right = BufReader::new(connect(Side::Right));
        assert_eq!(next_line(&mut right).unwrap(), Some(b"one\n".to_vec()));
        assert_eq!(next_line(&mut right).unwrap(), Some(b"two\n".to_vec()));
        right.get_mut().write_all(b"back\n").unwrap();
        let mut left = BufReader::new(left);
        assert_eq!(next_line(&mut left).unwrap(), Some(b"back\n".to_vec()));
    }

    #[test]
    fn a_line_without_end_is_no_line_and_takes_no_memory() {
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert_eq!(next_line(&mut endless).unwrap(), None);
        let mut mailbox = Mailbox::default();
        (0..LAB_SIGNAL_LINES_MAX * 2).for_each(|_| mailbox.put(b"x\n".to_vec()));
        assert_eq!(mailbox.waiting.len(), LAB_SIGNAL_LINES_MAX);
    }
}
