//! The whole server on the tiers in the kernel: `swingbridge serve` between two hosts, real clients, and what the statistics
//! say of who relayed.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use swingbridge::proto::client::Input;
use swingbridge::proto::types::PeerAddr;
use swingbridge::relay::kernel::Mode;

use crate::lab;
use crate::served::Flow;
use crate::served::Served;
use crate::served::relay;
use crate::wire::broken;
use crate::wire::hosts;
use crate::wire::load_at;
use crate::wire::received;
use crate::wire::socket;
use crate::wire::standing;
use crate::world::address;

const TIERS: [&str; 2] = ["tc", "xdp"];
/// Client, server and peer, in all combinations of families.
const FLOWS: [[&str; 3]; 4] = [
    ["192.0.2.10:4000", "192.0.2.1:3478", "203.0.113.5:7000"],
    ["192.0.2.10:4001", "192.0.2.1:3478", "[2001:db8:b::5]:7001"],
    ["[2001:db8:a::10]:4002", "[2001:db8:a::1]:3478", "203.0.113.5:7002"],
    ["[2001:db8:a::10]:4003", "[2001:db8:a::1]:3478", "[2001:db8:b::5]:7003"],
];
/// Frames that XDP lends to the sockets while one of these tests measures, at most.
const LENT: u64 = 8;

#[test]
fn calls_go_by_the_kernel_and_what_is_not_plain_by_the_workers() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let mut served = Served::on(tier, "");
            assert!(served.said().contains("do not pass this host's firewall"), "{}", served.said());
            assert_eq!(served.metric(&format!("swingbridge_path_info{{path=\"{tier}\"}}")), 1);
            let mut flows = FLOWS.map(|ends| Flow::new(&hosts, ends, "alice"));
            flows.iter().for_each(|flow| flow.warm(&served));
            let (kernel, sockets) = (served.in_kernel(), served.in_user_space());
            let mut count = 0;
            for len in (4..200).step_by(13).chain([777, 1_200, 1_400]) {
                for flow in &flows {
                    let data: Vec<u8> = (0..len).map(|at| (at * 31 + len) as u8).collect();
                    flow.to_peer(&data);
                    flow.to_client(&data);
                    count += 1;
                }
            }
            let saw = served.in_user_space() - sockets;
            assert!(saw <= if tier == "tc" { 0 } else { LENT }, "{tier}: user space saw {saw} packets");
            served.until("the kernel's count", || {
                let now = served.in_kernel();
                (0..2).all(|way| now[way] - kernel[way] + LENT >= count)
            });
            // Without a channel it is the worker's.
            let sockets = served.in_user_space();
            let call = &mut flows[0].call;
            let other = socket(&hosts.peer, "203.0.113.5:7900", None);
            call.say(Input::Send { peer: PeerAddr::new(address("203.0.113.5:7900")), data: b"indicated" });
            let (data, from) = received(&other).expect("it arrives");
            assert_eq!((&data[..], from), (&b"indicated"[..], call.relayed));
            assert_eq!(served.in_user_space() - sockets, 1, "{tier}");
            assert_eq!(broken(&hosts), 0, "{tier}: wrong checksums");
            assert_eq!(served.end(), Some(0), "{}", served.said());
            assert_eq!(standing(), 0, "{tier}: nothing stays");
        }
    });
}

/// Sends `count` packets each way, `pause` apart, and answers how many of each arrived within the time of the last ones.
fn paced(flow: &Flow, count: u32, pause: Duration) -> [u32; 2] {
    let (peer, client) = (&flow.peer, &flow.call.socket);
    let hear = |socket: &UdpSocket| {
        let mut heard = 0;
        let mut silent = Instant::now();
        while silent.elapsed() < Duration::from_secs(2) {
            if received(socket).is_ok() {
                heard += 1;
                silent = Instant::now();
            }
        }
        heard
    };
    thread::scope(|scope| {
        let at_peer = scope.spawn(move || hear(peer));
        let at_client = scope.spawn(move || hear(client));
        for number in 0..count {
            flow.call.send(flow.channel, &number.to_be_bytes().repeat(43));
            peer.send_to(&number.to_be_bytes().repeat(43), flow.call.relayed).expect("it is sent");
            thread::sleep(pause);
        }
        [at_peer.join().expect("no panic"), at_client.join().expect("no panic")]
    })
}

#[test]
fn media_flows_while_the_whole_process_stands_still_and_what_is_over_is_over() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let lives = "[limits]\npermission_lifetime = \"4s\"\nchannel_lifetime = \"4s\"";
            let served = Served::on(tier, "");
            let flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            served.signal("-STOP");
            let heard = paced(&flow, 300, Duration::from_millis(10));
            served.signal("-CONT");
            // What XDP lent to the sockets meanwhile waits there, and comes now.
            let late = if heard == [300; 2] { [0; 2] } else { paced(&flow, 0, Duration::ZERO) };
            assert_eq!([heard[0] + late[0], heard[1] + late[1]], [300; 2], "{tier}");
            assert!(heard.iter().all(|heard| *heard >= 300 - 2), "{tier}: {heard:?} while it stood still");
            drop((served, flow));

            let served = Served::on(tier, lives);
            let flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            served.signal("-STOP");
            // The channel was bound before it was warm.
            thread::sleep(Duration::from_secs(4));
            let before = received(&flow.peer).is_ok() || received(&flow.call.socket).is_ok();
            assert!(!before && flow.is_cut(), "{tier}: it is over, and nobody had to say so");
            served.signal("-CONT");
            assert!(flow.is_cut(), "{tier}: the worker says the same");
            // Bound again, to another peer than before.
            let mut flow = flow;
            let other = "203.0.113.5:7777";
            let channel = flow.call.bind(address(other));
            let flow = Flow { peer: socket(&hosts.peer, other, None), channel, ..flow };
            flow.warm(&served);
            flow.to_peer(b"and again");
        }
    });
}

#[test]
fn a_close_while_media_flows_counts_every_packet_and_closes_the_port() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let served = Served::on(tier, "");
            let mut flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            let (relayed, peer) = (flow.call.relayed, flow.peer.try_clone().expect("a descriptor"));
            let until = Instant::now() + Duration::from_secs(1);
            let heard = thread::scope(|scope| {
                scope.spawn(move || {
                    while Instant::now() < until {
                        let _ = peer.send_to(&[7; 100], relayed);
                        thread::sleep(Duration::from_micros(500));
                    }
                });
                // What the client still hears is thrown away by it.
                flow.call.release();
                let mut heard = 0;
                while received(&flow.call.socket).is_ok() {
                    heard += 1;
                }
                heard
            });
            assert!(heard < 100, "{tier}: {heard} packets after the end");
            served.until("the end", || served.said().contains("allocation ended"));
            let said = served.said();
            let ended = said.lines().find(|line| line.contains("allocation ended")).expect("it is told");
            let number = |name: &str| {
                let rest = ended.split(&format!("{name}=")).nth(1).expect(ended);
                rest.split(' ').next().and_then(|value| value.parse::<u64>().ok()).expect(ended)
            };
            // All of them: what the log says of the one allocation is what the page says of all.
            served.until("the page's count", || {
                served.metric("swingbridge_packets_relayed_total{direction=\"to_client\"}")
                    == number("to_client_packets")
            });
            assert_eq!(
                served.metric("swingbridge_bytes_relayed_total{direction=\"to_client\"}"),
                number("to_client_bytes")
            );
            assert_eq!(
                served.metric("swingbridge_packets_relayed_total{direction=\"to_peer\"}"),
                number("to_peer_packets")
            );
            assert!(served.in_kernel()[1] > 0);
            flow.peer.connect(relayed).expect("a route");
            // The kernel says so no more than so often.
            served.until("that the port is closed", || {
                let told = flow.peer.send(b"anybody?").and_then(|_| flow.peer.recv(&mut [0; 8]));
                told.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
            });
        }
    });
}

#[test]
fn what_a_reload_denies_is_cut_off_at_once_and_the_rest_goes_on() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let served = Served::on(tier, "");
            let flows = [FLOWS[0], FLOWS[3]].map(|ends| Flow::new(&hosts, ends, "alice"));
            flows.iter().for_each(|flow| flow.warm(&served));
            served.reload_denying(&relay(tier), "203.0.113.5");
            assert!(flows[0].is_cut(), "{tier}");
            assert!(flows[0].is_cut(), "{tier}");
            let sockets = served.in_user_space();
            for _ in 0..20 {
                flows[1].to_peer(b"still here");
                flows[1].to_client(b"still here");
            }
            assert!(served.in_user_space() - sockets <= 2, "{tier}: in the kernel as before");
        }
    });
}

#[test]
fn a_client_that_moves_takes_its_calls_along() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let served = Served::on(tier, "");
            let mut flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            // Often enough to come to another worker and back.
            for port in 4_100..4_108 {
                flow.call.moves(socket(&hosts.client, &format!("192.0.2.10:{port}"), Some(FLOWS[0][1])));
                flow.warm(&served);
                flow.to_peer(b"from elsewhere");
                flow.to_client(b"to elsewhere");
            }
            let before = served.in_kernel();
            flow.call.release();
            served.until("the end", || served.said().contains("allocation ended"));
            let said = served.said();
            let ended = said.lines().find(|line| line.contains("allocation ended")).expect("it is told");
            let told = ended.split("to_peer_packets=").nth(1).and_then(|rest| rest.split(' ').next());
            let told: u64 = told.and_then(|text| text.parse().ok()).expect(ended);
            assert!(told >= before[0], "{tier}: {told} of {before:?}");
        }
    });
}

#[test]
fn one_user_has_one_limit_over_kernel_and_workers_and_all_allocations() {
    const BITS_PER_S: f64 = 4_000_000.0;
    /// With the headers of IPv4 and UDP.
    const PACKET: f64 = 1_000.0;
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let limit = "[limits]\nbandwidth_per_user = \"4Mbit/s\"\nbandwidth_burst = \"1s\"";
            let served = Served::on(tier, limit);
            let flows: Vec<_> = (0..8)
                .map(|number| {
                    let ends =
                        [format!("192.0.2.10:{}", 5_000 + number), format!("203.0.113.5:{}", 8_000 + number)];
                    Flow::new(&hosts, [&ends[0], FLOWS[0][1], &ends[1]], "alice")
                })
                .collect();
            flows.iter().for_each(|flow| flow.warm(&served));
            let bystander = Flow::new(&hosts, FLOWS[3], "bob");
            bystander.warm(&served);
            let relayed = || served.metric("swingbridge_packets_relayed_total");
            let settled = || {
                // The page may be a second or some old.
                let mut last = relayed();
                loop {
                    thread::sleep(Duration::from_millis(2_500));
                    let now = relayed();
                    if now == last {
                        return now;
                    }
                    last = now;
                }
            };
            let before = settled();
            let began = Instant::now();
            let mut offered = 0;
            // More than twice as much, by channel and, which is the workers', by padded ChannelData.
            while began.elapsed() < Duration::from_secs(4) {
                for (number, flow) in flows.iter().enumerate() {
                    if number % 4 == 0 {
                        let padded =
                            [&crate::frame::channel_data(flow.channel, &[1; 971])[..], &[0]].concat();
                        flow.call.socket.send(&padded).expect("it is sent");
                    } else {
                        flow.call.send(flow.channel, &[1; 972]);
                    }
                    offered += 1;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let lasted = began.elapsed().as_secs_f64();
            let passed = (settled() - before) as f64;
            let due = (1.0 + lasted) * BITS_PER_S / 8.0 / PACKET;
            assert!(f64::from(offered) > 1.5 * due, "{tier}: {offered} packets are too few to tell");
            assert!((passed - due).abs() <= 0.05 * due, "{tier}: {passed} packets passed, {due} were due");
            let held = served.metric("swingbridge_packets_dropped_total{reason=\"user_bandwidth\"}");
            assert!(held > 0, "{tier}");
            bystander.to_peer(b"undisturbed");
            bystander.to_client(b"undisturbed");
        }
    });
}

#[test]
fn after_a_kill_nothing_is_left_and_the_next_start_serves() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let mut served = Served::on(tier, "");
            assert_eq!(standing(), 2, "{tier}");
            let flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            served.process.kill().expect("it lives");
            served.process.wait().expect("it ends");
            let deadline = Instant::now() + Duration::from_secs(10);
            while standing() != 0 {
                assert!(Instant::now() < deadline, "{tier}: something is left");
                thread::sleep(Duration::from_millis(10));
            }
            drop(served);
            drop(flow);
            let served = Served::on(tier, "");
            Flow::new(&hosts, FLOWS[0], "alice").warm(&served);
        }
    });
}

fn refused(path: &str) -> String {
    match Served::start(path, "") {
        Err((Some(3), said)) => said,
        Err((code, said)) => panic!("{path}: exit code {code:?}: {said}"),
        Ok(served) => panic!("{path}: it serves: {}", served.said()),
    }
}

#[test]
fn a_tier_that_cannot_be_had_is_refused_in_words_and_somebody_elses_program_stays() {
    lab::alone(|| {
        let _hosts = hosts();
        for tier in TIERS {
            let said = refused(&format!("path = \"{tier}\""));
            assert!(
                said.contains(&format!("the path \"{tier}\" cannot be had: no interface is named")),
                "{said}"
            );
            assert!(said.contains("write `kernel_interfaces = ["), "{said}");
            let said = refused(&format!("path = \"{tier}\"\nkernel_interfaces = [\"nowhere\"]"));
            assert!(said.contains("no interface `nowhere`"), "{said}");
        }
        let foreign = load_at(&["r0"], Mode::XdpGeneric).expect("it can be had");
        let said = refused(&relay("xdp"));
        assert!(said.contains("another XDP program stands at `r0`"), "{said}");
        assert_eq!(standing(), 1, "it stands");
        // tc stands beside it, and on veth it is what auto takes, with the reason why not xdp.
        let served = Served::on("auto", "");
        let said = served.said();
        assert!(said.contains("packets path=tc below=sk_lookup"), "{said}");
        assert!(said.contains("`r0` is a veth") || said.contains("another XDP program"), "{said}");
        assert_eq!(standing(), 3);
        drop(served);
        drop(foreign);
        assert_eq!(standing(), 0);
        // Without a name nothing is attached.
        let served = Served::start("path = \"auto\"", "").unwrap_or_else(|(_, said)| panic!("{said}"));
        assert!(served.said().contains("packets path=sk_lookup"), "{}", served.said());
        assert!(served.said().contains("no interface is named"), "{}", served.said());
        assert_eq!(standing(), 0);
    });
}

/// What some thread of the server may do, in effect or by and by.
fn capabilities(served: &Served) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", served.process.id())).expect("it lives");
    let mut every = 0;
    for task in tasks.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        for line in status
            .lines()
            .filter(|line| ["CapPrm", "CapEff", "CapAmb"].iter().any(|set| line.starts_with(set)))
        {
            every |= line
                .split_whitespace()
                .nth(1)
                .map_or(0, |hex| u64::from_str_radix(hex, 16).expect("a number"));
        }
    }
    every
}

#[test]
fn the_capabilities_of_the_unit_are_enough_none_stays_and_without_one_it_is_refused() {
    lab::alone(|| {
        let hosts = hosts();
        for tier in TIERS {
            let served = Served::with_capabilities(tier, "+bpf,+net_admin,+perfmon,+net_raw");
            let served = served.unwrap_or_else(|(code, said)| panic!("{tier}: {code:?}: {said}"));
            assert!(served.said().contains("below=sk_lookup"), "{tier}: {}", served.said());
            assert_eq!(capabilities(&served), 0, "{tier}");
            let flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            flow.to_peer(b"without a privilege");
            drop((served, flow));
            let served = Served::with_capabilities(tier, "+bpf,+net_admin,+perfmon");
            let served = served.unwrap_or_else(|(code, said)| panic!("{tier}: {code:?}: {said}"));
            assert!(served.said().contains("below=sockets"), "{tier}: {}", served.said());
            let flow = Flow::new(&hosts, FLOWS[0], "alice");
            flow.warm(&served);
            flow.to_client(b"without another");
            drop((served, flow));
            for (granted, lacks) in
                [("+bpf,+perfmon", "CAP_NET_ADMIN"), ("+bpf,+net_admin,+net_raw", "CAP_PERFMON")]
            {
                match Served::with_capabilities(tier, granted) {
                    Err((Some(3), said)) => {
                        assert!(said.contains(&format!("the process lacks {lacks}")), "{said}");
                    }
                    Err((code, said)) => panic!("{tier}: exit code {code:?}: {said}"),
                    Ok(served) => panic!("{tier}: it serves: {}", served.said()),
                }
            }
        }
    });
}
