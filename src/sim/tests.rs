//! The simulation of itself: small runs, and the capture read by a reader of its own.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::*;

fn plan(seed: u64, steps: u64) -> Plan {
    Plan { seed, steps, capture: false }
}

#[test]
fn a_few_small_runs_are_clean() {
    for seed in 1..4 {
        let report = run(plan(seed, 1_500)).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(report.steps >= 1_500);
    }
}

#[test]
fn a_seed_is_the_same_run_twice_captured_or_not() {
    let digest = |plan| run(plan).unwrap_or_else(|violation| panic!("{violation}")).digest;
    let first = digest(plan(11, 1_000));
    assert_eq!(digest(plan(11, 1_000)), first);
    assert_eq!(digest(Plan { capture: true, ..plan(11, 1_000) }), first);
    assert_ne!(digest(plan(12, 1_000)), first);
}

#[test]
fn a_capture_is_read_by_whoever_knows_the_format() {
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    // Not every world has both families, or much to say.
    for seed in 3..9 {
        let report = run(Plan { capture: true, ..plan(seed, 2_000) }).expect("a clean run");
        let capture = report.capture.expect("one was asked for");
        let datagrams = read_capture(&capture);
        count += datagrams.len();
        for Datagram { from, to, .. } in datagrams {
            for (ip, port) in [from, to] {
                seen.insert(match (ip, port) {
                    (IpAddr::V4(_), 3_478) => "listener, IPv4",
                    (IpAddr::V6(_), 3_478) => "listener, IPv6",
                    (IpAddr::V4(_), 50_000..) => "relay, IPv4",
                    (IpAddr::V6(_), 50_000..) => "relay, IPv6",
                    _ => "host",
                });
            }
        }
    }
    assert!(count > 3_000, "{count}");
    assert_eq!(seen.len(), 5, "both legs in both families: {seen:?}");
}

struct Datagram {
    from: (IpAddr, u16),
    to: (IpAddr, u16),
}

/// Reads a capture from the description of the format alone; every length and checksum must be right.
fn read_capture(bytes: &[u8]) -> Vec<Datagram> {
    let (header, mut rest) = bytes.split_at(24);
    assert_eq!(header[..4], [0xD4, 0xC3, 0xB2, 0xA1], "little endian, microseconds");
    assert_eq!(header[4..8], [2, 0, 4, 0], "version 2.4");
    assert_eq!(little(&header[20..24]), 101, "raw IP");
    let snaplen = little(&header[16..20]);
    let (mut found, mut before) = (Vec::new(), (0, 0));
    while !rest.is_empty() {
        let (record, behind) = rest.split_at(16);
        let [seconds, micros, kept, whole] = [0, 4, 8, 12].map(|at| little(&record[at..at + 4]));
        assert!(micros < 1_000_000 && kept == whole && whole <= snaplen);
        // The wall clock of a run may be set back; the first stretch is in order.
        before = before.max((seconds, micros));
        let (packet, behind) = behind.split_at(usize::try_from(kept).unwrap());
        found.push(read_packet(packet));
        rest = behind;
    }
    assert!(before > (1_700_000_000, 0));
    found
}

fn read_packet(packet: &[u8]) -> Datagram {
    let (from, to, udp) = match packet[0] >> 4 {
        4 => {
            assert_eq!(packet[0], 0x45);
            assert_eq!(big(&packet[2..4]), packet.len());
            assert_eq!(sum(&[&packet[..20]]), 0xFFFF, "the header's checksum");
            let ip =
                |at: usize| IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()));
            assert_eq!(packet[9], 17);
            (ip(12), ip(16), &packet[20..])
        }
        6 => {
            assert_eq!(big(&packet[4..6]), packet.len() - 40);
            assert_eq!(packet[6], 17);
            let ip =
                |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap()));
            (ip(8), ip(24), &packet[40..])
        }
        other => panic!("IP version {other}"),
    };
    assert_eq!(big(&udp[4..6]), udp.len());
    assert_ne!(udp[6..8], [0, 0], "there is a checksum");
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    let len = u32::try_from(udp.len()).unwrap().to_be_bytes();
    assert_eq!(sum(&[addresses, &len, &[0, 0, 0, 17], udp]), 0xFFFF, "the datagram's checksum");
    let port = |at: usize| u16::try_from(big(&udp[at..at + 2])).unwrap();
    Datagram { from: (from, port(0)), to: (to, port(2)) }
}

/// The sum of all 16-bit words with end-around carry: all ones where a checksum among them is right.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut bytes: Vec<u8> = parts.concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let words = bytes.chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    words.fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

fn little(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

fn big(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes(bytes.try_into().unwrap()))
}
