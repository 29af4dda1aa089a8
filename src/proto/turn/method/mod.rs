//! One file for each method. The RFC's numbered steps are the comments.

mod allocate;
mod channel_bind;
mod connect;
mod connection_bind;
mod create_permission;
mod legacy;
mod mobility;
mod refresh;
mod token;

use crate::proto::auth::credential::Authenticated;
use crate::proto::peers::is_tunnelled;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;

use super::allocation::Allocation;
use super::allocation::Allocations;
use super::reply::Asker;
use super::reply::Reject;

pub(super) use mobility::awaited_source;

/// The live allocation that a request speaks of. RFC 8656 § 5: 437 where there is none, 441 for another user's; 401 once
/// the stored key no longer suffices.
fn live_allocation<'a>(
    allocations: &'a mut Allocations,
    now: Now,
    asker: &Asker,
    who: &Authenticated,
) -> Result<&'a mut Allocation, Reject> {
    let Some(allocation) = allocations.of_mut(&asker.from) else {
        return Err(ErrorCode::AllocationMismatch.into());
    };
    if !is_owner(allocation, who) {
        return Err(ErrorCode::WrongCredentials.into());
    }
    if allocation.session_ends.is_due(now.tick()) {
        return Err(ErrorCode::Unauthenticated.into());
    }
    if allocation.is_live(now) { Ok(allocation) } else { Err(ErrorCode::AllocationMismatch.into()) }
}

/// RFC 8656 § 21.4: nothing is granted to the end of a tunnel, through which what is sent there may come back.
fn refuse_tunnelled(asker: &Asker) -> Result<(), Reject> {
    if is_tunnelled(asker.from.client.ip()) { Err(ErrorCode::Forbidden.into()) } else { Ok(()) }
}

/// Whether the USERNAME is the owner's, and the token where there is one: those who share a key id are not one user.
fn is_owner(allocation: &Allocation, who: &Authenticated) -> bool {
    allocation.owner.username == who.username && allocation.owner.token == who.token
}
