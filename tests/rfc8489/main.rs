//! The STUN half of the codec against RFC 5769's and RFC 8489's vectors, against two foreign codecs, and against
//! hostile bytes.

mod oracles;
mod totality;
mod vectors;
