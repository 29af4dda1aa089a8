//! The laboratory's HTTP proxy (`testbed::proxy`) at a port of loopback, as long as the process lives.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;

use swingbridge::testbed::proxy::ESTABLISHED;
use swingbridge::testbed::proxy::Rules;
use swingbridge::testbed::proxy::Said;
use swingbridge::testbed::proxy::Session;
use swingbridge::testbed::proxy::UNREACHABLE;

pub(crate) struct LabProxy {
    pub(crate) address: SocketAddr,
    tunnels: Arc<AtomicU32>,
}

/// How the answer of a proxy leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Whole,
    /// Each byte is a segment of its own.
    ByteByByte,
}

impl LabProxy {
    pub(crate) fn start(rules: Rules, pace: Pace) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
        let (address, rules) = (listener.local_addr().expect("bound"), Arc::new(rules));
        let tunnels = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&tunnels);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (rules, count) = (Arc::clone(&rules), Arc::clone(&count));
                thread::spawn(move || serve(client, &rules, pace, &count));
            }
        });
        Self { address, tunnels }
    }

    /// Tunnels that it opened.
    pub(crate) fn tunnels(&self) -> u32 {
        self.tunnels.load(Ordering::Relaxed)
    }
}

fn serve(mut client: TcpStream, rules: &Rules, pace: Pace, count: &AtomicU32) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut session, mut buffer) = (Session::default(), [0; 2_048]);
    loop {
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        match session.handle_bytes(rules, &buffer[..len]) {
            Said::Waiting => {}
            Said::Refuse(refusal) => return say(&mut client, refusal.answer(), pace),
            Said::Dial { host, port, rest } => {
                let Ok(mut server) = TcpStream::connect((host.as_str(), port)) else {
                    return say(&mut client, UNREACHABLE, pace);
                };
                server.set_nodelay(true)?;
                count.fetch_add(1, Ordering::Relaxed);
                say(&mut client, ESTABLISHED, pace)?;
                server.write_all(&rest)?;
                pipe(&client, &server);
                return Ok(());
            }
        }
    }
}

fn say(client: &mut TcpStream, bytes: &[u8], pace: Pace) -> io::Result<()> {
    match pace {
        Pace::Whole => client.write_all(bytes),
        Pace::ByteByByte => bytes.iter().try_for_each(|byte| {
            client.write_all(&[*byte])?;
            thread::yield_now();
            Ok(())
        }),
    }
}

fn pipe(client: &TcpStream, server: &TcpStream) {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        // However one way ends, the other hears of it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| carry(client, server));
        carry(server, client);
    });
}
