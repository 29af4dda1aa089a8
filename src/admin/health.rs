//! Whether the server does its work: the control task answered lately and every worker lives.

use std::time::Duration;

use crate::control::view::ControlSnapshot;
use crate::proto::types::Tick;

use super::WorkerSnapshot;

/// The control task gives a sign of life every second; after so long without one it counts as stuck.
pub const ALIVE_WITHIN: Duration = Duration::from_secs(5);

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Ok,
    /// The control task has not begun.
    Starting,
    /// The control task gave no sign of life for so many milliseconds.
    ControlStuck {
        /// Since its last sign of life.
        silent_ms: u64,
    },
    /// These workers' threads do not run; none at all if the list is empty.
    WorkersDown(Vec<usize>),
    /// It does its work, but is leaving: nobody new should be sent here.
    Draining,
}

/// Judges the server at `now`.
#[must_use]
pub fn judge(now: Tick, control: &ControlSnapshot, workers: &[WorkerSnapshot]) -> Health {
    let Some(last_alive) = control.last_alive else { return Health::Starting };
    if last_alive.after(ALIVE_WITHIN).is_due(now) {
        return Health::ControlStuck { silent_ms: now.as_millis() - last_alive.as_millis() };
    }
    let down: Vec<_> =
        workers.iter().enumerate().filter_map(|(index, worker)| (!worker.live).then_some(index)).collect();
    if workers.is_empty() || !down.is_empty() {
        Health::WorkersDown(down)
    } else if control.draining {
        Health::Draining
    } else {
        Health::Ok
    }
}

impl Health {
    /// 200 or 503.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Starting | Self::ControlStuck { .. } | Self::WorkersDown(_) | Self::Draining => 503,
        }
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> String {
        let Some(reason) = self.reason() else { return r#"{"status":"ok"}"#.to_owned() };
        format!(r#"{{"status":"failing","reason":"{reason}"}}"#)
    }

    /// Why not, in words that need no escaping; `None` if all is well.
    fn reason(&self) -> Option<String> {
        match self {
            Self::Ok => None,
            Self::Draining => Some("draining".to_owned()),
            Self::Starting => Some("the control task has not begun".to_owned()),
            Self::ControlStuck { silent_ms } => {
                Some(format!("the control task has been silent for {silent_ms} ms"))
            }
            Self::WorkersDown(down) if down.is_empty() => Some("there is no worker".to_owned()),
            Self::WorkersDown(down) => {
                let names: Vec<_> = down.iter().map(|index| format!("worker-{index}")).collect();
                Some(format!("not running: {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn control(last_alive: Option<Tick>) -> ControlSnapshot {
        ControlSnapshot { last_alive, ..ControlSnapshot::default() }
    }

    fn workers(live: &[bool]) -> Vec<WorkerSnapshot> {
        live.iter().map(|live| WorkerSnapshot { live: *live, ..WorkerSnapshot::idle() }).collect()
    }

    #[test]
    fn all_is_well_while_control_speaks_and_workers_live() {
        let health = judge(at(5_999), &control(Some(at(1_000))), &workers(&[true, true]));
        assert_eq!(health, Health::Ok);
        assert_eq!((health.status(), health.body().as_str()), (200, r#"{"status":"ok"}"#));
    }

    #[test]
    fn a_silent_control_task_is_stuck_after_five_seconds_and_not_before() {
        assert_eq!(judge(at(5_999), &control(Some(at(1_000))), &workers(&[true])), Health::Ok);
        let health = judge(at(6_000), &control(Some(at(1_000))), &workers(&[true]));
        assert_eq!(health, Health::ControlStuck { silent_ms: 5_000 });
        assert_eq!(health.status(), 503);
        assert!(health.body().contains("silent for 5000 ms"), "{}", health.body());
    }

    #[test]
    fn it_recovers_with_the_next_sign_of_life() {
        assert_ne!(judge(at(20_000), &control(Some(at(1_000))), &workers(&[true])), Health::Ok);
        assert_eq!(judge(at(20_001), &control(Some(at(20_000))), &workers(&[true])), Health::Ok);
    }

    #[test]
    fn before_the_first_sign_of_life_it_is_starting() {
        let health = judge(at(0), &control(None), &workers(&[true]));
        assert_eq!((health.status(), &health), (503, &Health::Starting));
    }

    #[test]
    fn each_dead_worker_is_named() {
        let health = judge(at(0), &control(Some(at(0))), &workers(&[true, false, true, false]));
        assert_eq!(health, Health::WorkersDown(vec![1, 3]));
        assert_eq!(health.body(), r#"{"status":"failing","reason":"not running: worker-1, worker-3"}"#);
    }

    #[test]
    fn a_server_that_is_leaving_wants_no_new_clients_and_a_failure_is_told_first() {
        let leaving = ControlSnapshot { draining: true, ..control(Some(at(0))) };
        let health = judge(at(0), &leaving, &workers(&[true]));
        assert_eq!((health.status(), &health), (503, &Health::Draining));
        assert_eq!(health.body(), r#"{"status":"failing","reason":"draining"}"#);
        assert_eq!(judge(at(0), &leaving, &workers(&[false])), Health::WorkersDown(vec![0]));
    }

    #[test]
    fn no_workers_at_all_is_no_health() {
        let health = judge(at(0), &control(Some(at(0))), &[]);
        assert_eq!(health.status(), 503);
        assert!(health.body().contains("no worker"));
    }

    #[test]
    fn a_clock_read_before_the_sign_of_life_is_no_failure() {
        assert_eq!(judge(at(10), &control(Some(at(11))), &workers(&[true])), Health::Ok);
    }

    #[test]
    fn every_body_is_json() {
        for health in [
            Health::Ok,
            Health::Starting,
            Health::ControlStuck { silent_ms: 1 },
            Health::WorkersDown(vec![0]),
            Health::WorkersDown(vec![]),
            Health::Draining,
        ] {
            let body: serde_json::Value = serde_json::from_str(&health.body()).expect("JSON");
            assert_eq!(body["status"] == "ok", health == Health::Ok);
        }
    }
}
