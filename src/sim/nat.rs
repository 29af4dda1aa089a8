//! The NATs of this world: modelled ones (`crate::nat`), drawn by dice.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use crate::nat;
use crate::nat::Behaviour;
use crate::nat::Dependence;
use crate::nat::Hairpin;
use crate::nat::Packet;
use crate::nat::PortChoice;
use crate::nat::Protocol;
use crate::nat::Refresh;
use crate::nat::Verdict;
use crate::proto::types::Tick;

use super::clock::Micros;
use crate::proto::types::Dice;

/// What a calm needs: as long as RFC 4787 asks for (REQ-5).
const CALM: Duration = Duration::from_secs(120);

/// One NAT, with one external address. Streams do not go through it: what becomes of those is told at both ends.
#[derive(Debug)]
pub(super) struct Nat {
    pub(super) external: IpAddr,
    /// An address of its own that it gave somebody: the last one.
    pub(super) given: Option<SocketAddr>,
    nat: nat::Nat<Dice>,
    dice: Dice,
}

impl Nat {
    pub(super) fn draw(dice: &mut Dice, external: IpAddr) -> Self {
        let hairpin = if dice.chance(500) { Hairpin::ExternalSource } else { Hairpin::No };
        let behaviour = Behaviour {
            mapping: dice.pick(&Dependence::ALL),
            filtering: dice.pick(&Dependence::ALL),
            ports: dice.pick(&[PortChoice::Preserve, PortChoice::Sequential, PortChoice::Random]),
            parity: dice.chance(500),
            hairpin,
            refresh: dice.pick(&[Refresh::Outbound, Refresh::Both]),
            udp: Duration::from_secs(dice.pick(&[15, 30, 120, 300])),
            ..Behaviour::FULL_CONE
        };
        Self::new(behaviour, external, dice.fork())
    }

    fn new(behaviour: Behaviour, external: IpAddr, dice: Dice) -> Self {
        let nat = nat::Nat::new(behaviour, vec![external], dice.clone());
        Self { external, given: None, nat, dice }
    }

    /// The source and destination that a packet of `inner` for `remote` has from here on; `None` where it is lost.
    pub(super) fn outbound(
        &mut self,
        now: Micros,
        inner: SocketAddr,
        remote: SocketAddr,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let verdict = self.nat.outbound(tick(now), &datagram(inner, remote));
        if let Verdict::Pass { source, .. } = verdict {
            self.given = Some(source);
        }
        passed(verdict)
    }

    /// Who inside gets a packet from `remote` that came to the external `port`.
    pub(super) fn inbound(&mut self, now: Micros, remote: SocketAddr, port: u16) -> Option<SocketAddr> {
        let outer = SocketAddr::new(self.external, port);
        passed(self.nat.inbound(tick(now), &datagram(remote, outer))).map(|(_, inner)| inner)
    }

    /// Forgets everything, as after a power cut.
    pub(super) fn forget(&mut self) {
        self.nat.forget();
    }

    /// Forgets everything, and keeps mappings long enough from here on.
    pub(super) fn calm_down(&mut self) {
        let was = *self.nat.behaviour();
        let behaviour = Behaviour { udp: was.udp.max(CALM), ..was };
        *self = Self::new(behaviour, self.external, self.dice.fork());
    }
}

const fn datagram(source: SocketAddr, destination: SocketAddr) -> Packet {
    Packet { protocol: Protocol::Udp, source, destination, fragment: None }
}

const fn passed(verdict: Verdict) -> Option<(SocketAddr, SocketAddr)> {
    match verdict {
        Verdict::Pass { source, destination } | Verdict::Back { source, destination } => {
            Some((source, destination))
        }
        Verdict::Drop(_) | Verdict::Reject(_) => None,
    }
}

const fn tick(now: Micros) -> Tick {
    Tick::from_millis(now / 1_000)
}
