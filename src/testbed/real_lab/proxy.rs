//! The HTTP proxy of the laboratory ([`crate::testbed::proxy`]), with sockets and a few threads: it serves two clients.

use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;

use crate::testbed::proxy::ESTABLISHED;
use crate::testbed::proxy::Rules;
use crate::testbed::proxy::Said;
use crate::testbed::proxy::Session;
use crate::testbed::proxy::UNREACHABLE;

use super::addresses::PORT_TLS;
use super::addresses::PROXY;

/// Opens it in the network of this process. It is served until that ends.
///
/// # Errors
/// What the kernel says.
pub(super) fn open() -> io::Result<()> {
    let listener = TcpListener::bind(PROXY)?;
    thread::Builder::new().name("proxy".to_owned()).spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that breaks off is its own affair, and one that finds no thread is not served.
            let _ = thread::Builder::new().name("tunnel".to_owned()).spawn(move || serve(client));
        }
    })?;
    Ok(())
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    // As most are: to where TLS is.
    let rules = Rules { login: None, ports: vec![PORT_TLS] };
    let mut session = Session::default();
    let mut buffer = [0; 2_048];
    loop {
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        match session.handle_bytes(&rules, &buffer[..len]) {
            Said::Waiting => {}
            Said::Refuse(refusal) => return client.write_all(refusal.answer()),
            Said::Dial { host, port, rest } => {
                let Ok(mut server) = TcpStream::connect((host.as_str(), port)) else {
                    return client.write_all(UNREACHABLE);
                };
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                client.write_all(ESTABLISHED)?;
                server.write_all(&rest)?;
                return pipe(&client, &server);
            }
        }
    }
}

fn pipe(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let carry = |mut from: &TcpStream, mut to: &TcpStream| {
        // However one way ends, the other hears of it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| carry(client, server));
        carry(server, client);
    });
    Ok(())
}
