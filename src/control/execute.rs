//! What the server wants done, on its way to the workers.

use std::collections::HashMap;

use crate::proto::turn::OpenFailure;
use crate::proto::turn::Output;
use crate::proto::types::RelayId;
use crate::proto::types::WorkerId;
use crate::proto::types::limits;
use crate::relay::Handle;
use crate::relay::Parcel;
use crate::relay::ToWorker;

/// What the reports about one moving relay socket can make a worker owe besides: it is to take the socket over, and to
/// close it. Kept free from the moment the move begins.
const OWED_PER_MOVE_MAX: usize = 2;

/// The down rings of all workers, and how many reports each still owes.
///
/// A command that is answered by a report has a place for it from the moment it is pushed: nothing is pushed while a
/// worker owes so many reports that its ring could overflow. So a worker never waits for the control task, and the
/// control task, which does wait for room, always gets it: reports are taken however many are owed, for each one
/// taken is one fewer.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<Handle>,
    owed: Vec<usize>,
    /// How often each has panicked.
    epochs: Vec<u32>,
    /// What a worker gave away, while the server is asked who shall have it.
    held: Option<Box<Parcel>>,
    /// Relay sockets on the way from one worker to another, and whose report is awaited next.
    moving: HashMap<RelayId, WorkerId>,
}

impl Workers {
    pub(super) fn new(handles: Vec<Handle>) -> Self {
        let (owed, epochs) = (vec![0; handles.len()], vec![0; handles.len()]);
        Self { handles, owed, epochs, held: None, moving: HashMap::new() }
    }

    pub(super) fn handles(&mut self) -> &mut [Handle] {
        &mut self.handles
    }

    /// What there is room for at every worker.
    pub(super) fn room(&self) -> Room {
        let moving = self.moving.len() * OWED_PER_MOVE_MAX;
        let rooms = self.handles.iter().zip(&self.owed);
        let rooms = rooms.map(|(handle, owed)| Room::of(handle.commands.free_slots(), owed + moving));
        rooms.min().unwrap_or(Room::All)
    }

    /// Whether every worker can take whatever one input makes the server say.
    pub(super) fn have_room(&self) -> bool {
        self.room() == Room::All
    }

    /// Holds what a worker gave away for [`Output::AttachRelay`].
    pub(super) fn hold(&mut self, parcel: Option<Box<Parcel>>) {
        self.held = parcel;
    }

    /// Whether nobody takes over what is held; then it is dropped, which closes its socket.
    pub(super) fn drop_held(&mut self) -> bool {
        self.held.take().is_some()
    }

    /// A relay socket is at its new worker, or will not get there.
    pub(super) fn moved(&mut self, relay: RelayId) {
        self.moving.remove(&relay);
    }

    /// Notes that `worker` gave a report that it owed.
    pub(super) fn settle(&mut self, worker: usize) {
        self.owed[worker] = self.owed[worker].saturating_sub(1);
    }

    /// Notes that `worker` panicked: it reports about nothing that it was told so far. All reports from before have been
    /// taken, for they came first.
    /// Answers how often it has panicked since it last said so.
    pub(super) fn restarted(&mut self, worker: WorkerId, epoch: u32) -> u32 {
        let index = usize::from(worker.0);
        self.owed[index] = 0;
        self.moving.retain(|_, at| *at != worker);
        epoch.wrapping_sub(std::mem::replace(&mut self.epochs[index], epoch))
    }

    /// Hands one output down. Answers what is for nobody's ring: an event.
    pub(super) fn carry_out(&mut self, output: Output) -> Option<crate::proto::turn::Event> {
        match output {
            Output::Reply { worker, to, bytes } => self.push(worker, ToWorker::Reply { to, bytes }),
            Output::OpenRelay { worker, relay, bind } => {
                self.owe(worker);
                self.push(worker, ToWorker::Open { relay, bind });
            }
            Output::CloseRelay { worker, relay } => {
                self.owe(worker);
                self.push(worker, ToWorker::Close { relay });
            }
            Output::Table { worker, change } => self.push(worker, ToWorker::Table(change)),
            Output::TableOfAll { change } => self.push_all(|| ToWorker::Table(change.clone())),
            Output::Event(event) => return Some(event),
            Output::Announce { username_anonymity } => {
                self.push_all(|| ToWorker::Announce { username_anonymity });
            }
            Output::DetachRelay { worker, relay, keep } => {
                self.moving.insert(relay, worker);
                self.owe(worker);
                self.push(worker, ToWorker::Detach { relay, keep });
            }
            Output::SendToPeer { worker, relay, peer, data } => {
                self.push(worker, ToWorker::Send { relay, peer, data });
            }
            Output::AttachRelay { worker, relay, next } => {
                debug_assert!(self.held.is_some(), "asked for only while a parcel is held");
                if let Some(parcel) = self.held.take() {
                    self.moving.insert(relay, worker);
                    self.owe(worker);
                    self.push(worker, ToWorker::Attach { parcel, next });
                }
            }
            Output::RebuildWorker { worker, epoch, username_anonymity } => {
                self.push(worker, ToWorker::Rebuild { epoch, username_anonymity });
            }
            Output::WorkerRebuilt { worker } => self.push(worker, ToWorker::Rebuilt),
            Output::OpenPort { worker, relay, bind } => {
                self.owe(worker);
                self.push(worker, ToWorker::OpenPort { relay, bind });
            }
            Output::Peer { worker, order } => self.push(worker, ToWorker::Peer(order)),
        }
        None
    }

    /// Wakes every worker that sleeps and has something to do.
    pub(super) fn wake(&mut self) {
        self.handles.iter_mut().for_each(|handle| handle.commands.wake());
    }

    /// Tells every worker to end, and waits until it has.
    pub(super) fn stop(mut self) {
        for handle in &mut self.handles {
            // A ring that is full, or a worker that is gone, ends when the ring is dropped.
            let _ = handle.commands.push(ToWorker::Stop);
        }
        for handle in self.handles {
            handle.join();
        }
    }

    fn push_all(&mut self, command: impl Fn() -> ToWorker) {
        for index in 0..self.handles.len() {
            let worker = WorkerId(u16::try_from(index).expect("at most WORKERS_MAX workers"));
            self.push(worker, command());
        }
    }

    fn owe(&mut self, worker: WorkerId) {
        self.owed[usize::from(worker.0)] += 1;
    }

    fn push(&mut self, worker: WorkerId, command: ToWorker) {
        let handle = &mut self.handles[usize::from(worker.0)];
        let refused = handle.commands.put(command).is_err();
        debug_assert!(
            !refused || handle.commands.is_abandoned(),
            "room was looked for before the input was taken"
        );
    }
}

/// Which inputs may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// None: a command ring could not hold what one input can cause.
    Nothing,
    /// Reports alone: a worker owes so many that no input may ask for more.
    Reports,
    /// All.
    All,
}

impl Room {
    fn of(free_commands: usize, owed: usize) -> Self {
        if free_commands < limits::OUTPUTS_PER_INPUT_MAX {
            Self::Nothing
        } else if owed + limits::OUTPUTS_PER_INPUT_MAX > limits::REPORTS_MAX {
            Self::Reports
        } else {
            Self::All
        }
    }
}

/// What the server is told of an error of the kernel.
pub(super) fn open_failure(error: &std::io::Error) -> OpenFailure {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => OpenFailure::PortTaken,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => OpenFailure::NoRoom,
        Some(libc::EADDRNOTAVAIL) => OpenFailure::AddressGone,
        _ => OpenFailure::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Error;

    use super::*;

    #[test]
    fn however_many_reports_are_owed_they_may_be_taken_as_long_as_commands_have_room() {
        let (one, ring) = (limits::OUTPUTS_PER_INPUT_MAX, limits::WORKER_COMMANDS_MAX);
        assert_eq!(Room::of(ring, 0), Room::All);
        assert_eq!(Room::of(one, limits::REPORTS_MAX - one), Room::All);
        assert_eq!(Room::of(one, limits::REPORTS_MAX - one + 1), Room::Reports);
        assert_eq!(Room::of(ring, limits::REPORTS_MAX), Room::Reports);
        assert_eq!(Room::of(one - 1, 0), Room::Nothing);
    }

    #[test]
    fn each_refusal_of_the_kernel_has_its_meaning() {
        let told = |code| open_failure(&Error::from_raw_os_error(code));
        assert_eq!(told(libc::EADDRINUSE), OpenFailure::PortTaken);
        assert_eq!(told(libc::EMFILE), OpenFailure::NoRoom);
        assert_eq!(told(libc::ENOBUFS), OpenFailure::NoRoom);
        assert_eq!(told(libc::EADDRNOTAVAIL), OpenFailure::AddressGone);
        assert_eq!(told(libc::EACCES), OpenFailure::Other);
        assert_eq!(open_failure(&Error::other("no code")), OpenFailure::Other);
    }
}
