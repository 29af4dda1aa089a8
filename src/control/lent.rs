//! Buckets that the data plane's program in the kernel draws from too, for the server that hands them out.

use crate::proto::media::Bucket;
use crate::proto::turn::Lender;
use crate::proto::types::Rate;
use crate::relay::Buckets;

/// What the server borrows from.
#[derive(Debug)]
pub(super) struct Lent(pub(super) Buckets);

impl Lender for Lent {
    fn lend(&mut self, rate: Rate) -> Option<Bucket> {
        self.0.lend(rate)
    }
}
