//! Packets that the kernel dropped at the UDP sockets of a process for want of room: each socket has its own count, so nobody
//! else's losses are in it, as they are in the counts of the whole machine (`/proc/net/snmp`).

use std::collections::HashSet;
use std::fs;
use std::io;

/// The columns of `/proc/net/udp`: a socket's inode, and its drops.
const INODE: usize = 9;
const DROPS: usize = 12;

/// Drops at the sockets of process `pid` that are open now.
///
/// # Errors
/// What the kernel says: a process of another user may not be asked for its sockets.
pub(super) fn dropped(pid: u32) -> io::Result<u64> {
    let mut own = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One may be closed meanwhile.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        own.extend(target.to_str().and_then(inode_of));
    }
    let mut dropped = 0;
    for table in ["udp", "udp6"] {
        // Of the network namespace that the process lives in. IPv6 may be switched off.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/net/{table}")) else { continue };
        dropped += dropped_of(&text, &own);
    }
    Ok(dropped)
}

/// `socket:[123]`.
fn inode_of(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn dropped_of(table: &str, own: &HashSet<u64>) -> u64 {
    let of_line = |line: &str| {
        let mut columns = line.split_ascii_whitespace();
        let inode = columns.nth(INODE)?.parse().ok()?;
        let drops = columns.nth(DROPS - INODE - 1)?.parse::<u64>().ok()?;
        own.contains(&inode).then_some(drops)
    };
    table.lines().skip(1).filter_map(of_line).sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_a_socket_of_ours_had_no_room_for_is_counted_and_no_other() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        crate::net::dial::set_buffers(&socket, 1);
        let to = socket.local_addr().expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let inode = |socket: &UdpSocket| {
            use std::os::fd::AsRawFd as _;
            let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
            inode_of(fs::read_link(path).expect("open").to_str().expect("ASCII")).expect("a socket")
        };
        for _ in 0..200 {
            sender.send_to(&[7; 1_000], to).expect("sent");
        }
        let table = fs::read_to_string("/proc/self/net/udp").expect("the kernel tells");
        let full = dropped_of(&table, &HashSet::from([inode(&socket)]));
        assert!((100..200).contains(&full), "{full}");
        assert_eq!(dropped_of(&table, &HashSet::from([inode(&sender)])), 0);
        // Other tests have sockets too.
        assert!(dropped(std::process::id()).expect("our own") >= full);
    }

    #[test]
    fn the_kernels_words_are_understood() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 42 2 0000000000000000 17\n\
            2: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 43 2 0000000000000000 5\n\
            3: short";
        assert_eq!(dropped_of(table, &HashSet::from([42, 44])), 17);
        assert_eq!(dropped_of(table, &HashSet::from([42, 43])), 22);
        assert_eq!(dropped_of("", &HashSet::from([42])), 0);
        assert_eq!(inode_of("socket:[42]"), Some(42));
        for other in ["/dev/null", "socket:[x]", "socket:[1", "pipe:[42]"] {
            assert_eq!(inode_of(other), None, "{other}");
        }
        assert!(dropped((1 << 22) + 1).is_err());
    }
}
