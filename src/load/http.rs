//! One request over HTTP/1.1, for which the caller waits: a connection of its own, a deadline, a longest answer.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status code.
    pub(super) status: u16,
    /// What stands behind its headers.
    pub(super) body: String,
}

/// A connection whose reads and writes must all be done at a moment.
#[derive(Debug)]
pub(super) struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    /// Connects, and has `patience` for all that follows, too.
    pub(super) fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let until = Instant::now() + patience;
        Ok(Self { socket: TcpStream::connect_timeout(&address, patience)?, until })
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer).map_err(in_time)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A socket whose time is over says that it would have to wait.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// Sends `request`, which asks for the connection's end behind the answer, and hears that, of `longest` bytes at most.
///
/// # Errors
/// What the connection says; `InvalidData` for what is no answer of HTTP.
pub(super) fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
    longest: usize,
) -> io::Result<Answer> {
    stream.write_all(request)?;
    stream.flush()?;
    let (mut heard, mut piece) = (Vec::new(), [0; 16 * 1_024]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(len) if heard.len() + len > longest => return Err(invalid("its answer is too long")),
            Ok(len) => heard.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The end of TLS without its last word; the answer itself says whether it is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !heard.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8(heard).map_err(|_| invalid("its answer is no text"))?;
    read(&text).ok_or_else(|| invalid("what it answers is no HTTP, or not whole"))
}

fn read(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let status = words.next()?.parse().ok()?;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        match name.to_ascii_lowercase().as_str() {
            "content-length" if value.trim().parse::<usize>().ok()? != body.len() => return None,
            // Nobody whom we ask does so for a whole text.
            "transfer-encoding" => return None,
            _ => {}
        }
    }
    Some(Answer { status, body: body.to_owned() })
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let body = |text| read(text).map(|answer| (answer.status, answer.body));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Some((200, "hi".to_owned())));
        assert_eq!(body("HTTP/1.0 404 Not Found\r\n\r\n"), Some((404, String::new())));
        for broken in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno header\r\n\r\nhi",
            "HTTP/1.1 hello\r\n\r\n",
            "SIP/2.0 200 OK\r\n\r\n",
        ] {
            assert_eq!(body(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn whoever_never_answers_is_not_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
        let address = silent.local_addr().expect("bound");
        let mut timed = Timed::connect(address, Duration::from_millis(30)).expect("a connection");
        let kind = exchange(&mut timed, b"GET / HTTP/1.1\r\n\r\n", 100).expect_err("no answer").kind();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        let late = exchange(&mut timed, b"again", 100).expect_err("its time is over");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
