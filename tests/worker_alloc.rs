//! A worker allocates nothing for a packet: a counting allocator watches the whole process while calls go on.
#![cfg(feature = "server")]
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

#[allow(dead_code, reason = "shared with the socket tests, which use all of it")]
#[path = "socket/message.rs"]
mod message;
#[allow(dead_code, reason = "shared with the socket tests, which use all of it")]
#[path = "socket/plane.rs"]
mod plane;

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use plane::CHANNEL;
use plane::Client;
use plane::Plane;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator, which keeps the contract; counting touches
// only an atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is the one asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` with this `layout`; the caller promises a valid `new_size`.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// The only test of this process, so that nothing else is counted.
#[test]
fn no_packet_and_no_answer_to_a_stranger_costs_an_allocation() {
    let mut plane = Plane::start(1, &["127.0.0.1:0"]);
    let server = plane.server(0);
    let client = Client::new(server.ip(), server);
    let (bound, unbound) = (Client::new(server.ip(), server), Client::new(server.ip(), server));
    let stranger = Client::new(server.ip(), server);
    let outsider = Client::new("127.0.0.2".parse().expect("a literal"), server);
    let allocation = plane.open(&client, bound.address());
    let channel_data = message::channel_data(CHANNEL, &[7; 172]);
    let indication = message::send_indication(unbound.address(), &[8; 172]);
    let binding = message::stun(message::BINDING, [1; 12], &[]);
    let allocate = message::stun(message::ALLOCATE, [2; 12], &[]);
    let mut buffer = [0; 2_048];
    let mut round = || {
        for (from, bytes, to, at) in [
            (&client, &channel_data, server, &bound),
            (&client, &indication, server, &unbound),
            (&bound, &channel_data, allocation.relayed, &client),
            (&unbound, &channel_data, allocation.relayed, &client),
            (&stranger, &binding, server, &stranger),
            (&stranger, &allocate, server, &stranger),
        ] {
            from.socket.send_to(bytes, to).expect("sent");
            at.socket.recv_from(&mut buffer).expect("it came");
        }
        // Dropped ones, too: no allocation, and no permission.
        outsider.socket.send_to(&channel_data, server).expect("sent");
        outsider.socket.send_to(b"x", allocation.relayed).expect("sent");
    };
    (0..10).for_each(|_| round());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..500).for_each(|_| round());
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
