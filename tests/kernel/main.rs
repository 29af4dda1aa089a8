//! The tiers in the kernel: one table of cases through `forward`, TC and XDP; a fuzzer between the three; real packets in
//! networks of their own; what a packet costs. They need root: without it each says so and passes by.

#![cfg(all(feature = "kernel", target_os = "linux"))]
#![allow(unsafe_code, reason = "a thread gets a network of its own by a system call that no crate here has")]

mod cable;
mod cases;
mod cost;
mod figures;
mod frame;
mod fuzz;
mod lab;
mod oracle;
mod serve;
mod served;
mod wire;
mod world;
