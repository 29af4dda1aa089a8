//! What the admin door sees of the workers.

use std::sync::Arc;

use crate::admin::MrasSnapshot;
use crate::admin::PeersSnapshot;
use crate::admin::RingSnapshot;
use crate::admin::StreamsSnapshot;
use crate::admin::WebSnapshot;
use crate::admin::WorkerSnapshot;
use crate::listen;
use crate::listen::stats::FULL;
use crate::listen::stats::Layer;
use crate::listen::stats::TurnedAway;
use crate::listen::web::Errand;
use crate::listen::web::WebEnd;
use crate::listen::web::WebStats;
use crate::mras;
use crate::mras::Door;
use crate::mras::End;
use crate::mras::Outcome;
use crate::proto::media::DropReason;
use crate::proto::types::Transport;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Verdict;
use crate::relay::Gauges;
use crate::relay::Handle;
use crate::relay::Stats;
use crate::relay::stats::StreamEnd;
use crate::ring::Gauge;

/// A look at every worker, worker 0 first.
pub(crate) fn of(handles: &[Handle]) -> Arc<dyn Fn() -> Vec<WorkerSnapshot> + Send + Sync> {
    let workers: Vec<_> = handles.iter().map(|handle| (handle.stats(), handle.gauges())).collect();
    Arc::new(move || workers.iter().map(|(stats, gauges)| snapshot(stats, gauges)).collect())
}

/// A look at the listening task.
pub(crate) fn of_streams(stats: Arc<listen::Stats>) -> Arc<dyn Fn() -> StreamsSnapshot + Send + Sync> {
    Arc::new(move || streams(&stats))
}

/// A look at the doors of the MRAS service, where there are any.
pub(crate) fn of_mras(stats: Option<Arc<mras::Stats>>) -> Arc<dyn Fn() -> MrasSnapshot + Send + Sync> {
    Arc::new(move || stats.as_deref().map(doors).unwrap_or_default())
}

fn doors(stats: &mras::Stats) -> MrasSnapshot {
    let ended = |door: Door| End::ALL.map(|end| (door.word(), end.word(), stats.ends(door, end)));
    let requests =
        |door: Door| Outcome::ALL.map(|outcome| (door.word(), outcome.word(), stats.requests(door, outcome)));
    MrasSnapshot {
        connections: Door::ALL.map(|door| (door.word(), stats.open(door))).into(),
        ended: Door::ALL.into_iter().flat_map(ended).collect(),
        requests: Door::ALL.into_iter().flat_map(requests).collect(),
        credentials: Door::ALL.map(|door| (door.word(), stats.credentials(door))).into(),
    }
}

fn streams(stats: &listen::Stats) -> StreamsSnapshot {
    let verdicts = Layer::ALL.iter().flat_map(|layer| {
        let all = Verdict::ALL.iter();
        all.map(|verdict| (layer.word(), verdict.word(), stats.verdicts(*layer, *verdict)))
    });
    StreamsSnapshot {
        accepted: stats.accepted(),
        accept_errors: stats.accept_errors(),
        refused: FULL.iter().map(|(full, word)| (*word, stats.full(*full))).collect(),
        verdicts: verdicts.collect(),
        turned_away: TurnedAway::ALL.iter().map(|why| (why.word(), stats.turned_away(*why))).collect(),
        handed_over: [Transport::Tcp, Transport::Tls]
            .map(|transport| (transport.word(), stats.handed_over(transport)))
            .into(),
        web: web(stats.web()),
    }
}

fn web(stats: &WebStats) -> WebSnapshot {
    WebSnapshot {
        begun: Errand::ALL.iter().map(|errand| (errand.word(), stats.begun(*errand))).collect(),
        ended: WebEnd::ALL.iter().map(|why| (why.word(), stats.ended(*why))).collect(),
        bytes: vec![("to_site", stats.bytes_to_site()), ("to_client", stats.bytes_to_client())],
    }
}

fn snapshot(stats: &Stats, gauges: &Gauges) -> WorkerSnapshot {
    let errors = ErrorCode::ALL.iter().map(|code| stats.error_answers(*code));
    WorkerSnapshot {
        live: stats.is_running(),
        drops: DropReason::ALL.iter().map(|reason| stats.dropped(*reason)).collect(),
        greetings: std::iter::once(stats.binding_answers.get()).chain(errors).collect(),
        from_client_packets: stats.from_clients.packets.get(),
        from_peer_packets: stats.from_peers.packets.get(),
        listener_losses: stats.listener_losses.get(),
        relay_losses: stats.relay_losses.get(),
        receive_errors: stats.receive_errors.get(),
        relay_sockets: stats.relay_sockets.get(),
        wakeups: stats.wakeups.get(),
        batches: stats.batches.get(),
        panics: stats.panics.get(),
        streams: stats.streams.get(),
        stream_ends: StreamEnd::ALL.iter().map(|why| (why.word(), stats.stream_ends(*why))).collect(),
        streams_parked: stats.streams_parked.get(),
        dtls_associations: stats.dtls.associations.get(),
        dtls: vec![
            ("cookie", stats.dtls.cookies.get()),
            ("begun", stats.dtls.begun.get()),
            ("refused", stats.dtls.refused.get()),
            ("ended", stats.dtls.ended.get()),
        ],
        peers: PeersSnapshot {
            joined: stats.peer_joined.get(),
            waiting: stats.peer_connections.get().saturating_sub(stats.peer_joined.get()),
            refused: stats.peer_refused.get(),
            held_back: stats.peer_held_back.get(),
            to_peer_bytes: stats.to_connections.get(),
            to_client_bytes: stats.from_connections.get(),
        },
        answers_elsewhere: stats.answers_elsewhere.get(),
        to_peer_packets: stats.to_peers.packets.get() + stats.kernel_to_peers.packets.get(),
        to_peer_bytes: stats.to_peers.bytes.get() + stats.kernel_to_peers.bytes.get(),
        to_client_packets: stats.to_clients.packets.get() + stats.kernel_to_clients.packets.get(),
        to_client_bytes: stats.to_clients.bytes.get() + stats.kernel_to_clients.bytes.get(),
        rings: vec![
            ring("commands", &gauges.commands),
            ring("live_requests", &gauges.live),
            ring("new_requests", &gauges.fresh),
            ring("reports", &gauges.reports),
        ],
        kernel_packets: [stats.kernel_to_peers.packets.get(), stats.kernel_to_clients.packets.get()],
    }
}

fn ring(name: &'static str, gauge: &Gauge) -> RingSnapshot {
    RingSnapshot { name, fill: gauge.fill() as u64, capacity: gauge.capacity() as u64 }
}
