//! The doors of the MRAS service on loopback: who is let in, what is answered, and what each may cost. Certificates are
//! made at run time.

#![cfg(feature = "server")]

mod admission;
mod house;
mod https;
mod limits;
mod load;
mod pki;
mod reload;
mod sip;
