//! What the generator itself costs, beside coturn's client program on the same server in the same run. Not a test of every
//! day: `cargo test --release --test engine -- --ignored --nocapture cost`, with turnutils_uclient installed.

use std::fs;
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
use super::plan;
use super::served::Served;

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

/// CPU time of a process that has ended and was not waited for, or is at work; and whether it has ended.
fn cpu_of(pid: u32) -> (Duration, bool) {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it was not waited for");
    let fields: Vec<&str> = text.rsplit(')').next().expect("a name").split_ascii_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("ticks")).sum();
    (Duration::from_millis(ticks * 10), fields[0] == "Z")
}

/// CPU time and packets of a run of coturn's client.
fn uclient(served: &Served, peer: u16, clients: u32, messages: u64) -> (Duration, u64) {
    let arguments = format!(
        "-u alice -w password -p {} -m {clients} -n {messages} -l 172 -z 20 -c -e 127.0.0.1 -r {peer} 127.0.0.1",
        served.address.port()
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

fn ours(served: &Served, calls: u32, peer: PeerPlace, profile: Profile, segments: bool) -> Step {
    let mut plan = plan(served, "password");
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
    let limits = "allocations_per_user = 0\nunproven_exempt = [\"127.0.0.0/8\"]";
    let served = Served::start_with("allow = [\"127.0.0.1/32\"]", limits);
    let peer = 28_999_u16;
    let listening = ["-L", "127.0.0.1", "-p", "28999"];
    let silent = Stdio::null;
    let peers = Command::new("turnutils_peer").args(listening).stdout(silent()).stderr(silent()).spawn();
    let _peers = Ends(peers.expect("coturn is installed"));
    for clients in [200, 1_000] {
        let (short, long) = (uclient(&served, peer, clients, SHORT), uclient(&served, peer, clients, LONG));
        let nanos = long.0.saturating_sub(short.0).as_nanos() as f64;
        let reference = nanos / (long.1 - short.1).max(1) as f64;
        println!("{clients} clients: uclient {reference:.0} ns a packet, {} packets", long.1 - short.1);
        let local = PeerPlace::Local(None);
        show("audio, local peers", &ours(&served, clients, local, Profile::Audio, true), reference);
        show(
            "audio, two clients a call",
            &ours(&served, clients / 2, PeerPlace::Relay, Profile::Audio, true),
            reference,
        );
        let video = |segments| ours(&served, clients / 5, local, Profile::Video, segments);
        show("video (a fifth), one by one", &video(false), reference);
        show("video (a fifth), super-packets", &video(true), reference);
    }
}
