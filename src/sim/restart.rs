//! Workers that panic: over a packet, over a command, in the middle of either. Sockets, rings and counts outlive it;
//! the table does not, nor what the loop had in its hands. Until its table is whole again the worker reads no socket.
//!
//! The server ends itself over more panics than [`limits::WORKER_PANICS_MAX`] within a minute, or in a row without a
//! table. Nothing could be judged behind that end, so as many are not injected.

use std::collections::VecDeque;

use crate::proto::auth::budget::StrangerBudget;
use crate::proto::media::Table;
use crate::proto::media::TableConfig;
use crate::proto::types::limits;

use super::clock::Micros;
use super::clock::SECOND;
use super::shared::Shared;
use super::worker::Command;
use super::worker::Parcel;
use super::worker::Report;
use super::worker::Worker;

/// By how much likelier a panic is over what moves a socket, and over how many commands before it.
const HARD_TIMES: u32 = 150;
/// Odds of 1,000 that a worker that panics at all does so over a socket that it is handed.
const ATTACH: u32 = 750;
const HARD_NEAR: usize = 4;

/// How far a worker is after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Whole,
    /// It panicked, and has not been able to say so.
    Untold,
    /// It said so. Commands are void until the control task has heard of it.
    Void,
    /// Its table is being made anew.
    Rebuilding,
}

/// When a worker falls over something that it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    /// Nothing is done.
    FallsBefore,
    /// It is done, and nobody is told.
    FallsWithin,
    /// It is done and told.
    FallsAfter,
}

/// The panics of all workers that count towards the end of the server.
#[derive(Debug, Default)]
pub(super) struct Panics {
    /// Of which the control task does not know.
    untold: usize,
    count_until: VecDeque<Micros>,
}

impl Panics {
    fn have_room(&self, now: Micros) -> bool {
        let counting = self.count_until.iter().filter(|until| **until > now).count();
        self.untold + counting < limits::WORKER_PANICS_MAX
    }

    /// The control task hears of `count` of them.
    pub(super) fn heard(&mut self, now: Micros, count: u32) {
        let window = limits::WORKER_PANICS_WINDOW.as_secs() * SECOND;
        self.count_until.retain(|until| *until > now);
        for _ in 0..count {
            self.untold -= 1;
            self.count_until.push_back(now + window);
        }
    }

    /// Whether the server would have ended itself.
    pub(super) fn are_too_many(&self) -> bool {
        self.count_until.len() > limits::WORKER_PANICS_MAX
    }
}

const fn is_hard(command: &Command) -> bool {
    matches!(command, Command::Detach { .. } | Command::Attach { .. })
}

impl Worker {
    pub(super) fn is_whole(&self) -> bool {
        self.standing == Standing::Whole
    }

    pub(super) fn is_untold(&self) -> bool {
        self.standing == Standing::Untold
    }

    /// Whether commands are of an epoch that is over.
    pub(super) fn is_void(&self) -> bool {
        matches!(self.standing, Standing::Untold | Standing::Void)
    }

    /// What becomes of the worker over the next packet.
    pub(super) fn fate(&self, sh: &mut Shared) -> Fate {
        self.draw_fate(sh, self.odds(sh))
    }

    /// What becomes of the worker over `command`. Those few that have to do with a socket on its way from one worker to
    /// another are the hardest to get right, and so is what comes close before them.
    pub(super) fn fate_over(&self, sh: &mut Shared, command: &Command) -> Fate {
        let odds = match command {
            // A socket in the worker's own hands, which so few moves come to that each must count.
            Command::Attach { .. } if sh.faults.panic > 0 => ATTACH,
            _ if is_hard(command) => sh.faults.panic * HARD_TIMES,
            _ => self.odds(sh),
        };
        self.draw_fate(sh, odds)
    }

    fn odds(&self, sh: &Shared) -> u32 {
        let is_near = self.commands.iter().take(HARD_NEAR).any(is_hard);
        sh.faults.panic * if is_near { HARD_TIMES } else { 1 }
    }

    fn draw_fate(&self, sh: &mut Shared, odds: u32) -> Fate {
        let falls = sh.dice.chance(odds);
        if falls && self.panics_in_a_row < limits::WORKER_PANICS_MAX && sh.panics.have_room(sh.clock.micros())
        {
            return sh.dice.pick(&[Fate::FallsBefore, Fate::FallsWithin, Fate::FallsAfter]);
        }
        Fate::Lives
    }

    /// The worker panics. What outlives that is kept, all else is made anew.
    pub(super) fn fall(&mut self, sh: &mut Shared, over: &'static str) {
        sh.coverage.fact(over);
        sh.tally("workers panicked");
        if self.standing == Standing::Rebuilding {
            sh.coverage.fact("worker panicked again");
        }
        sh.panics.untold += 1;
        self.epoch += 1;
        self.panics_in_a_row += 1;
        self.standing = Standing::Untold;
        let (number, epoch) = (self.number, self.epoch);
        sh.note(|| format!("{over}: worker {number}, epoch {epoch}"));
        let hash_seeds = self.seed.hash_seeds.map(|seed| seed.wrapping_add(epoch.into()));
        let table = Table::new(TableConfig { hash_seeds, ..self.seed.clone() });
        let fallen = std::mem::replace(&mut self.table, table);
        self.carried.extend(fallen.salvage());
        self.strangers = StrangerBudget::new(hash_seeds, Vec::new());
        self.sockets.restart();
        self.restart_ports(sh);
        self.restart_streams(sh);
        self.tell_of_panic(sh);
    }

    /// The worker falls with a socket in its hands.
    pub(super) fn lose(&self, sh: &mut Shared, parcel: &Parcel) {
        sh.coverage.fact("socket lost with a loop");
        sh.oracle.lose_counts(parcel.relay);
        sh.close_descriptor(parcel.bound);
    }

    /// Tells the control task of the panic, as soon as there is room for it.
    pub(super) fn tell_of_panic(&mut self, sh: &mut Shared) {
        if self.standing == Standing::Untold && self.reports.len() < limits::REPORTS_MAX {
            let carried = std::mem::take(&mut self.carried).into_boxed_slice();
            self.report(sh, Report::Restarted { epoch: self.epoch, carried });
            self.standing = Standing::Void;
        }
    }

    /// A command of an epoch that is over: void, but for a socket that is nowhere else.
    pub(super) fn pass_over(&mut self, sh: &mut Shared, command: Command) {
        match command {
            Command::Attach { parcel, next } => {
                sh.tally("sockets kept of void commands");
                let _ = self.unpack(sh, parcel, next);
            }
            Command::Rebuild { epoch, username_anonymity } if epoch == self.epoch => {
                self.announce(username_anonymity);
                self.standing = Standing::Rebuilding;
            }
            _ => sh.coverage.fact("command void"),
        }
    }

    /// The table is whole again.
    pub(super) fn rebuilt(&mut self, sh: &mut Shared) {
        if self.standing != Standing::Rebuilding {
            return;
        }
        let table = &self.table;
        for bound in self.sockets.sweep(|relay| table.counters(relay).is_some()) {
            sh.tally("sockets swept");
            sh.close_descriptor(bound);
        }
        self.sweep_ports(sh);
        self.panics_in_a_row = 0;
        self.standing = Standing::Whole;
    }
}
