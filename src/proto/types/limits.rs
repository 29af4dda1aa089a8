//! Every bound of the server, by name. What an operator may change is a key of the configuration whose
//! default or ceiling stands here; the rest is fixed. `swingbridge check` shows them.

use std::time::Duration;

/// Relayed addresses that one process can hold, two of a dual allocation: a relay port each, so never more than two
/// families of 65,536.
pub const ALLOCATIONS_MAX: u32 = 1 << 17;
/// Default of `[limits] allocations_per_user`.
pub const ALLOCATIONS_PER_USER_DEFAULT: u32 = 64;
/// Permissions of one allocation; one more is refused with 508.
pub const PERMISSIONS_PER_ALLOCATION_MAX: usize = 1_024;
/// Channels of one allocation; one more is refused with 508. Each number of RFC 8656's range may be used.
pub const CHANNELS_PER_ALLOCATION_MAX: usize = 4_096;
/// XOR-PEER-ADDRESS attributes of one CreatePermission; with more the request is refused with 400.
pub const PEERS_PER_REQUEST_MAX: usize = 64;

/// The lifetime that an allocation gets when the client asks for none or less (RFC 8656 § 3.2).
pub const ALLOCATION_LIFETIME_DEFAULT: Duration = Duration::from_secs(600);
/// Default of `[limits] allocation_lifetime_max` (RFC 8656 § 7.2).
pub const ALLOCATION_LIFETIME_MAX_DEFAULT: Duration = Duration::from_secs(3_600);
/// Default of `[limits] permission_lifetime` (RFC 8656 § 9).
pub const PERMISSION_LIFETIME_DEFAULT: Duration = Duration::from_secs(300);
/// Default of `[limits] channel_lifetime` (RFC 8656 § 12).
pub const CHANNEL_LIFETIME_DEFAULT: Duration = Duration::from_secs(600);
/// How long a channel number and its peer stay tied to each other after the channel expired
/// (RFC 8656 § 12).
pub const CHANNEL_TIE_AFTER_EXPIRY: Duration = Duration::from_secs(300);
/// Default of `[auth] nonce_lifetime`: RFC 8656 § 5 asks for an hour or less.
pub const NONCE_LIFETIME_DEFAULT: Duration = Duration::from_secs(3_600);
/// How far ahead of the clock a nonce may be minted, where the nonces of its five-tuple up to now are dead.
pub const NONCE_AHEAD_MAX: Duration = Duration::from_secs(1);
/// Transaction ids that one allocation keeps under its nonce; one more request is refused with 438.
pub const TRANSACTIONS_PER_NONCE_MAX: usize = 256;
/// Five-tuples whose nonces are remembered as dead; when full the oldest is covered by one moment for all.
pub const FIVE_TUPLES_DEAD_MAX: usize = 65_536;
/// Default and ceiling of `[auth] credential_lifetime_max`.
pub const CREDENTIAL_LIFETIME_MAX: Duration = Duration::from_secs(8 * 3_600);
/// Clocks of the machine that mints a credential and of this one may differ by so much.
pub const CREDENTIAL_CLOCK_LEEWAY: Duration = Duration::from_secs(300);
/// Default of `[auth] session_lifetime_max`: how long a live allocation may go on after its credential's
/// expiry.
pub const SESSION_LIFETIME_MAX_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// How long the answer to a request is kept for its retransmissions (RFC 8489 § 6.3.1).
pub const ANSWER_KEPT: Duration = Duration::from_secs(40);
/// Answers kept for retransmissions in all; when full the oldest goes.
pub const ANSWERS_KEPT_MAX: usize = 16_384;
/// A worker that has not said within this time whether a relay socket could be opened has failed: 500.
pub const RELAY_OPEN_DEADLINE: Duration = Duration::from_secs(2);
/// Ports tried for one Allocate before it is refused with 508.
pub const PORT_TRIES_MAX: u32 = 16;
/// How long a port that the kernel refused is left alone.
pub const PORT_QUARANTINE: Duration = Duration::from_secs(60);

/// Default of `[drain] deadline`: how long live allocations may go on after the order to leave.
pub const DRAIN_DEADLINE_DEFAULT: Duration = Duration::from_secs(3);

/// How long the second port of an EVEN-PORT pair is kept for its token. RFC 8656 § 7.2 asks for 30 s at least, and the
/// client hears of it only when the first port is open.
pub const RESERVATION_KEPT: Duration = Duration::from_secs(40);
/// Reserved ports are at most one in so many of the range: they count in nobody's quota.
pub const RESERVED_PART_OF_PORTS: usize = 4;
/// Timers that one call of `handle_timeout` works off; the rest is due at once.
pub const TIMERS_PER_CALL_MAX: usize = 16;

/// Permissions and channels that one call of `handle_timeout` revokes after a change of the peer policy; each takes two
/// outputs at most. The rest is due at once.
pub const REVOCATIONS_PER_CALL_MAX: usize = 32;
/// Permissions and channels that one such call looks at; it may go past that by one allocation's.
pub const REVOCATION_LOOKS_PER_CALL_MAX: usize = 4_096;
/// Orders of the operator that wait for the control task.
pub const ORDERS_MAX: usize = 4;

/// The largest UDP payload.
pub const DATAGRAM_MAX: usize = 65_507;
/// The largest request that a worker hands to the control task: room for [`PEERS_PER_REQUEST_MAX`] peers and the
/// longest credentials. It bounds the memory of the rings that requests wait in.
pub const REQUEST_MAX: usize = 8_192;
/// The largest answer the server builds: one with [`DISCOVERY_PADDING_MAX`].
pub const RESPONSE_MAX: usize = 1_664;
/// USERNAME in bytes (RFC 8489 § 14.3).
pub const USERNAME_MAX: usize = 508;
/// USERNAME in bytes that a request may hold: RFC 5389 allowed so much. A name above [`USERNAME_MAX`] is nobody's.
pub const USERNAME_READ_MAX: usize = 763;
/// REALM in bytes: fewer than 128 characters of at most 6 bytes (RFC 8489 § 14.9).
pub const REALM_MAX: usize = 763;
/// NONCE in bytes: fewer than 128 characters of at most 6 bytes (RFC 8489 § 14.10).
pub const NONCE_MAX: usize = 763;
/// ACCESS-TOKEN in bytes (RFC 7635 § 6.2): two of length, a nonce of 12, an encrypted block with a key of at most
/// [`TOKEN_MAC_KEY_MAX`] bytes, a tag of 16.
pub const ACCESS_TOKEN_MAX: usize = 2 + 12 + 2 + TOKEN_MAC_KEY_MAX + 8 + 4 + 16;
/// The key in a token, in bytes: the block size of SHA-1 and SHA-256, above which HMAC would hash it first.
pub const TOKEN_MAC_KEY_MAX: usize = 64;
/// How far the authorization server's clock may differ (RFC 7635 § 7).
pub const TOKEN_CLOCK_LEEWAY: Duration = Duration::from_secs(5);
/// The server's name that tokens are made for, in bytes.
pub const SERVER_NAME_MAX: usize = 253;
/// The XML of one request for MRAS credentials, in bytes.
pub const MRAS_BODY_MAX: usize = 65_536;
/// Credentials in one such request ([MS-AVEDGEA] schema).
pub const MRAS_CREDENTIALS_MAX: usize = 100;
/// Start line and headers of one SIP request, in bytes.
pub const SIP_HEAD_MAX: usize = 8_192;
/// Headers of one SIP request.
pub const SIP_HEADERS_MAX: usize = 64;
/// REALM and NONCE of [MS-TURN] in bytes.
pub const LEGACY_TEXT_MAX: usize = 128;
/// Pairs of keys for MRAS credentials.
pub const MRAS_KEYS_MAX: usize = 8;
/// Times that one MRAS credential is drawn, until no client would cut it.
pub const MRAS_DRAWS_MAX: u64 = 64;
/// Keys for tokens.
pub const TOKEN_KEYS_MAX: usize = 64;
/// Comprehension-required attributes named in one 420; the rest of a longer list is left out.
pub const UNKNOWN_ATTRIBUTES_MAX: usize = 16;
/// PADDING of an answer, which is never longer than its request's (RFC 5780 § 7.6): with it the answer is larger than
/// the MTU of an Ethernet.
pub const DISCOVERY_PADDING_MAX: usize = 1_500;
/// An answer to a Binding request is at most this much longer than the request: four IPv6 addresses.
pub const DISCOVERY_SURPLUS_MAX: usize = 96;

/// Answers that a stranger's address gets at once, whatever it sent.
pub const STRANGER_ANSWERS_BURST: u64 = 64;
/// Answers a second that it gets after that; above them, only as many bytes as it sent.
pub const STRANGER_ANSWERS_PER_SECOND: u64 = 20;
/// Bytes received from a stranger's address that count for later answers.
pub const STRANGER_CREDIT_MAX: u32 = 65_536;
/// Slots that strangers' addresses share, for each worker.
pub const STRANGER_SLOTS: usize = 4_096;
/// Bytes that the burst and the steady answers of an address may be ahead of what it sent: repaid before it gets more.
pub const STRANGER_FLOOR_DEBT_MAX: u32 = 8_192;
/// Unanswered requests of strangers that are recognised when they come again, for each worker.
pub const STRANGER_REPEATS: usize = 65_536;
/// Bytes by which the answers to requests that came again may run ahead of what was received from their address.
pub const STRANGER_DEBT_MAX: u32 = 131_072;

/// Worker threads.
pub const WORKERS_MAX: u16 = 256;
/// Network interfaces that a program of the path may be attached to.
pub const KERNEL_INTERFACES_MAX: usize = 16;
/// Relay addresses.
pub const RELAY_ADDRESSES_MAX: usize = 64;
/// Listen addresses of one kind.
pub const LISTEN_ADDRESSES_MAX: usize = 64;
/// Commands that wait for one worker. A ring of them is gone round again and again, so all of it takes memory.
pub const WORKER_COMMANDS_MAX: usize = 1_024;
/// What one input can make the server say; control takes no input while a worker's ring lacks this room.
pub const OUTPUTS_PER_INPUT_MAX: usize = 256;
/// Requests of live allocations that wait for the control task, per worker.
pub const LIVE_REQUESTS_MAX: usize = 1_024;
/// Requests of five-tuples without an allocation that wait for the control task, per worker.
pub const NEW_REQUESTS_MAX: usize = 1_024;
/// Reports of one worker that wait for the control task.
pub const REPORTS_MAX: usize = 8_192;

/// The least of `[limits] bandwidth_per_allocation` and `bandwidth_per_user`, in bits a second.
pub const BANDWIDTH_BITS_PER_S_MIN: u64 = 8_000;
/// The most of both: what the arithmetic keeps exact.
pub const BANDWIDTH_BITS_PER_S_MAX: u64 = 100_000_000_000;
/// The shortest `[limits] bandwidth_burst`: many times the millisecond in which the packet path counts time.
pub const BANDWIDTH_BURST_MIN: Duration = Duration::from_secs(1);
/// The longest `[limits] bandwidth_burst`.
pub const BANDWIDTH_BURST_MAX: Duration = Duration::from_secs(60);
/// Users without an allocation whose bandwidth is still remembered; when full the oldest is forgotten.
pub const USER_BUCKETS_KEPT_MAX: usize = 16_384;

/// Clients' connections that one process can hold; also the ceiling of `[limits] streams_total`.
pub const STREAMS_MAX: u32 = 1 << 16;
/// Default of `[limits] streams_total`.
pub const STREAMS_TOTAL_DEFAULT: u32 = 16_384;
/// Default of `[limits] streams_per_address`: an office behind one IPv4 address may have many clients.
pub const STREAMS_PER_ADDRESS_DEFAULT: u32 = 1_024;
/// Connections that the kernel holds for one listen address before they are accepted.
pub const STREAM_BACKLOG: u32 = 1_024;
/// The first bytes of a connection that its protocol is told by.
pub const SNIFF_MAX: usize = 64;
/// How long a connection may take to show its first bytes.
pub const SNIFF_DEADLINE: Duration = Duration::from_secs(10);
/// The first flight of a TLS client, its ClientHello, with the headers of its records.
pub const CLIENT_HELLO_MAX: usize = 16 * 1_024;
/// How long a TLS handshake may take, the ClientHello included.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may take to bring its first whole message, once it can.
pub const FIRST_MESSAGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a connection may live without an allocation after its first message, or its last request.
pub const STREAM_IDLE_MAX: Duration = Duration::from_secs(60);
/// How long what was sent on a connection may stay unacknowledged before the kernel gives the connection up.
pub const STREAM_UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);
/// Bytes that a worker reads from one connection at a time.
pub const STREAM_READ_MAX: usize = 16 * 1_024;
/// The largest frame of a stream: a STUN message whose length field is at its end.
pub const STREAM_FRAME_MAX: usize = 20 + 65_532;
/// Bytes of the server's memory that wait for one connection, frames of peers' data and what of them is half written: a
/// frame that does not fit is dropped whole.
pub const STREAM_QUEUE_MAX: usize = 16 * 1_024;
/// Room on top of that, for answers alone. A client that reads none of so many is let go.
pub const STREAM_ANSWERS_MAX: usize = 8 * 1_024;
/// The send buffer that a connection asks of the kernel, which takes twice as much.
pub const STREAM_SEND_BUFFER: usize = 20 * 1_024;
/// Bytes in that buffer that were not sent yet, above which the kernel takes no more.
pub const STREAM_UNSENT_MAX: u32 = 16 * 1_024;
/// Connections on their way from the listening task to one worker.
pub const STREAM_HANDOVERS_MAX: usize = 256;
/// Reports of connections that ended which wait for the control task, per worker. They come on top of [`REPORTS_MAX`].
pub const STREAM_REPORTS_MAX: usize = 1_024;
/// Associations of DTLS that one worker can hold.
pub const DTLS_ASSOCIATIONS_MAX: u32 = 4_096;
/// Associations of DTLS that one address (one /64 of IPv6) can have with one worker.
pub const DTLS_ASSOCIATIONS_PER_ADDRESS_MAX: u32 = 256;
/// How long a cookie is good at least; twice that at most.
pub const DTLS_COOKIE_LIFETIME: Duration = Duration::from_secs(30);
/// How long a DTLS handshake may take, once the client has shown its cookie.
pub const DTLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A PROXY header: what each receiver of version 2 must take, and more than the longest of version 1.
pub const PROXY_HEADER_MAX: usize = 536;
/// How long a trusted proxy may take to send its header.
pub const PROXY_HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// Networks of trusted proxies.
pub const PROXY_NETWORKS_MAX: usize = 64;
/// Default of `[limits] web_total`.
pub const WEB_TOTAL_DEFAULT: u32 = 1_024;
/// The part of `[limits] web_total` that one source can have.
pub const WEB_PART_OF_ONE_SOURCE: u32 = 4;
/// Names that are passed through still encrypted.
pub const WEB_NAMES_MAX: usize = 256;
/// How long the web site may take to accept a connection.
pub const WEB_CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection to the web site may carry nothing at all.
pub const WEB_IDLE_MAX: Duration = Duration::from_secs(300);
/// How long a client may take to hear that there is no web site.
pub const WEB_GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Bytes that such a client may still send meanwhile: what is unread when a connection closes resets it.
pub const WEB_GOODBYE_BYTES_MAX: usize = 64 * 1_024;
/// Bytes of our memory that one direction of a connection to the web site holds.
pub const WEB_BUFFER: usize = 16 * 1_024;
/// The buffers that such a connection asks of the kernel: a page is no media, and late is better than lost.
pub const WEB_SOCKET_BUFFER: usize = 128 * 1_024;
/// Certificates that a server can choose from.
pub const CERTIFICATES_MAX: usize = 64;
/// Panics of workers, of all of them together within [`WORKER_PANICS_WINDOW`], that the server outlives; one more ends
/// it.
pub const WORKER_PANICS_MAX: usize = 3;
/// See [`WORKER_PANICS_MAX`].
pub const WORKER_PANICS_WINDOW: Duration = Duration::from_secs(60);
/// What one call of `handle_timeout` tells a worker whose table is rebuilt. The rest is due at once.
pub const REBUILD_OUTPUTS_PER_CALL_MAX: usize = 128;
/// Allocations that one such call looks at.
pub const REBUILD_LOOKS_PER_CALL_MAX: usize = 4_096;
/// Requests that a client of ours has on their way at a time, besides the one that refreshes its allocation.
pub const CLIENT_TRANSACTIONS_MAX: usize = 8;
/// Challenges (401, 438) that a client meets for one thing that it asks for.
pub const CLIENT_CHALLENGES_MAX: u32 = 4;
/// A client asks again for what it was granted so long before it ends: one request and its repetitions take 39.5 s.
pub const CLIENT_RENEWAL_MARGIN: Duration = Duration::from_secs(60);
/// PASSWORD-ALGORITHMS in bytes that a client is ready to echo: many times what a server has to say.
pub const PASSWORD_ALGORITHMS_MAX: usize = 256;
/// Connections to the doors of the MRAS service that have not shown yet whose they are.
pub const MRAS_STRANGERS_MAX: u32 = 128;
/// Of these, those of one address (IPv6: /64).
pub const MRAS_STRANGERS_PER_ADDRESS_MAX: u32 = 16;
/// Front ends that may be named.
pub const MRAS_FRONT_ENDS_MAX: usize = 64;
/// Connections that one front end has at a time.
pub const MRAS_CONNECTIONS_PER_FRONT_END_MAX: u32 = 32;
/// Requests of one front end that are answered at once after a pause; those above get "Server Busy".
pub const MRAS_REQUESTS_BURST: u32 = 200;
/// Requests of one front end that are answered each second after that.
pub const MRAS_REQUESTS_PER_SECOND: u32 = 50;
/// How long a front end may take to bring the whole of a message that it began, and to take an answer.
pub const MRAS_MESSAGE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a front end may be silent, keep-alives counted as speech.
pub const MRAS_IDLE_MAX: Duration = Duration::from_secs(600);
/// How long a connection over HTTPS lives; what was begun then is finished.
pub const MRAS_HTTPS_LIFETIME_MAX: Duration = Duration::from_secs(300);
/// Request line and headers of one request over HTTPS, in bytes.
pub const MRAS_HTTP_HEAD_MAX: usize = 16 * 1_024;
/// Headers of one request over HTTPS.
pub const MRAS_HTTP_HEADERS_MAX: usize = 64;

/// Connections between relayed addresses and peers that one worker can hold (RFC 6062).
pub const PEER_CONNECTIONS_MAX: u32 = 1 << 16;
/// Default of `[limits] connections_per_allocation`: peers' connections of one allocation.
pub const CONNECTIONS_PER_ALLOCATION_DEFAULT: usize = 64;
/// Ceiling of `[limits] connections_per_allocation`.
pub const CONNECTIONS_PER_ALLOCATION_MAX: usize = 1_024;
/// Default of `[limits] connects_per_allocation`: Connect requests of one allocation that wait for their peer.
pub const CONNECTS_PER_ALLOCATION_DEFAULT: usize = 16;
/// How long a Connect request waits for its peer: RFC 6062 § 5.2 asks for 30 s at least.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// How long a peer's connection waits for a ConnectionBind (RFC 6062 §§ 5.2, 5.3).
pub const CONNECTION_BIND_DEADLINE: Duration = Duration::from_secs(30);
/// Connections that the kernel holds for one relayed address before they are accepted.
pub const PEER_BACKLOG: u32 = 16;
/// Bytes that wait in the server's memory on one way of a pair of connections.
pub const PIPE_BUFFER: usize = 16 * 1_024;
/// The receive buffer that each connection of a pair asks of the kernel, which takes twice as much. What a peer sends
/// before its ConnectionBind waits there.
pub const PIPE_RECEIVE_BUFFER: usize = 64 * 1_024;
/// How long one way of a pair may be over while the other brings nothing.
pub const PIPE_HALF_CLOSED_MAX: Duration = Duration::from_secs(300);
/// How long what was sent on a connection of a pair may stay unacknowledged: a reader may take its time.
pub const PIPE_UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(900);
/// How soon a pair that its bandwidth held back is looked at again.
pub const PIPE_PAUSE: Duration = Duration::from_millis(10);

/// How long a client of ours tries to connect over TCP or TLS.
pub const CLIENT_CONNECT_MAX: Duration = Duration::from_secs(20);
/// Bytes that a client of ours holds for a way to the server that takes no more; whoever wants to send more waits.
pub const CLIENT_UNSENT_MAX: usize = 64 * 1_024;
/// Wishes of a program that wait for its client's task.
pub const CLIENT_COMMANDS_MAX: usize = 64;
/// Datagrams of peers that wait for a program that does not read them; the newest are lost.
pub const CLIENT_RECEIVED_MAX: usize = 512;
/// Bytes of one datagram that a client of ours sends to a peer: what fits into a Send indication with all it may carry.
pub const CLIENT_SEND_MAX: usize = DATAGRAM_MAX - 64;

/// Names of hosts that one certificate is ordered for.
pub const ACME_NAMES_MAX: usize = 16;
/// How long one request to a certificate authority may take, connection and answer included.
pub const ACME_REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// How long a whole order may take.
pub const ACME_ORDER_DEADLINE: Duration = Duration::from_secs(300);
/// Bytes of one answer of a certificate authority.
pub const ACME_ANSWER_MAX: usize = 256 * 1_024;
/// Bytes of a file that an order leaves in the state directory.
pub const ACME_FILE_MAX: usize = 512 * 1_024;
/// The pause after a first order that failed. Each further one waits twice as long.
pub const ACME_PAUSE_MIN: Duration = Duration::from_secs(300);
/// The longest pause after orders that failed.
pub const ACME_PAUSE_MAX: Duration = Duration::from_secs(21_600);
/// How long the end of a certificate goes without being looked at: clocks are set, and machines sleep.
pub const ACME_LOOK: Duration = Duration::from_secs(3_600);
/// Streams that the far end of a load on another machine remembers at once; each takes about half a kilobyte.
pub const LOAD_ECHO_FLOWS_MAX: usize = 65_536;

/// Bytes that one connection of the load generator holds for a server that takes no more; what is due then is not sent.
pub const LOAD_QUEUE_MAX: usize = 128 * 1_024;
/// Bytes that the load generator reads of one connection at a time.
pub const LOAD_READ_MAX: usize = 64 * 1_024;
/// Reads of one connection of the load generator before the others have their turn.
pub const LOAD_READS_MAX: usize = 16;
/// How long a connection of the load generator may take to come up, handshake included.
pub const LOAD_CONNECT_MAX: Duration = Duration::from_secs(20);
/// Users that the load generator makes of one secret.
pub const LOAD_USERS_MAX: u32 = 100_000;
/// Local ports that the load generator tries for one socket.
pub const LOAD_PORT_TRIES: usize = 4_096;
/// Bytes of one answer of an admin endpoint that the load generator reads.
pub const LOAD_METRICS_MAX: usize = 4 * 1_024 * 1_024;
/// Bytes of one answer of an MRAS service that the load generator reads.
pub const LOAD_MRAS_MAX: usize = 1_024 * 1_024;
/// Sockets that the NAT of one agent of the load generator has at once: one for each external port that it maps to.
pub const LOAD_NAT_PORTS_MAX: usize = 16;
/// External ports that such a NAT tries where others of this machine have them.
pub const LOAD_NAT_PORT_TRIES: usize = 64;

/// Servers that one ICE agent asks for candidates.
pub const ICE_SERVERS_MAX: usize = 8;
/// Sockets that one ICE agent sends from.
pub const ICE_ADDRESSES_MAX: usize = 8;
/// Candidates of the other side that an ICE agent takes, those included that it finds out by itself.
pub const ICE_CANDIDATES_MAX: usize = 64;
/// Pairs of candidates that an ICE agent checks (RFC 8445 § 6.1.2.5).
pub const ICE_PAIRS_MAX: usize = 100;
/// Checks that wait at one relay for a permission; further ones are lost, and sent again later.
pub const ICE_WAITING_MAX: usize = 16;
/// How long an ICE agent waits for its servers, unless it is told otherwise.
pub const ICE_GATHER_DEFAULT: Duration = Duration::from_secs(10);
/// How long an ICE agent may take to connect from when it knows whom to reach, unless it is told otherwise.
pub const ICE_CONNECT_DEFAULT: Duration = Duration::from_secs(45);
/// How long an ICE agent may send by a pair on which no check was answered (RFC 7675 § 5.1).
pub const ICE_CONSENT_SPAN: Duration = Duration::from_secs(30);
/// Bytes of a description of an ICE agent.
pub const ICE_DESCRIPTION_MAX: usize = 64 * 1_024;

/// Mappings of one modelled NAT, all hosts behind it together.
pub const NAT_MAPPINGS_MAX: usize = 65_536;
/// Remote endpoints that one mapping of a modelled NAT remembers; the one that would end first makes room.
pub const NAT_SESSIONS_PER_MAPPING_MAX: usize = 1_024;
/// Datagrams of which a modelled NAT remembers what became of their first part.
pub const NAT_FRAGMENTS_MAX: usize = 256;
/// The lowest external port that a modelled NAT gives out by itself.
pub const NAT_PORT_MIN: u16 = 1_024;

/// Bytes of the authority, host and port, that a tunnel through an HTTP proxy leads to.
pub const HTTP_CONNECT_AUTHORITY_MAX: usize = 280;
/// Bytes of the head of a request to such a proxy, and of its answer.
pub const HTTP_CONNECT_HEAD_MAX: usize = 8 * 1_024;

/// Relay ports, over all relay addresses, that the program in the kernel keeps a place for: 216 bytes each.
pub const KERNEL_PLACES_MAX: u64 = 1 << 17;
/// Channels that the program in the kernel relays; those beyond are relayed by the workers.
pub const KERNEL_CHANNELS_MAX: u32 = 1 << 18;
/// Next hops that the channels of one worker can go by in the kernel.
pub const KERNEL_HOPS_PER_WORKER: u32 = 256;
/// How long a next hop goes at most without a packet through the sockets: shorter than neighbours are remembered unconfirmed.
pub const KERNEL_LEND: Duration = Duration::from_secs(10);
/// Buckets that the program in the kernel draws from, those of allocations and of users together: 32 bytes each.
pub const KERNEL_BUCKETS: u32 = 1 << 17;
/// How often a worker looks what has changed around its part of the program in the kernel.
pub const KERNEL_LOOK: Duration = Duration::from_secs(1);
/// Allocations whose counters it reads then; of more it reads the next ones the next time.
pub const KERNEL_LOOKED_AT_MAX: usize = 4_096;

/// Parts of datagrams that a router of the testbed holds back until the first one comes.
pub const LAB_HELD_MAX: usize = 64;
/// How long it does.
pub const LAB_HELD_SPAN: Duration = Duration::from_secs(2);
/// How long a packet waits at most for a line of the testbed that is full; beyond that it is lost.
pub const LAB_QUEUE_SPAN: Duration = Duration::from_millis(200);
/// Packets that are on the lines of one testbed at a time; further ones are lost.
pub const LAB_PACKETS_MAX: usize = 65_536;
/// Flows of one testbed that are counted each for itself.
pub const LAB_FLOWS_MAX: usize = 4_096;
/// Bytes of one line of signalling in the testbed.
pub const LAB_SIGNAL_LINE_MAX: usize = 256 * 1_024;
/// Lines of signalling that wait for the other side.
pub const LAB_SIGNAL_LINES_MAX: usize = 1_024;
/// Bytes of a file of the testbed that are read: plans, states, outcomes.
pub const LAB_FILE_MAX: u64 = 4 * 1_024 * 1_024;
/// Kinds of key events of one call that a laboratory writes down; each is counted however often it comes.
pub const LAB_EVENTS_MAX: usize = 256;
/// Bytes of a report of the testbed that is explained: thousands of calls.
pub const LAB_REPORT_MAX: u64 = 256 * 1_024 * 1_024;
/// Bytes of a capture of one run of the testbed; what comes later is left out.
pub const LAB_CAPTURE_MAX: usize = 64 * 1_024 * 1_024;
/// Servers that a client of ours is sent on to, one by another (300).
pub const CLIENT_REDIRECTS_MAX: usize = 8;
/// Clients of a laboratory's server; one without an allocation makes room for another.
pub const TESTBED_CLIENTS_MAX: usize = 1_024;
/// Five-tuples that are remembered with the client they belong to.
pub const TESTBED_FIVE_TUPLES_MAX: usize = 8_192;
/// Connections of a laboratory's clients.
pub const TESTBED_STREAMS_MAX: usize = 1_024;
/// Messages of one client that a fault delays; more are lost.
pub const TESTBED_LATER_MAX: usize = 1_024;
/// Things that came to the sockets of a laboratory's server and wait for its loop.
pub const TESTBED_QUEUE_MAX: usize = 1_024;
/// Messages that wait for one connection of a laboratory's client.
pub const TESTBED_WRITES_MAX: usize = 256;
/// Notes that are kept of one client of a laboratory.
pub const TESTBED_NOTES_MAX: usize = 1_000;

const _: () = assert!(OUTPUTS_PER_INPUT_MAX * 2 <= WORKER_COMMANDS_MAX);
// What a client that reads nothing can cost, beside its place.
const _: () = assert!(STREAM_QUEUE_MAX + STREAM_ANSWERS_MAX + 2 * STREAM_SEND_BUFFER <= 64 * 1_024);
const _: () = assert!(PIPE_BUFFER + 2 * STREAM_SEND_BUFFER <= 64 * 1_024);
const _: () = assert!(PIPE_BUFFER <= STREAM_READ_MAX);
const _: () = assert!(RESPONSE_MAX * 4 <= STREAM_ANSWERS_MAX);
const _: () = assert!(STREAMS_TOTAL_DEFAULT <= STREAMS_MAX);
const _: () = assert!(WORKER_COMMANDS_MAX <= REPORTS_MAX);
// Two legs, of each the socket and two copies; and every table hears of a leg's end.
const _: () = assert!(TIMERS_PER_CALL_MAX * 2 * (3 + 2 * 2) <= OUTPUTS_PER_INPUT_MAX);
const _: () = assert!(PEERS_PER_REQUEST_MAX * 24 + USERNAME_READ_MAX + REALM_MAX + NONCE_MAX < REQUEST_MAX);
const _: () = assert!(20 + DISCOVERY_SURPLUS_MAX + 4 + DISCOVERY_PADDING_MAX + 8 <= RESPONSE_MAX);
const _: () = assert!(RESERVATION_KEPT.as_secs() >= 30 + RELAY_OPEN_DEADLINE.as_secs());
// A leg's owner and two copies of it hear of each.
const _: () = assert!(PEERS_PER_REQUEST_MAX * 3 + 8 <= OUTPUTS_PER_INPUT_MAX);
const _: () = assert!(REVOCATIONS_PER_CALL_MAX * 2 * 3 < OUTPUTS_PER_INPUT_MAX);
const _: () = assert!(PEERS_PER_REQUEST_MAX <= PERMISSIONS_PER_ALLOCATION_MAX);
// It may go past that by what one allocation with two legs takes.
const _: () = assert!(REBUILD_OUTPUTS_PER_CALL_MAX + 2 * 4 + 2 <= OUTPUTS_PER_INPUT_MAX);
const _: () = assert!(CREDENTIAL_CLOCK_LEEWAY.as_secs() < CREDENTIAL_LIFETIME_MAX.as_secs());
const _: () = assert!(ALLOCATION_LIFETIME_DEFAULT.as_secs() <= ALLOCATION_LIFETIME_MAX_DEFAULT.as_secs());
// A place of theirs is a number of 16 bits.
const _: () = assert!(KERNEL_HOPS_PER_WORKER * WORKERS_MAX as u32 <= 1 << 16);
