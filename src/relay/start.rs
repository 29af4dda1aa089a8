//! Listeners first, then threads.

use std::io;
use std::sync::Arc;
use std::thread;

use thiserror::Error;

use crate::net::BindError;
use crate::net::Listener;
use crate::net::privilege;
use crate::net::privilege::Capability;
use crate::net::probe;
use crate::net::udp;
use crate::proto::media::TableConfig;
use crate::proto::types::limits;
use crate::ring;
use crate::ring::Wake;

use super::Config;
use super::Handle;
use super::Stats;
use super::path;
use super::path::Choice;
use super::path::Refusal;
use super::path::Share;
use super::path::Tier;
use super::worker;
use super::worker::Slot;
use super::worker::SlotParts;

const _: () = assert!(limits::WORKER_COMMANDS_MAX <= limits::REPORTS_MAX);

/// Why the data plane cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A listen address cannot be had.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The kernel has no descriptor or memory left for a worker.
    #[error("cannot make worker {worker}: {error}")]
    Worker {
        /// Which.
        worker: u16,
        /// What the kernel said.
        error: io::Error,
    },
    /// The path that was named cannot be had.
    #[error(transparent)]
    Path(Refusal),
}

/// Binds every listen address for every worker, then starts the workers. Their requests and reports wake
/// `control_wake`.
///
/// # Errors
/// [`StartError`]; nothing runs then, and nothing is bound.
///
/// # Panics
/// If `config` has no worker or fewer seeds than workers, which is the caller's bug.
pub fn start(config: &Config, control_wake: &Arc<Wake>) -> Result<Vec<Handle>, StartError> {
    assert!(config.workers > 0, "a data plane without workers relays nothing");
    assert!(config.hash_seeds.len() >= usize::from(config.workers), "each worker has seeds of its own");
    match probe::raise_descriptor_limit() {
        Ok(limit) => tracing::debug!(limit, "descriptor limit"),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the descriptor limit: fewer relay sockets than could be")
        }
    }
    let listeners = udp::listen(&config.listen_udp, usize::from(config.workers))?;
    let (choice, shares) =
        path::choose(&config.path, config.workers, config.start).map_err(StartError::Path)?;
    tell(&choice);
    if config.path.drop_privileges {
        give_back(choice.tier);
    }
    let mut handles = Vec::with_capacity(listeners.len());
    for (worker, (listeners, share)) in (0..config.workers).zip(listeners.into_iter().zip(shares.each)) {
        // Those that run already end when their handles are dropped.
        let handle = start_one(config, worker, (listeners, share, choice.tier), control_wake)
            .map_err(|error| StartError::Worker { worker, error })?;
        handles.push(handle);
    }
    if let Some(first) = handles.first_mut() {
        first.buckets = shares.buckets;
    }
    Ok(handles)
}

/// One line for each tier that is better and cannot be had.
fn tell(choice: &Choice) {
    for Refusal { tier, reason, cure } in &choice.refused {
        tracing::info!(path = tier.word(), %reason, %cure, "a path that cannot be had");
    }
    match &choice.below {
        None => tracing::info!(path = choice.tier.word(), raw = choice.sends_raw, "the path of packets"),
        Some(below) => {
            let word = below.as_ref().map_or(Tier::Sockets, |tier| *tier).word();
            if let Err(Refusal { tier, reason, cure }) = below {
                tracing::info!(path = tier.word(), %reason, %cure, "a path that cannot be had");
            }
            tracing::info!(path = choice.tier.word(), below = word, "the path of packets");
        }
    }
}

/// On sockets the privilege to have large buffers stays: each allocation asks for some.
fn give_back(tier: Tier) {
    let kept: &[_] = if tier == Tier::Sockets { &[Capability::NetAdmin] } else { &[] };
    match privilege::give_back(kept) {
        Ok(given) => tracing::debug!(given, "privileges that the path needed at its start"),
        Err(error) => tracing::warn!(%error, "the privileges that the path needed cannot be given back"),
    }
}

fn start_one(
    config: &Config,
    worker: u16,
    (listeners, share, tier): (Vec<Listener>, Share, Tier),
    control_wake: &Arc<Wake>,
) -> io::Result<Handle> {
    let wake = Arc::new(Wake::new()?);
    let (to_worker, commands) = ring::channel(limits::WORKER_COMMANDS_MAX, Arc::clone(&wake));
    let (live, live_far) = ring::channel(limits::LIVE_REQUESTS_MAX, Arc::clone(control_wake));
    let (fresh, fresh_far) = ring::channel(limits::NEW_REQUESTS_MAX, Arc::clone(control_wake));
    let reports_max = limits::REPORTS_MAX + limits::STREAM_REPORTS_MAX;
    let (reports, reports_far) = ring::channel(reports_max, Arc::clone(control_wake));
    let (to_streams, arriving) = ring::channel(limits::STREAM_HANDOVERS_MAX, Arc::clone(&wake));
    let listen_udp = listeners.iter().map(Listener::local).collect();
    let stats = Arc::new(Stats::default());
    let mut slot = Slot::new(SlotParts {
        listeners,
        table: TableConfig {
            policy: Arc::clone(&config.policy),
            strict_permissions: config.strict_permissions,
            hash_seeds: config.hash_seeds[usize::from(worker)],
            external: config.external.clone(),
        },
        challenger: config.challenger.clone(),
        unproven_exempt: config.unproven_exempt.clone(),
        start: config.start,
        commands,
        live,
        fresh,
        reports,
        stats: Arc::clone(&stats),
        arriving,
        #[cfg(feature = "dtls")]
        dtls: config.dtls.clone(),
        share,
    })?;
    // The program at TC comes behind what puts datagrams together, and knows single ones alone.
    slot.set_single(tier == Tier::Tc || !config.runs);
    slot.set_leave_singly(!config.runs);
    let thread = thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || worker::live(worker, slot, worker::run))?;
    Ok(Handle {
        listen_udp,
        commands: to_worker,
        live: live_far,
        fresh: fresh_far,
        reports: reports_far,
        stats,
        thread,
        streams: Some(to_streams),
        tier,
        buckets: None,
    })
}
