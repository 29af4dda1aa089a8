//! The program, attached.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::net::privilege;
use crate::proto::media::Counters;
use crate::proto::media::DropReason;
use crate::proto::media::Table;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::proto::types::limits;
use crate::relay::Stats;
use crate::relay::path::choose::Refusal;
use crate::relay::path::choose::Tier;
use crate::relay::path::choose::Wish;
use crate::relay::path::kernel;
use crate::relay::path::kernel::Drops;
use crate::relay::path::kernel::Kernel;
use crate::relay::path::kernel::Mode;
use crate::relay::path::kernel::Setup;
use crate::relay::path::kernel::Writer;

use super::Ready;

/// Channels that there is room for, for each relay port: others are relayed by the workers.
const CHANNELS_PER_PORT: u64 = 4;

/// One worker's share of the program. With the last of them it is detached.
#[derive(Debug)]
pub(in crate::relay) struct Attached {
    kernel: Arc<Kernel>,
    writer: Writer,
    /// When this worker last looked at what has changed around it.
    looked_ms: u64,
    /// What the program dropped, as far as the statistics know; of one worker, who counts it for all.
    drops: Option<Drops>,
}

/// Attaches the program for `tier` to the interfaces that were named. `start` is when ticks begin.
pub(in crate::relay::path) fn attach(
    tier: Tier,
    wish: &Wish,
    workers: u16,
    start: Instant,
) -> Result<Ready, Refusal> {
    let refused = |reason: String, cure: String| Refusal { tier, reason, cure };
    look_around(tier, wish)?;
    let ports = u64::from(wish.ports.end().saturating_sub(*wish.ports.start())) + 1;
    let channels = ports * wish.addresses.len() as u64 * CHANNELS_PER_PORT;
    let setup = Setup {
        addresses: wish.addresses.clone(),
        ports: wish.ports.clone(),
        workers,
        channels: u32::try_from(channels).unwrap_or(u32::MAX),
        since_start: start.elapsed(),
        lend: limits::KERNEL_LEND,
    };
    let mode = if tier == Tier::Tc { Mode::Tc } else { Mode::Xdp };
    let kernel = Kernel::load(&wish.interfaces, mode, &setup);
    let kernel = kernel.map(Arc::new).map_err(|missing| refused(missing.reason, missing.cure))?;
    let buckets = kernel.buckets();
    let share = |worker: u16| {
        let drops = (worker == 0).then(Drops::default);
        let writer = kernel.writer(worker)?;
        Ok(Attached { kernel: Arc::clone(&kernel), writer, looked_ms: 0, drops })
    };
    let each = (0..workers).map(share).collect::<io::Result<Vec<_>>>().map_err(|error| {
        refused(
            format!("no descriptor for a worker's maps: {error}"),
            "raise the limit of descriptors".to_owned(),
        )
    })?;
    Ok((each, buckets))
}

/// What can be said before anything is loaded.
fn look_around(tier: Tier, wish: &Wish) -> Result<(), Refusal> {
    let refused = |reason: String, cure: String| Err(Refusal { tier, reason, cure });
    if wish.interfaces.is_empty() {
        let found = wish.addresses.iter().find_map(|address| kernel::way_out(*address));
        let name = found.as_deref().unwrap_or("eth0");
        return refused(
            "no interface is named that a program may be attached to".to_owned(),
            format!("write `kernel_interfaces = [\"{name}\"]` to `[relay]`: those that media comes by"),
        );
    }
    let missing = privilege::missing(tier.needs());
    if !missing.is_empty() {
        let words = missing.iter().map(|one| one.word()).collect::<Vec<_>>().join(", ");
        return refused(
            format!("the process lacks {words}"),
            format!("grant them (conf/systemd/swingbridge-{}.conf), or start as root", tier.word()),
        );
    }
    let since = if tier == Tier::Tc { TC_SINCE } else { XDP_SINCE };
    if let Some((major, minor)) = privilege::kernel_version().filter(|kernel| *kernel < since) {
        return refused(
            format!("Linux {major}.{minor} cannot attach it so that it ends with the process"),
            format!("Linux {}.{} can", since.0, since.1),
        );
    }
    // XDP on veth turns each packet of a local sender into a frame of its own first, which costs more than it saves.
    let is_veth = |name: &&String| kernel::kind_of(name).is_ok_and(|kind| kind == "veth");
    match wish.interfaces.iter().find(is_veth) {
        Some(name) if tier == Tier::Xdp && wish.tier.is_none() => refused(
            format!("`{name}` is a veth, on which \"tc\" costs less"),
            "write `path = \"xdp\"` to have it all the same".to_owned(),
        ),
        _ => Ok(()),
    }
}

/// The oldest kernels that have tcx, and that let a process change its maps without a privilege.
const TC_SINCE: (u32, u32) = (6, 6);
const XDP_SINCE: (u32, u32) = (5, 19);

impl Attached {
    /// Writes what `table` says now of `relay`.
    pub(in crate::relay::path) fn update(&mut self, table: &Table, relay: RelayId) {
        self.writer.update(table, relay);
    }

    /// Writes what `table` says now of each allocation.
    pub(in crate::relay::path) fn update_all(&mut self, table: &Table) {
        self.writer.update_all(table);
    }

    /// Nothing of `relay` is relayed by the program from here on. Answers what was.
    pub(in crate::relay::path) fn close(&mut self, relay: RelayId) -> Counters {
        self.writer.close(relay)
    }

    /// The same for all.
    pub(in crate::relay::path) fn close_all(&mut self) -> Vec<(RelayId, Counters)> {
        self.writer.close_all()
    }

    /// To be called in every round; about once a [`limits::KERNEL_LOOK`] it looks at neighbours and routes, and shows what was
    /// carried and dropped.
    pub(in crate::relay::path) fn look(&mut self, table: &Table, tick: Tick, stats: &Stats) {
        let now = tick.as_millis();
        if Duration::from_millis(now.saturating_sub(self.looked_ms)) < limits::KERNEL_LOOK {
            return;
        }
        self.looked_ms = now;
        self.writer.follow(table);
        let carried = self.writer.carried_since(limits::KERNEL_LOOKED_AT_MAX);
        stats.kernel_to_peers.add(carried.to_peer_packets, carried.to_peer_bytes);
        stats.kernel_to_clients.add(carried.to_client_packets, carried.to_client_bytes);
        if let Some(told) = &mut self.drops
            && let Ok(drops) = self.kernel.drops()
        {
            let Drops { allocation_bandwidth, user_bandwidth, unwritten } = drops;
            let each = [
                (DropReason::AllocationBandwidth, allocation_bandwidth, told.allocation_bandwidth),
                (DropReason::UserBandwidth, user_bandwidth, told.user_bandwidth),
                (DropReason::SendFailed, unwritten, told.unwritten),
            ];
            for (reason, now, before) in each {
                stats.count_drops(reason, now.saturating_sub(before));
            }
            *told = drops;
        }
    }
}
