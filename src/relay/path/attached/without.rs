//! A build without the program: there is never anything attached.

use std::time::Instant;

use crate::proto::media::Bucket;
use crate::proto::media::Counters;
use crate::proto::media::Table;
use crate::proto::types::Rate;
use crate::proto::types::RelayId;
use crate::proto::types::Tick;
use crate::relay::Stats;
use crate::relay::path::choose::Refusal;
use crate::relay::path::choose::Tier;
use crate::relay::path::choose::Wish;

use super::Ready;

/// One worker's share. There is none.
#[derive(Debug)]
pub(in crate::relay) enum Attached {}

/// Lends buckets that a program draws from too. There is none.
#[derive(Debug)]
pub enum Buckets {}

impl Buckets {
    /// Never asked.
    pub fn lend(&mut self, _: Rate) -> Option<Bucket> {
        match *self {}
    }
}

pub(in crate::relay::path) fn attach(tier: Tier, _: &Wish, _: u16, _: Instant) -> Result<Ready, Refusal> {
    Err(Refusal {
        tier,
        reason: "this program was built without the feature `kernel`".to_owned(),
        cure: "build it with that, or use \"auto\", \"sk_lookup\" or \"sockets\"".to_owned(),
    })
}

impl Attached {
    pub(in crate::relay::path) fn update(&mut self, _: &Table, _: RelayId) {
        match *self {}
    }

    pub(in crate::relay::path) fn update_all(&mut self, _: &Table) {
        match *self {}
    }

    pub(in crate::relay::path) fn close(&mut self, _: RelayId) -> Counters {
        match *self {}
    }

    pub(in crate::relay::path) fn close_all(&mut self) -> Vec<(RelayId, Counters)> {
        match *self {}
    }

    pub(in crate::relay::path) fn look(&mut self, _: &Table, _: Tick, _: &Stats) {
        match *self {}
    }
}
