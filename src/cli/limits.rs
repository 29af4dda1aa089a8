//! The fixed limits, by name and value, for `swingbridge check`.

use std::time::Duration;

use crate::config::show_span;
use crate::proto::types::limits;

trait Show {
    fn show(self) -> String;
}

macro_rules! show_number {
    ($($type:ty),*) => { $(impl Show for $type { fn show(self) -> String { self.to_string() } })* };
}

show_number!(u16, u32, u64, usize);

impl Show for Duration {
    fn show(self) -> String {
        show_span(self)
    }
}

macro_rules! all {
    ($($name:ident),* $(,)?) => {
        /// Name and value of every limit, in the order of `proto/types/limits.rs`.
        pub(crate) fn all() -> Vec<(&'static str, String)> {
            vec![$((stringify!($name), Show::show(limits::$name))),*]
        }
    };
}

all! {
    ALLOCATIONS_MAX,
    ALLOCATIONS_PER_USER_DEFAULT,
    PERMISSIONS_PER_ALLOCATION_MAX,
    CHANNELS_PER_ALLOCATION_MAX,
    PEERS_PER_REQUEST_MAX,
    ALLOCATION_LIFETIME_DEFAULT,
    ALLOCATION_LIFETIME_MAX_DEFAULT,
    PERMISSION_LIFETIME_DEFAULT,
    CHANNEL_LIFETIME_DEFAULT,
    CHANNEL_TIE_AFTER_EXPIRY,
    NONCE_LIFETIME_DEFAULT,
    NONCE_AHEAD_MAX,
    TRANSACTIONS_PER_NONCE_MAX,
    FIVE_TUPLES_DEAD_MAX,
    CREDENTIAL_LIFETIME_MAX,
    CREDENTIAL_CLOCK_LEEWAY,
    SESSION_LIFETIME_MAX_DEFAULT,
    ANSWER_KEPT,
    ANSWERS_KEPT_MAX,
    RELAY_OPEN_DEADLINE,
    PORT_TRIES_MAX,
    PORT_QUARANTINE,
    DRAIN_DEADLINE_DEFAULT,
    RESERVATION_KEPT,
    RESERVED_PART_OF_PORTS,
    TIMERS_PER_CALL_MAX,
    REVOCATIONS_PER_CALL_MAX,
    REVOCATION_LOOKS_PER_CALL_MAX,
    ORDERS_MAX,
    DATAGRAM_MAX,
    REQUEST_MAX,
    RESPONSE_MAX,
    USERNAME_MAX,
    USERNAME_READ_MAX,
    REALM_MAX,
    NONCE_MAX,
    ACCESS_TOKEN_MAX,
    TOKEN_MAC_KEY_MAX,
    TOKEN_CLOCK_LEEWAY,
    SERVER_NAME_MAX,
    MRAS_BODY_MAX,
    MRAS_CREDENTIALS_MAX,
    SIP_HEAD_MAX,
    SIP_HEADERS_MAX,
    LEGACY_TEXT_MAX,
    MRAS_KEYS_MAX,
    MRAS_DRAWS_MAX,
    TOKEN_KEYS_MAX,
    UNKNOWN_ATTRIBUTES_MAX,
    DISCOVERY_PADDING_MAX,
    DISCOVERY_SURPLUS_MAX,
    STRANGER_ANSWERS_BURST,
    STRANGER_ANSWERS_PER_SECOND,
    STRANGER_CREDIT_MAX,
    STRANGER_SLOTS,
    STRANGER_FLOOR_DEBT_MAX,
    STRANGER_REPEATS,
    STRANGER_DEBT_MAX,
    WORKERS_MAX,
    RELAY_ADDRESSES_MAX,
    LISTEN_ADDRESSES_MAX,
    WORKER_COMMANDS_MAX,
    OUTPUTS_PER_INPUT_MAX,
    LIVE_REQUESTS_MAX,
    NEW_REQUESTS_MAX,
    REPORTS_MAX,
    BANDWIDTH_BITS_PER_S_MIN,
    BANDWIDTH_BITS_PER_S_MAX,
    BANDWIDTH_BURST_MIN,
    BANDWIDTH_BURST_MAX,
    USER_BUCKETS_KEPT_MAX,
    STREAMS_MAX,
    STREAMS_TOTAL_DEFAULT,
    STREAMS_PER_ADDRESS_DEFAULT,
    STREAM_BACKLOG,
    SNIFF_MAX,
    SNIFF_DEADLINE,
    CLIENT_HELLO_MAX,
    HANDSHAKE_DEADLINE,
    FIRST_MESSAGE_DEADLINE,
    STREAM_IDLE_MAX,
    STREAM_UNACKNOWLEDGED_MAX,
    STREAM_READ_MAX,
    STREAM_FRAME_MAX,
    STREAM_QUEUE_MAX,
    STREAM_ANSWERS_MAX,
    STREAM_SEND_BUFFER,
    STREAM_UNSENT_MAX,
    STREAM_HANDOVERS_MAX,
    STREAM_REPORTS_MAX,
    CERTIFICATES_MAX,
    WORKER_PANICS_MAX,
    WORKER_PANICS_WINDOW,
    REBUILD_OUTPUTS_PER_CALL_MAX,
    REBUILD_LOOKS_PER_CALL_MAX,
    CLIENT_TRANSACTIONS_MAX,
    CLIENT_CHALLENGES_MAX,
    CLIENT_RENEWAL_MARGIN,
    PASSWORD_ALGORITHMS_MAX,
    PEER_CONNECTIONS_MAX,
    CONNECTIONS_PER_ALLOCATION_DEFAULT,
    CONNECTIONS_PER_ALLOCATION_MAX,
    CONNECTS_PER_ALLOCATION_DEFAULT,
    CONNECT_DEADLINE,
    CONNECTION_BIND_DEADLINE,
    PEER_BACKLOG,
    PIPE_BUFFER,
    PIPE_RECEIVE_BUFFER,
    PIPE_HALF_CLOSED_MAX,
    PIPE_UNACKNOWLEDGED_MAX,
    PIPE_PAUSE,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_left_out() {
        let declared: Vec<_> = include_str!("../proto/types/limits.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        let listed: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(listed, declared);
    }
}
