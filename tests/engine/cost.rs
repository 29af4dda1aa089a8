//! What the generator itself costs, beside coturn's client program on the same server in the same run: coturn's, because that
//! program draws its channel numbers, not always those of RFC 8656. Not a test of every day, and it wants coturn installed:
//! `cargo test --release --test engine -- --ignored --nocapture cost`.

use std::fs;
use std::net::SocketAddr;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use swingbridge::load::Engine;
use swingbridge::load::Rig as _;
use swingbridge::load::outcome::Step;
use swingbridge::load::plan::PeerPlace;
use swingbridge::load::plan::Profile;

use super::looker;
use super::plan_at;

/// Ports of coturn's server and of its peer.
const SERVER: u16 = 28_998;
const PEER: u16 = 28_999;
const LENGTH: Duration = Duration::from_secs(8);
/// Messages of each client in a short and in a long run: what differs is free of what it takes to come up.
const SHORT: u64 = 100;
const LONG: u64 = 500;

/// Ends what it holds.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // What has ended needs no killing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &str) -> Ends {
    let mut command = Command::new(program);
    command
        .args(arguments.split_ascii_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ends(command.spawn().expect("coturn is installed"))
}

/// CPU time of a process that has ended and was not waited for, or is at work; and whether it has ended.
fn cpu_of(pid: u32) -> (Duration, bool) {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it was not waited for");
    let fields: Vec<&str> = text.rsplit(')').next().expect("a name").split_ascii_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("ticks")).sum();
    (Duration::from_millis(ticks * 10), fields[0] == "Z")
}

/// CPU time and packets of a run of coturn's client.
fn uclient(clients: u32, messages: u64) -> (Duration, u64) {
    let arguments = format!(
        "-u alice -w password -p {SERVER} -m {clients} -n {messages} -l 172 -z 20 -c -e 127.0.0.1 -r {PEER} 127.0.0.1"
    );
    let log = std::env::temp_dir().join(format!("uclient-{}", std::process::id()));
    let file = fs::File::create(&log).expect("a file of our own");
    let child = Command::new("turnutils_uclient")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a descriptor"))
        .stderr(file)
        .spawn()
        .expect("coturn is installed");
    let child = Ends(child);
    let cpu = loop {
        let (cpu, is_over) = cpu_of(child.0.id());
        if is_over {
            break cpu;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = fs::read_to_string(&log).expect("readable");
    let line = text.lines().rev().find(|line| line.contains("tot_send_msgs=")).expect("totals");
    let number = |name: &str| -> u64 {
        let rest = line.split(name).nth(1).expect("a total");
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
    };
    (cpu, number("tot_send_msgs=") + number("tot_recv_msgs="))
}

fn ours(server: &Ends, calls: u32, peer: PeerPlace, profile: Profile, segments: bool) -> Step {
    let address = SocketAddr::from(([127, 0, 0, 1], SERVER));
    let mut plan = plan_at(address, server.0.id(), "password");
    plan.peer = peer;
    plan.traffic.profile = profile;
    plan.generator.threads = 1;
    plan.generator.segments = segments;
    let mut engine = Engine::new(&plan, &plan.servers[0]).expect("loopback has all that it takes");
    engine.hold(calls, &mut looker()).expect("they come up");
    engine.idle(Duration::from_secs(1), &mut looker()).expect("time passes");
    engine.measure(LENGTH, &mut looker()).expect("it goes through")
}

fn show(what: &str, step: &Step, reference: f64) {
    let own = &step.own;
    let lost = step.up.lost + step.down.lost;
    println!(
        "{what:34} {:6.0} ns a packet = {:.2} of uclient; {} sent, {lost} lost, late {}, unsent {}, dropped {}, p99 {:?}; server {:.0} ns",
        own.cpu_per_packet_ns,
        own.cpu_per_packet_ns / reference,
        step.up.sent + step.down.sent,
        own.late,
        own.unsent,
        own.dropped,
        step.up.latency.quantile(0.99),
        step.server.as_ref().map_or(0.0, |server| server.cpu_per_packet_ns),
    );
}

#[test]
#[ignore = "measures, and wants the machine for itself"]
fn the_cost_of_a_packet_beside_that_of_coturns_client() {
    let server = format!(
        "-n --no-cli --no-tls --no-dtls -a -u alice:password -r cost.example -L 127.0.0.1 -E 127.0.0.1 -p {SERVER} -m 1 \
         --allow-loopback-peers --min-port 50000 --max-port 59999 --log-file stdout"
    );
    let server = start("turnserver", &server);
    let _peers = start("turnutils_peer", &format!("-L 127.0.0.1 -p {PEER}"));
    std::thread::sleep(Duration::from_secs(1));
    for clients in [200, 1_000] {
        let (short, long) = (uclient(clients, SHORT), uclient(clients, LONG));
        let nanos = long.0.saturating_sub(short.0).as_nanos() as f64;
        let reference = nanos / (long.1 - short.1).max(1) as f64;
        println!("{clients} clients: uclient {reference:.0} ns a packet, {} packets", long.1 - short.1);
        let local = PeerPlace::Local(None);
        show("audio, local peers", &ours(&server, clients, local, Profile::Audio, true), reference);
        show(
            "audio, two clients a call",
            &ours(&server, clients / 2, PeerPlace::Relay, Profile::Audio, true),
            reference,
        );
        // What uclient sends, 16 of them at a time: as many packets a second as all of its clients.
        let runs = Profile::Even { rate: 800.0, size: 172, burst: 16 };
        let in_runs = |segments| ours(&server, clients / 16, local, runs, segments);
        show("runs of 16, one by one", &in_runs(false), reference);
        show("runs of 16, super-packets", &in_runs(true), reference);
        let video = |segments| ours(&server, clients / 5, local, Profile::Video, segments);
        show("video (a fifth), one by one", &video(false), reference);
        show("video (a fifth), super-packets", &video(true), reference);
    }
}
