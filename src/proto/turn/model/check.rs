//! Server, tables and reference agree; nothing is beyond its limit; nothing is left when all is over.

use std::collections::BTreeSet;

use crate::proto::media::Entry;
use crate::proto::turn::allocation::Allocation as ServersAllocation;
use crate::proto::turn::allocation::Phase as ServersPhase;
use crate::proto::turn::legs::Leg as ServersLeg;
use crate::proto::turn::legs::LegState as ServersState;
use crate::proto::turn::quota;
use crate::proto::types::ClientAddr;
use crate::proto::types::Family;
use crate::proto::types::QuotaIdentity;
use crate::proto::types::limits;

use super::driver::Driver;
use super::reference::Allocation;
use super::reference::LegState;
use super::reference::Phase;
use super::setup::FIRST_PORT;
use super::setup::five_tuple;
use super::setup::ip;

/// A timer fires at most so long after its time.
const LATE_MS: u64 = 250;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, must_be: &T) -> Result<(), String> {
    if is == must_be { Ok(()) } else { Err(format!("{what}: is {is:?}, must be {must_be:?}")) }
}

impl Driver {
    /// Whether all agree.
    pub(super) fn check(&mut self, sweep: bool) -> Result<(), String> {
        self.check_server()?;
        self.check_quotas()?;
        self.check_ports()?;
        self.check_sockets()?;
        (0..self.world.workers.len()).try_for_each(|worker| self.check_table(worker))?;
        self.reference.check_times(self.world.now_ms, LATE_MS)?;
        if !self.world.server.is_reconfiguring() {
            self.reference.check_denied(self.world.now_ms)?;
        }
        self.check_limits()?;
        if sweep { self.sweep() } else { Ok(()) }
    }

    fn check_server(&self) -> Result<(), String> {
        let server = &self.world.server;
        same("allocations", &server.allocations.len(), &self.reference.allocations.len())?;
        let live: BTreeSet<_> = server.live.iter().collect();
        same("relayed addresses", &live, &self.reference.relayed().into_iter().collect())?;
        for mine in &self.reference.allocations {
            for client in [Some(mine.home), mine.next].into_iter().flatten() {
                let Some(theirs) = server.allocations.of(&five_tuple(client)) else {
                    return Err(format!("client {client} has no allocation, and must have {mine:?}"));
                };
                self.check_allocation(mine, theirs)?;
            }
        }
        Ok(())
    }

    fn check_allocation(&self, mine: &Allocation, theirs: &ServersAllocation) -> Result<(), String> {
        let now_ms = self.world.now_ms;
        let is = (
            theirs.five_tuple,
            theirs.mobility.next(),
            usize::from(theirs.worker.0),
            theirs.owner.username.as_bytes().to_vec(),
            theirs.mobility.transit.is_some(),
            theirs.phase(),
        );
        let must_be = (
            five_tuple(mine.home),
            mine.next.map(five_tuple),
            mine.worker,
            mine.who.name.as_bytes().to_vec(),
            mine.transit.is_some(),
            match mine.phase {
                Phase::Opening(_) => ServersPhase::Opening,
                Phase::Live => ServersPhase::Live,
                Phase::Draining { .. } => ServersPhase::Draining,
            },
        );
        same("an allocation", &is, &must_be)?;
        let legs: Vec<_> = theirs.legs.iter().map(leg).collect();
        same("relayed addresses of an allocation", &legs, &mine.legs.iter().map(|it| it.told()).collect())?;
        let permissions: BTreeSet<_> = theirs.permissions.iter().filter(|it| it.1 > now_ms).collect();
        let must_be = mine.permissions.iter().copied().filter(|it| it.1 > now_ms).collect();
        same("permissions", &permissions, &must_be)?;
        let channels: BTreeSet<_> = theirs.channels.iter().filter(|it| it.2 > now_ms).collect();
        let ties = mine.channels.iter().filter(|it| it.tied > now_ms);
        same("channels", &channels, &ties.map(|it| (it.number, it.peer, it.tied)).collect())?;
        same("transactions", &theirs.transactions.len(), &mine.accepted.len())
    }

    fn check_quotas(&self) -> Result<(), String> {
        let allocations = &self.reference.allocations;
        let users: BTreeSet<_> = allocations.iter().map(|it| it.who.quota()).collect();
        let server = &self.world.server;
        same("users with allocations", &server.per_user.len(), &users.len())?;
        for user in users {
            let must_be = allocations.iter().filter(|it| it.who.quota() == user).count();
            let is = server.per_user.count(&QuotaIdentity::new(user.as_bytes()));
            same("allocations of a user", &(is as usize), &must_be)?;
        }
        let source = |client: usize| quota::source(ClientAddr::new(five_tuple(client).client.socket()));
        let clients = allocations.iter().flat_map(|it| [Some(it.home), it.next].into_iter().flatten());
        let sources: BTreeSet<_> = clients.map(|client| client / 2).collect();
        same("addresses with allocations", &server.per_address.len(), &sources.len())?;
        for pair in sources {
            let is = server.per_address.count(&source(pair * 2));
            same("allocations of an address", &(is as usize), &self.reference.of_address(pair * 2))?;
        }
        Ok(())
    }

    /// Each port of the range has one owner.
    fn check_ports(&self) -> Result<(), String> {
        let now_ms = self.world.now_ms;
        for (over_v6, pool) in [false, true].into_iter().zip(&self.world.server.pools) {
            let [free, reserved, quarantined] = pool.lists();
            let used = self.reference.allocations.iter().flat_map(|it| &it.legs);
            let used = used.filter(|it| it.over_v6 == over_v6 && !matches!(it.state, LegState::Gone));
            let used: Vec<_> = used.map(|it| it.port).collect();
            let census = pool.census();
            let sum = census.free + census.used + census.reserved + census.quarantined;
            same("ports in all", &sum, &usize::from(self.reference.setup.ports))?;
            same("used ports", &census.used, &used.len())?;
            let mut all: Vec<_> = free.iter().chain(&reserved).chain(&quarantined).map(|it| it.0).collect();
            all.extend(&used);
            all.sort_unstable();
            let range: Vec<_> = (FIRST_PORT..FIRST_PORT + self.reference.setup.ports).collect();
            same("owners of ports", &all, &range)?;
            let not_over = |list: &[(u16, u64)]| -> BTreeSet<_> {
                list.iter().copied().filter(|it| it.1 > now_ms).collect()
            };
            let mine = self.reference.reserved.iter().filter(|it| it.over_v6 == over_v6 && it.until > now_ms);
            same("reserved ports", &not_over(&reserved), &mine.map(|it| (it.port, it.until)).collect())?;
            let mine = self.reference.quarantined.iter().filter(|it| it.0 == over_v6 && it.2 > now_ms);
            same("ports set aside", &not_over(&quarantined), &mine.map(|it| (it.1, it.2)).collect())?;
        }
        Ok(())
    }

    /// Each relayed address that is open has one socket that is read, at its worker; no other socket is open.
    fn check_sockets(&self) -> Result<(), String> {
        for (worker, at) in self.world.workers.iter().enumerate() {
            for socket in &at.sockets {
                let owner = self.reference.allocations.iter().find_map(|allocation| {
                    Some((allocation, allocation.legs.iter().find(|leg| leg.relay == socket.relay)?))
                });
                let Some((allocation, leg)) = owner else {
                    return Err(format!("{socket:?} at worker {worker} is nobody's"));
                };
                let well = match leg.state {
                    LegState::Opening { .. } => allocation.worker == worker,
                    LegState::Open { .. } => {
                        allocation.transit.is_some()
                            || socket.lent == (allocation.worker != worker)
                                && (!socket.lent || leg.copies.contains(&worker))
                    }
                    LegState::Closing { .. } | LegState::Gone => false,
                };
                if !well || leg.port != socket.bound.port() {
                    return Err(format!("{socket:?} at worker {worker} does not belong to {leg:?}"));
                }
            }
        }
        for allocation in self.reference.allocations.iter().filter(|it| it.transit.is_none()) {
            for leg in allocation.legs.iter().filter(|leg| leg.is_open()) {
                let sockets = &self.world.workers[allocation.worker].sockets;
                let read = sockets.iter().filter(|it| it.relay == leg.relay && !it.lent).count();
                same("sockets of a relayed address", &read, &1)?;
            }
        }
        Ok(())
    }

    fn check_table(&self, worker: usize) -> Result<(), String> {
        let now_ms = self.world.now_ms;
        let table = &self.world.workers[worker].table;
        let own: BTreeSet<_> = table.own_relays().into_iter().collect();
        same("own relayed addresses", &own, &self.reference.relayed().into_iter().collect())?;
        let changing = |entry: &Entry| {
            let of = |it: &&Allocation| it.legs.iter().any(|leg| leg.relay == entry.relay);
            self.reference.allocations.iter().find(of).is_some_and(|it| it.transit.is_some())
        };
        let mut is = table.entries();
        is.retain(|entry| !changing(entry));
        for entry in &mut is {
            entry.permitted.retain(|(_, until)| until.as_millis() > now_ms);
            entry.channels.retain(|(_, _, until)| until.as_millis() > now_ms);
            entry.permitted.sort_unstable();
            entry.channels.sort_unstable();
        }
        let mut must_be = self.reference.entries(now_ms, worker);
        must_be.sort_by_key(|entry| entry.relay);
        is.sort_by_key(|entry| entry.relay);
        same(&format!("the table of worker {worker}"), &is, &must_be)
    }

    fn check_limits(&self) -> Result<(), String> {
        let server = &self.world.server;
        let within = |what: &str, is: usize, max: usize| {
            if is <= max { Ok(()) } else { Err(format!("{what}: {is}, at most {max}")) }
        };
        within("answers", server.answers.len(), limits::ANSWERS_KEPT_MAX)?;
        within("dead five-tuples", server.dead.len(), limits::FIVE_TUPLES_DEAD_MAX)?;
        // Of each relayed address one lifetime's timer and, in its first seconds, one for each try.
        let slots = server.allocations.slots();
        within("slots", slots, limits::ALLOCATIONS_MAX as usize)?;
        for slot in 0..slots {
            let Some(allocation) = server.allocations.at_slot(slot) else { continue };
            within("permissions", allocation.permissions.len(), self.reference.setup.permissions)?;
            within("channels", allocation.channels.len(), self.reference.setup.channels)?;
            within("transactions", allocation.transactions.len(), limits::TRANSACTIONS_PER_NONCE_MAX)?;
        }
        Ok(())
    }

    /// Everything that a replay must not change, as text.
    pub(super) fn everything(&self) -> String {
        let server = &self.world.server;
        let tables: Vec<_> = self.world.workers.iter().map(|worker| worker.table.entries()).collect();
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {tables:?}",
            server.allocations,
            server.pools,
            server.per_user,
            server.per_address,
            server.live,
            server.dead,
            server.tickets,
        )
    }

    /// Every time is over: nothing is left.
    pub(super) fn check_empty(&mut self) -> Result<(), String> {
        self.check(true)?;
        let now = self.world.now();
        let server = &mut self.world.server;
        server.answers.expire(now);
        let lifetime = server.config.challenger.nonce_lifetime;
        server.dead.expire(now.tick(), lifetime);
        same("allocations in the end", &server.allocations.len(), &0)?;
        same("users in the end", &server.per_user.len(), &0)?;
        same("addresses in the end", &server.per_address.len(), &0)?;
        same("answers in the end", &server.answers.len(), &0)?;
        same("dead five-tuples in the end", &server.dead.len(), &0)?;
        same("timers in the end", &server.timers.len(), &0)?;
        for pool in &mut server.pools {
            pool.expire(now.tick());
            same("free ports in the end", &pool.census().free, &usize::from(self.reference.setup.ports))?;
        }
        for worker in &self.world.workers {
            same("sockets in the end", &worker.sockets.len(), &0)?;
            same("reports in the end", &worker.reports.len(), &0)?;
            let table = &worker.table;
            same(
                "clients in the end",
                &(table.is_empty(), table.entries().len(), table.own_relays().len()),
                &(true, 0, 0),
            )?;
        }
        Ok(())
    }
}

/// Name, whether IPv6, port, and until when it is open: 0 for not yet and for no more.
fn leg(leg: &ServersLeg) -> (crate::proto::types::RelayId, bool, u16, &'static str, u64) {
    let (state, until) = match &leg.state {
        ServersState::Opening { deadline, .. } => ("opening", deadline.as_millis()),
        ServersState::Open { until, .. } => ("open", until.as_millis()),
        ServersState::Closing { .. } => ("closing", 0),
        ServersState::Gone => ("gone", 0),
    };
    (leg.relay, leg.family == Family::V6, leg.port, state, until)
}

impl super::reference::Leg {
    fn told(&self) -> (crate::proto::types::RelayId, bool, u16, &'static str, u64) {
        let (state, until) = match &self.state {
            LegState::Opening { deadline, .. } => ("opening", *deadline),
            LegState::Open { until } => ("open", *until),
            LegState::Closing { .. } => ("closing", 0),
            LegState::Gone => ("gone", 0),
        };
        (self.relay, self.over_v6, self.port, state, until)
    }
}

impl super::reference::Reference {
    /// What the table of a worker must hold, but for what is between two workers.
    fn entries(&self, now_ms: u64, worker: usize) -> Vec<Entry> {
        let mut entries = Vec::new();
        let live =
            self.allocations.iter().filter(|it| matches!(it.phase, Phase::Live) && it.transit.is_none());
        for (allocation, leg) in live.flat_map(|it| it.legs.iter().map(move |leg| (it, leg))) {
            let LegState::Open { until } = leg.state else { continue };
            let is_home = allocation.worker == worker;
            if !is_home && !leg.copies.contains(&worker) {
                continue;
            }
            let of_leg = |ip: std::net::IpAddr| ip.is_ipv6() == leg.over_v6;
            let channels = allocation.channels.iter().filter(|it| it.until > now_ms && of_leg(it.peer.ip()));
            let permitted = allocation.permissions.iter().map(|it| it.0);
            let permitted = permitted.chain(channels.clone().map(|it| it.peer.ip()));
            let permitted: BTreeSet<_> = permitted.filter(|ip| of_leg(*ip)).collect();
            let until_of = |ip| allocation.permitted(now_ms, ip, self.setup.strict_permissions);
            let permitted = permitted.into_iter().map(|ip| (ip, until_of(ip)));
            let mut channels: Vec<_> = channels
                .map(|it| (it.number, it.peer, crate::proto::types::Deadline::from_millis(it.until)))
                .collect();
            channels.sort_unstable();
            entries.push(Entry {
                relay: leg.relay,
                removed: false,
                settled: five_tuple(allocation.home),
                awaited: allocation.next.filter(|_| is_home).map(five_tuple),
                until: crate::proto::types::Deadline::from_millis(until),
                permitted: permitted
                    .filter(|it| it.1 > now_ms)
                    .map(|it| (it.0, crate::proto::types::Deadline::from_millis(it.1)))
                    .collect(),
                channels,
            });
        }
        entries
    }

    /// Nothing goes on after its time.
    fn check_times(&self, now_ms: u64, late_ms: u64) -> Result<(), String> {
        for allocation in &self.allocations {
            for leg in &allocation.legs {
                let over = match leg.state {
                    LegState::Opening { deadline, .. } => deadline,
                    LegState::Open { until } => until,
                    LegState::Closing { .. } | LegState::Gone => continue,
                };
                if over.saturating_add(late_ms) <= now_ms {
                    return Err(format!("{leg:?} goes on after its time"));
                }
            }
        }
        Ok(())
    }

    /// What the policy denies is taken back.
    fn check_denied(&self, now_ms: u64) -> Result<(), String> {
        for allocation in self.allocations.iter().filter(|it| matches!(it.phase, Phase::Live)) {
            let permission = allocation.permissions.iter().find(|it| it.1 > now_ms && !self.may_permit(it.0));
            let own = |ip_of: std::net::IpAddr| super::setup::RELAYS.iter().any(|relay| ip(relay) == ip_of);
            let channel = allocation
                .channels
                .iter()
                .find(|it| it.until > now_ms && !own(it.peer.ip()) && !self.may_reach(it.peer.socket()));
            if permission.is_some() || channel.is_some() {
                return Err(format!("{permission:?} and {channel:?} are denied, and were not taken back"));
            }
        }
        Ok(())
    }
}
