//! NATs in a row: a router at home behind a carrier's.

use crate::proto::types::Entropy;
use crate::proto::types::Tick;

use super::nat::Nat;
use super::packet::Packet;
use super::packet::Verdict;

/// NATs in a row, the innermost first. Without any, packets pass as they are.
#[derive(Debug, Default)]
pub struct Chain<E>(pub Vec<Nat<E>>);

impl<E: Entropy> Chain<E> {
    /// A packet from the innermost side.
    pub fn outbound(&mut self, tick: Tick, packet: &Packet) -> Verdict {
        let mut now = *packet;
        for at in 0..self.0.len() {
            match self.0[at].outbound(tick, &now) {
                Verdict::Pass { source, destination } => now = Packet { source, destination, ..now },
                Verdict::Back { source, destination } => {
                    let back = Packet { source, destination, ..now };
                    return turned(self.inward(at, tick, &back));
                }
                stopped @ (Verdict::Drop(_) | Verdict::Reject(_)) => return stopped,
            }
        }
        Verdict::Pass { source: now.source, destination: now.destination }
    }

    /// A packet from the outermost side.
    pub fn inbound(&mut self, tick: Tick, packet: &Packet) -> Verdict {
        self.inward(self.0.len(), tick, packet)
    }

    /// A packet that is outside of the NAT before `below`.
    fn inward(&mut self, below: usize, tick: Tick, packet: &Packet) -> Verdict {
        let mut now = *packet;
        for nat in self.0[..below].iter_mut().rev() {
            match nat.inbound(tick, &now) {
                Verdict::Pass { source, destination } => now = Packet { source, destination, ..now },
                stopped => return stopped,
            }
        }
        Verdict::Pass { source: now.source, destination: now.destination }
    }
}

/// What passed inward after it had turned around.
const fn turned(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Pass { source, destination } => Verdict::Back { source, destination },
        stopped => stopped,
    }
}
