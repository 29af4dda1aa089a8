//! What a Swingbridge says of itself at its admin endpoint.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::http;
use crate::proto::types::limits;

use super::Reading;

/// How long the endpoint may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The metrics that count.
const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const LOSSES: &str = "swingbridge_kernel_losses_total";

/// An admin endpoint. Each reading is a connection of its own, as the endpoint has it.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
}

impl Admin {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub(super) fn read(&self) -> Result<Reading, Fault> {
        let address = self.address;
        let server = |what: String| Fault::new(FaultKind::Server, what);
        let answer = ask(address).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::TimedOut => "no answer in time".to_owned(),
                _ => error.to_string(),
            };
            server(format!("the admin endpoint {address} cannot be read: {why}"))
                .cure("check `[admin] listen` of the server, and that this machine may reach it")
        })?;
        let page = page(&answer).ok_or_else(|| {
            server(format!("what answers at {address} is no admin endpoint of a Swingbridge"))
                .cure("write what `[admin] listen` of the server says")
        })?;
        let lacks = |name: &str| {
            server(format!("the admin endpoint {address} tells no {name}"))
                .cure("check that this is a Swingbridge, not older than this one; --server-pid reads any process here")
        };
        let cpu = sum(page, CPU).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let memory = sum(page, MEMORY).filter(|bytes| *bytes >= 0.0);
        Ok(Reading {
            cpu: cpu.ok_or_else(|| lacks(CPU))?,
            memory: memory.ok_or_else(|| lacks(MEMORY))? as u64,
            dropped: sum(page, LOSSES).filter(|losses| *losses >= 0.0).map(|losses| losses as u64),
            host: None,
        })
    }
}

fn ask(address: SocketAddr) -> io::Result<http::Answer> {
    let mut socket = http::Timed::connect(address, PATIENCE)?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    http::exchange(&mut socket, request.as_bytes(), limits::LOAD_METRICS_MAX)
}

/// The page, if it is one of ours.
fn page(answer: &http::Answer) -> Option<&str> {
    let is_ours = answer.body.lines().any(|line| line.starts_with("swingbridge_build_info"));
    (answer.status == 200 && is_ours).then_some(&*answer.body)
}

/// All samples of a metric together; `None` if there is none.
fn sum(page: &str, name: &str) -> Option<f64> {
    let of_line = |line: &str| {
        let behind = line.strip_prefix(name)?;
        let value = match behind.strip_prefix('{') {
            Some(labelled) => labelled.rsplit_once("} ")?.1,
            None => behind.strip_prefix(' ')?,
        };
        value.split(' ').next()?.parse::<f64>().ok()
    };
    page.lines().filter_map(of_line).fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;

    use crate::admin;
    use crate::control::view::ControlView;
    use crate::proto::types::Tick;

    use super::*;

    const PAGE: &str = "# TYPE process_cpu_seconds counter\n\
        process_cpu_seconds_total 12.5\n\
        process_resident_memory_bytes 4096\n\
        swingbridge_build_info{version=\"0.1.0\"} 1\n\
        swingbridge_kernel_losses_total{worker=\"0\",socket=\"listener\"} 3\n\
        swingbridge_kernel_losses_total{worker=\"1\",socket=\"relay\"} 4\n\
        swingbridge_kernel_losses_totally_other 100\n\
        # EOF\n";

    /// An endpoint that answers one request with these bytes.
    fn endpoint(answer: Vec<u8>) -> Admin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is free");
        let address = listener.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a caller");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).expect("a request");
                asked.push(byte[0]);
            }
            assert!(asked.starts_with(b"GET /metrics HTTP/1.1\r\n"));
            // Whoever has heard enough leaves.
            let _ = socket.write_all(&answer);
        });
        Admin::new(address)
    }

    fn success(page: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{page}").into_bytes()
    }

    #[test]
    fn a_page_is_read() {
        let reading = endpoint(success(PAGE)).read().expect("a page");
        let cpu = Duration::from_millis(12_500);
        assert_eq!(reading, Reading { cpu, memory: 4_096, dropped: Some(7), host: None });
    }

    #[test]
    fn what_is_no_page_of_ours_is_told() {
        let without = |name: &str| {
            PAGE.lines()
                .filter(|line| !line.starts_with(name))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        for (answer, said) in [
            (success(&without(CPU)), "tells no process_cpu_seconds_total"),
            (success(&without(MEMORY)), "tells no process_resident_memory_bytes"),
            (success(&PAGE.replace("12.5", "NaN")), "tells no process_cpu_seconds_total"),
            (success(&PAGE.replace("12.5", "-1")), "tells no process_cpu_seconds_total"),
            (success(&without("swingbridge_build_info")), "is no admin endpoint"),
            (b"HTTP/1.1 404 Not Found\r\n\r\nswingbridge_build_info".to_vec(), "is no admin endpoint"),
            (b"220 mail.example".to_vec(), "no HTTP"),
            (Vec::new(), "no HTTP"),
            (vec![0xFF; 100], "no text"),
            (vec![b'x'; limits::LOAD_METRICS_MAX + 1], "too long"),
        ] {
            let fault = endpoint(answer).read().expect_err(said);
            assert!(fault.kind == FaultKind::Server && fault.what.contains(said), "{said}: {fault}");
            assert!(fault.cure.is_some());
        }
    }

    #[test]
    fn a_closed_port_is_told() {
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let fault = Admin::new(closed).read().expect_err("nobody listens").to_string();
        assert!(fault.contains(&closed.to_string()) && fault.contains("[admin] listen"), "{fault}");
    }

    #[test]
    fn our_own_endpoint_tells_all_that_counts() {
        let sources = admin::Sources {
            streams: Arc::new(admin::StreamsSnapshot::default),
            mras: Arc::new(admin::MrasSnapshot::default),
            acme: Arc::new(admin::AcmeSnapshot::default),
            control: Arc::new(ControlView::default()),
            workers: Arc::new(|| {
                vec![admin::WorkerSnapshot { relay_losses: 9, ..admin::WorkerSnapshot::idle() }]
            }),
            clock: Arc::new(|| Tick::from_millis(1)),
            path: "sockets",
        };
        let listen = "127.0.0.1:0".parse().expect("a literal");
        let door = admin::bind(admin::Config { listen }).expect("a port").serve(sources).expect("a thread");
        let endpoint = Admin::new(door.local_addr());
        let before = endpoint.read().expect("a page");
        assert!(before.cpu > Duration::ZERO && before.memory > 100_000, "{before:?}");
        assert_eq!(before.dropped, Some(9));
        while endpoint.read().expect("a page").cpu == before.cpu {}
    }
}
