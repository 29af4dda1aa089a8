//! ConnectionBind (RFC 6062 § 5.4).

use crate::proto::auth::credential::Authenticated;
use crate::proto::turn::allocation::Allocation;
use crate::proto::turn::connections::Standing;
use crate::proto::turn::reply::Answer;
use crate::proto::turn::reply::Asker;
use crate::proto::turn::reply::Grant;
use crate::proto::turn::reply::Reject;
use crate::proto::turn::server::Server;
use crate::proto::types::ConnectionId;
use crate::proto::types::Entropy;
use crate::proto::types::Now;
use crate::proto::wire::ErrorCode;
use crate::proto::wire::Method;
use crate::proto::wire::Request;

use super::is_owner;

impl<E: Entropy> Server<E> {
    /// The allocation whose connection a ConnectionBind names: it is judged by the credentials of that one (RFC 6062
    /// §§ 4.3, 4.4).
    pub(in crate::proto::turn) fn named_by_connection(&self, request: &Request<'_>) -> Option<&Allocation> {
        if request.method != Method::ConnectionBind {
            return None;
        }
        let relay = self.connections.get(request.connection_id?)?.relay;
        self.allocations.with_leg(relay)
    }

    /// Joins the connection that asks to a peer's. The answer is the last message on it.
    pub(in crate::proto::turn) fn connection_bind(
        &mut self,
        now: Now,
        asker: &Asker,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Answer, Reject> {
        // A connection that has an allocation is a control connection, and stays one.
        if !asker.from.transport.is_stream() || self.allocations.of(&asker.from).is_some() {
            return Err(ErrorCode::BadRequest.into());
        }
        let id = request.connection_id.filter(|id| self.may_join(now, asker, who, *id));
        // One answer, whatever is wrong with it: nobody learns of what is another's.
        let Some(id) = id else { return Err(ErrorCode::BadRequest.into()) };
        self.succeed(now, asker, Grant { connection: Some(id), ..Grant::default() });
        self.join_connection(id, asker.from);
        Ok(Answer::Later)
    }

    fn may_join(&self, now: Now, asker: &Asker, who: &Authenticated, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else { return false };
        let Some(allocation) = self.allocations.with_leg(connection.relay) else { return false };
        matches!(connection.standing, Standing::Pending)
            && connection.worker == asker.worker
            && is_owner(allocation, who)
            && !allocation.session_ends.is_due(now.tick())
            && allocation.is_live(now)
    }
}
