// SPDX-License-Identifier: MIT OR Apache-2.0
//
// ChannelData <-> UDP, translated where the frame lies: one function for TC and for XDP.
//
// The rule of this program: it relays a frame that is plain in every respect, and hands up, unchanged, every other one. The
// worker above judges what comes up, with the whole of the protocol; so nothing here answers, and nothing here drops but
// what a bandwidth limit holds back. Nothing is charged or counted before it is certain that the frame can be relayed.
//
// What the maps hold is written by maps.rs beside this file from the worker's own table: layouts must agree, and the tests
// hold every field against it. Numbers of the wire are kept as they stand on the wire.
//
// Built by tests/kernel/object; the object is committed.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETH_LEN 14
#define IP4_LEN 20
#define IP6_LEN 40
#define UDP_LEN 8
#define CHANNEL_LEN 4
// What is read of a frame: everything in front of the application data. Shorter ones go up.
#define SEEN_MIN (ETH_LEN + IP4_LEN + UDP_LEN + CHANNEL_LEN)
#define SEEN_MIN6 (ETH_LEN + IP6_LEN + UDP_LEN + CHANNEL_LEN)
#define RELAYS_MAX 8
// An odd number whose product with another has every bit of that one in its upper half.
#define SPREAD 0x9e3779b97f4a7c15ull
#define NEAR_PEERS 2

// The peer is a relayed address of this server: never taken from the wire.
#define OWN 1

// How a frame that leaves begins. Sums are of 16-bit words in the order of the wire, folded.
struct out {
    __u64 src[2], dst[2]; // an IPv4 address is the first four bytes of its place, the rest is 0
    __be16 sport, dport;
    __u16 hop; // place in `hops`
    __u8 family; // 4 or 6
    __u8 flags;
    __u32 flow;    // flow label, 20 bits
    __u32 ends;    // sum of addresses and ports
    __u32 ip_sum;  // sum of the addresses
    __u32 unused;
};

// A bound channel, from the client's side. `head` and `tail` name one writing of it: see torn().
struct way {
    __u32 head;
    __u32 place;    // of the allocation, in `tallies` and `ports`
    __u64 until;    // ns of the monotonic clock
    struct out out;
    __u32 instance; // of the allocation
    __u32 not_ends; // complement of the sum of addresses and ports of what arrives
    __u32 pseudo;   // sum of its addresses and of the protocol
    __u32 own;      // with OWN: the place of the peer
    __u32 unused;
    __u32 tail;
};

// The same from the peer's side.
struct peer {
    __u64 addr[2];
    __u64 until;
    __be16 port, channel;
    __u16 flags, unused;
    __u32 not_ends, pseudo;
};

// An allocation, by its relay port: the way to its client, and the peers that need no second look.
struct port {
    __u32 head, instance;
    struct out out;
    struct peer near[NEAR_PEERS];
    __u32 unused2, tail;
};

struct far {
    __u32 head, unused;
    struct peer peer;
    __u32 unused2, tail;
};

// What changes with every packet. The server reads and writes it through shared memory.
struct tally {
    __u64 until; // 0: closed
    __u64 to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes;
    __u32 own_bucket, user_bucket; // places in `buckets`; 0: none
    __u32 header_len;              // bytes counted against the bandwidth with each packet
    __u32 instance;
    __u64 unused;
};

// A token bucket as src/proto/media/bucket.rs explains it, in its units.
struct bucket {
    __u64 spoken_for, per_byte, burst, unused;
};

struct hop {
    __u32 ifindex;
    __u16 mtu; // 0: not known
    __u8 resolved;
    __u8 family; // AF_INET or AF_INET6, of `next`
    __u8 next[16];
    __u8 dmac[6], smac[6];
    __u32 unused;
    __u64 due;
};

struct key4 {
    __be32 client, server;
    __be16 client_port, server_port, channel, zero;
};

struct key6 {
    __u64 client[2], server[2];
    __be16 client_port, server_port, channel, zero;
};

struct peer_key {
    __u64 addr[2];
    __u32 place;
    __be16 port, zero;
};

// Numbers of entries are set when the program is loaded.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct key4);
    __type(value, struct way);
} ways4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct key6);
    __type(value, struct way);
} ways6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct peer_key);
    __type(value, struct far);
} far_peers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct port);
} ports SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct tally);
} tallies SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct bucket);
} buckets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct hop);
} hops SEC(".maps");

// Frames dropped: over the allocation's bandwidth, over the user's, not to be written.
enum { DROP_ALLOCATION, DROP_USER, DROP_WRITE, DROPS };

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, DROPS);
    __type(key, __u32);
    __type(value, __u64);
} drops SEC(".maps");

// Set before the program is loaded, so that the verifier takes out what cannot happen.
const volatile __u64 STARTED_NS = 0; // the monotonic clock when the server's own began
const volatile __u64 LEND_NS = 0;    // how long a next hop goes without a frame through the sockets: see lend()
const volatile __u32 BY_REDIRECT = 0; // whether a frame that leaves where it came in is redirected there: see xdp_turn()
const volatile __u32 PORT_FIRST = 0;
const volatile __u32 PORT_COUNT = 0;
const volatile __u32 RELAYS4 = 0;
const volatile __u32 RELAYS6 = 0;
const volatile __be32 RELAY4[RELAYS_MAX] = {};
const volatile __u64 RELAY6[2 * RELAYS_MAX] = {};

// What a frame says.
struct seen {
    __u64 src[2], dst[2];
    __be16 sport, dport;
    __be16 udp_len, check;
    __be16 channel, channel_len; // the first four bytes of the datagram, whatever they are
    __u16 len;                   // of the UDP datagram, its header included
    __u8 family, hops, class, df;
};

// What leaves in its place.
struct made {
    __u64 words[7]; // IP, UDP and perhaps ChannelData headers
    __u32 len;      // of these, bytes
    __u32 was;      // bytes of the headers they replace
    __u32 data_len; // application data
    __u32 unused;
    struct tally *to_peer;   // counts it as sent to a peer, if not 0
    struct tally *to_client; // counts it as sent to a client, if not 0
    struct hop *hop;
    __u64 now;
    __u8 family, was_family;
    __u8 doubt; // its sum may be one that is left to the card
    __u8 pad[5];
};

static __always_inline __u32 fold(__u32 sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

// Values that a map hands out can be written anew meanwhile. Writing goes upwards, so whoever read `tail` first and finds
// `head` the same at the end has read one writing. A barrier keeps the compiler from turning the order round.
static __always_inline int torn(const __u32 *head, __u32 tail)
{
    barrier();
    return *(const volatile __u32 *)head != tail;
}

// The place of a relay port by its full local address; -1 for every other address.
static __always_inline __s64 place_of(const struct seen *s)
{
    __u32 port = bpf_ntohs(s->dport) - PORT_FIRST;
    if (port >= PORT_COUNT)
        return -1;
    if (s->family == 4) {
#pragma unroll
        for (__u32 i = 0; i < RELAYS_MAX; i++)
            if (i < RELAYS4 && RELAY4[i] == (__u32)s->dst[0])
                return (__u64)i * PORT_COUNT + port;
        return -1;
    }
#pragma unroll
    for (__u32 i = 0; i < RELAYS_MAX; i++)
        if (i < RELAYS6 && RELAY6[2 * i] == s->dst[0] && RELAY6[2 * i + 1] == s->dst[1])
            return (__u64)(RELAYS4 + i) * PORT_COUNT + port;
    return -1;
}

static __always_inline int see4(void *at, void *end, __u32 frame_len, struct seen *s)
{
    __be16 *word = at;
    struct iphdr *ip = at;
    struct udphdr *udp = at + IP4_LEN;
    if (at + IP4_LEN + UDP_LEN + CHANNEL_LEN > end)
        return 0;
    // No options, not a fragment, UDP.
    if (*(__u8 *)at != 0x45 || ip->protocol != IPPROTO_UDP || ip->frag_off & bpf_htons(0xbfff))
        return 0;
    __u32 sum = 0;
#pragma unroll
    for (int i = 0; i < IP4_LEN / 2; i++)
        sum += word[i];
    // The new header has a checksum of its own, so a broken one must not be repaired in passing.
    if (fold(sum) != 0xffff)
        return 0;
    __u32 total = bpf_ntohs(ip->tot_len);
    s->len = bpf_ntohs(udp->len);
    // Neither padding behind the packet nor anything behind the datagram.
    if (total + ETH_LEN != frame_len || total != s->len + IP4_LEN)
        return 0;
    s->src[0] = ip->saddr;
    s->dst[0] = ip->daddr;
    s->src[1] = s->dst[1] = 0;
    s->family = 4;
    s->hops = ip->ttl;
    s->class = ip->tos;
    s->df = ip->frag_off != 0;
    s->sport = udp->source;
    s->dport = udp->dest;
    s->udp_len = udp->len;
    s->check = udp->check;
    s->channel = word[14];
    s->channel_len = word[15];
    return 1;
}

static __always_inline int see6(void *at, void *end, __u32 frame_len, struct seen *s)
{
    struct ipv6hdr *ip = at;
    struct udphdr *udp = at + IP6_LEN;
    if (at + IP6_LEN + UDP_LEN + CHANNEL_LEN > end)
        return 0;
    __u32 first = bpf_ntohl(*(__be32 *)at);
    // No extension header, so no fragment either.
    if (first >> 28 != 6 || ip->nexthdr != IPPROTO_UDP)
        return 0;
    s->len = bpf_ntohs(udp->len);
    if (s->len + IP6_LEN + ETH_LEN != frame_len || udp->len != ip->payload_len)
        return 0;
    // Without a checksum no datagram is valid here (RFC 8200 section 8.1).
    if (udp->check == 0)
        return 0;
    __u64 *addresses = at + 8;
    s->src[0] = addresses[0];
    s->src[1] = addresses[1];
    s->dst[0] = addresses[2];
    s->dst[1] = addresses[3];
    s->family = 6;
    s->hops = ip->hop_limit;
    s->class = first >> 20;
    s->df = 0;
    s->sport = udp->source;
    s->dport = udp->dest;
    s->udp_len = udp->len;
    s->check = udp->check;
    s->channel = *(__be16 *)(at + IP6_LEN + UDP_LEN);
    s->channel_len = *(__be16 *)(at + IP6_LEN + UDP_LEN + 2);
    return 1;
}

// Writes the headers of what leaves. `channel` and `channel_len` are what stands in front of the data there; 0 for nothing.
// `change` is what the bytes behind the UDP header's checksum make of its sum, lengths not counted.
static __always_inline int make(const struct seen *s, const struct out *o, struct made *m, __u32 change, __be16 channel,
                                __be16 channel_len, __u8 hops_used, __u32 pseudo, __u32 not_ends, int partial_is_fine)
{
    __u32 place = o->hop;
    struct hop *hop = bpf_map_lookup_elem(&hops, &place);
    if (!hop || s->hops <= hops_used)
        return 0;
    __u32 len = UDP_LEN + (channel ? CHANNEL_LEN : 0) + m->data_len;
    __be16 udp_len = bpf_htons(len);
    __be16 check = 0;
    // A sender of this very machine has left the sum to its card (CHECKSUM_PARTIAL), and only the pseudo-header is summed. A
    // true sum looks like this once in 65,536 times.
    m->doubt = s->check == (__be16)fold(pseudo + s->udp_len);
    if (s->check == 0) {
        // None was made, and none can be without a walk over all of the data.
        if (o->family != 4)
            return 0;
    } else if (m->doubt && partial_is_fine) {
        // IPv4 may go without, and a true sum loses nothing by it.
        if (o->family != 4)
            return 0;
    } else {
        __u32 sum = (__u16)~s->check + o->ends + not_ends + change + 2 * (__u32)udp_len + 2 * (__u32)(__u16)~s->udp_len;
        check = ~fold(sum);
        if (!check)
            check = 0xffff;
    }
    m->hop = hop;
    m->family = o->family;
    __u8 hops_left = s->hops - hops_used;
    __u8 *at = (__u8 *)m->words;
    if (o->family == 4) {
        struct iphdr *ip = (void *)at;
        // Many senders share one source address from here on, so the number of what may be cut to pieces is a fresh one:
        // nobody elsewhere knows the nanosecond, and whoever has the same nanosecond has other data.
        __be16 id = s->df ? 0 : ((m->now ^ (__u64)s->check << 32) * SPREAD) >> 48;
        __be16 frag = s->df ? bpf_htons(0x4000) : 0;
        __be16 total = bpf_htons(IP4_LEN + len);
        __u32 first = 0x45 | (__u32)s->class << 8, fifth = hops_left | IPPROTO_UDP << 8;
        if (IP4_LEN + len > hop->mtu)
            return 0;
        __be16 sum = ~fold(first + total + id + frag + fifth + o->ip_sum);
        *(__u32 *)at = first | (__u32)total << 16;
        *(__u32 *)(at + 4) = id | (__u32)frag << 16;
        *(__u32 *)(at + 8) = fifth | (__u32)sum << 16;
        ip->saddr = o->src[0];
        ip->daddr = o->dst[0];
        *(__u32 *)(at + 20) = o->sport | (__u32)o->dport << 16;
        *(__u32 *)(at + 24) = udp_len | (__u32)check << 16;
        *(__u32 *)(at + 28) = channel | (__u32)channel_len << 16;
        m->len = IP4_LEN + UDP_LEN;
    } else {
        if (IP6_LEN + len > hop->mtu)
            return 0;
        *(__be32 *)at = bpf_htonl(6u << 28 | (__u32)s->class << 20 | o->flow);
        *(__u32 *)(at + 4) = udp_len | (IPPROTO_UDP | (__u32)hops_left << 8) << 16;
        m->words[1] = o->src[0];
        m->words[2] = o->src[1];
        m->words[3] = o->dst[0];
        m->words[4] = o->dst[1];
        *(__u32 *)(at + 40) = o->sport | (__u32)o->dport << 16;
        *(__u32 *)(at + 44) = udp_len | (__u32)check << 16;
        *(__u32 *)(at + 48) = channel | (__u32)channel_len << 16;
        m->len = IP6_LEN + UDP_LEN;
    }
    if (channel)
        m->len += CHANNEL_LEN;
    return 1;
}

// The live peer at `addr` and `port` of the allocation at `place`.
static __always_inline const struct peer *peer_of(const struct port *p, __u32 place, const __u64 *addr, __be16 port,
                                                  const __u32 **head, __u32 *tail)
{
    *head = &p->head;
    *tail = p->tail;
    barrier();
#pragma unroll
    for (int i = 0; i < NEAR_PEERS; i++) {
        const struct peer *near = &p->near[i];
        if (near->addr[0] == addr[0] && near->addr[1] == addr[1] && near->port == port && near->until)
            return near;
    }
    struct peer_key key = { .addr = { addr[0], addr[1] }, .place = place, .port = port };
    const struct far *far = bpf_map_lookup_elem(&far_peers, &key);
    if (!far)
        return 0;
    *head = &far->head;
    *tail = far->tail;
    barrier();
    return &far->peer;
}

// RFC 8656 section 12.7: what a peer sent to a relay port.
static __always_inline int from_peer(const struct seen *s, __u32 place, struct made *m, int partial_is_fine)
{
    struct tally *tally = bpf_map_lookup_elem(&tallies, &place);
    if (!tally || tally->until <= m->now)
        return 0;
    struct port *port = bpf_map_lookup_elem(&ports, &place);
    if (!port)
        return 0;
    const __u32 *head;
    __u32 tail, port_tail = port->tail;
    barrier();
    const struct peer *peer = peer_of(port, place, s->src, s->sport, &head, &tail);
    if (!peer || peer->until <= m->now || peer->flags & OWN)
        return 0;
    if (s->len < UDP_LEN)
        return 0;
    m->data_len = s->len - UDP_LEN;
    __be16 channel = peer->channel, channel_len = bpf_htons(m->data_len);
    if (!make(s, &port->out, m, (__u32)channel + channel_len, channel, channel_len, 1, peer->pseudo, peer->not_ends,
              partial_is_fine))
        return 0;
    if (torn(head, tail) || torn(&port->head, port_tail) || port->instance != tally->instance)
        return 0;
    m->to_peer = 0;
    m->to_client = tally;
    return 1;
}

// The second half of the way from one client of this server to another: what arrives at the relay port of the second, as if
// it had come by its socket.
static __always_inline int to_own(const struct seen *s, const struct way *way, struct made *m, int partial_is_fine)
{
    __u32 place = way->own;
    struct tally *tally = bpf_map_lookup_elem(&tallies, &place);
    if (!tally || tally->until <= m->now)
        return 0;
    struct port *port = bpf_map_lookup_elem(&ports, &place);
    if (!port)
        return 0;
    const __u32 *head;
    __u32 tail, port_tail = port->tail;
    barrier();
    const struct peer *peer = peer_of(port, place, way->out.src, way->out.sport, &head, &tail);
    if (!peer || peer->until <= m->now || !(peer->flags & OWN))
        return 0;
    // One number stands in the place of the other; the length stays.
    __u32 change = (__u32)peer->channel + (__u16)~s->channel;
    if (!make(s, &port->out, m, change, peer->channel, s->channel_len, 2, way->pseudo, way->not_ends, partial_is_fine))
        return 0;
    if (torn(head, tail) || torn(&port->head, port_tail) || port->instance != tally->instance)
        return 0;
    m->to_client = tally;
    return 1;
}

// RFC 8656 section 12.6: ChannelData of a client.
static __always_inline int from_client(const struct seen *s, struct made *m, int partial_is_fine)
{
    // Padding behind the data is for the worker to judge.
    if (s->len < UDP_LEN + CHANNEL_LEN || bpf_ntohs(s->channel_len) != s->len - UDP_LEN - CHANNEL_LEN)
        return 0;
    struct way *way;
    if (s->family == 4) {
        struct key4 key = { s->src[0], s->dst[0], s->sport, s->dport, s->channel, 0 };
        way = bpf_map_lookup_elem(&ways4, &key);
        // Else the compiler makes one call of the two, and a call that may ask either map is not inlined by the kernel.
        asm volatile("" : "+r"(way));
    } else {
        struct key6 key = { { s->src[0], s->src[1] }, { s->dst[0], s->dst[1] }, s->sport, s->dport, s->channel, 0 };
        way = bpf_map_lookup_elem(&ways6, &key);
    }
    if (!way)
        return 0;
    __u32 tail = way->tail, place = way->place;
    barrier();
    struct tally *tally = bpf_map_lookup_elem(&tallies, &place);
    if (!tally || tally->until <= m->now || way->until <= m->now || tally->instance != way->instance)
        return 0;
    m->data_len = s->len - UDP_LEN - CHANNEL_LEN;
    m->to_peer = tally;
    m->to_client = 0;
    if (way->out.flags & OWN) {
        if (!to_own(s, way, m, partial_is_fine))
            return 0;
    } else {
        __u32 change = (__u32)(__u16)~s->channel + (__u16)~s->channel_len;
        if (!make(s, &way->out, m, change, 0, 0, 1, way->pseudo, way->not_ends, partial_is_fine))
            return 0;
    }
    return !torn(&way->head, tail);
}

// Whether the frame is to be relayed, and how. Changes nothing.
static __always_inline int judge(void *data, void *end, __u32 frame_len, struct made *m, int partial_is_fine)
{
    struct seen s;
    struct ethhdr *eth = data;
    if (data + ETH_LEN > end || eth->h_dest[0] & 1)
        return 0;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        if (!see4(data + ETH_LEN, end, frame_len, &s))
            return 0;
        m->was = IP4_LEN + UDP_LEN;
    } else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
        if (!see6(data + ETH_LEN, end, frame_len, &s))
            return 0;
        m->was = IP6_LEN + UDP_LEN;
    } else {
        return 0;
    }
    m->was_family = s.family;
    __s64 place = place_of(&s);
    if (place >= 0) {
        m->now = bpf_ktime_get_ns();
        return from_peer(&s, place, m, partial_is_fine);
    }
    // ChannelData: which of its numbers may be bound, RFC 8656's or all of RFC 5766, is the server's to say.
    if ((s.channel & bpf_htons(0xc000)) != bpf_htons(0x4000))
        return 0;
    m->now = bpf_ktime_get_ns();
    m->was += CHANNEL_LEN;
    return from_client(&s, m, partial_is_fine);
}

static __always_inline int refuse(__u32 why)
{
    __u64 *count = bpf_map_lookup_elem(&drops, &why);
    if (count)
        ++*count;
    return 0;
}

// Takes from a bucket. Those who meet here count again; after four times in which somebody else got on, what it costs is
// added without a look.
static __always_inline int take(struct bucket *b, __u64 now, __u64 bytes, int anyway)
{
    __u64 cost = (bytes * b->per_byte + 0xffff) >> 16;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        __u64 before = *(volatile __u64 *)&b->spoken_for;
        if (!anyway && before >= now + b->burst)
            return 0;
        __u64 after = (before > now ? before : now) + cost;
        if (__sync_val_compare_and_swap(&b->spoken_for, before, after) == before)
            return 1;
    }
    __sync_fetch_and_add(&b->spoken_for, cost);
    return 1;
}

// Takes the packet from both buckets of an allocation, or from none.
static __always_inline int charge(const struct tally *t, __u64 now, __u32 data_len)
{
    __u32 own_place = t->own_bucket, user_place = t->user_bucket;
    if (!(own_place | user_place))
        return 1;
    __u64 at = (now - STARTED_NS) << 4;
    __u64 bytes = (__u64)data_len + t->header_len;
    struct bucket *own = 0;
    if (own_place) {
        own = bpf_map_lookup_elem(&buckets, &own_place);
        if (!own || own->spoken_for >= at + own->burst)
            return refuse(DROP_ALLOCATION);
    }
    if (user_place) {
        struct bucket *user = bpf_map_lookup_elem(&buckets, &user_place);
        if (!user || !take(user, at, bytes, 0))
            return refuse(DROP_USER);
    }
    if (own)
        take(own, at, bytes, 1);
    return 1;
}

// Charges and counts as `forward` does: what the first allocation has carried counts, even if the second holds it back.
static __always_inline int account(struct made *m)
{
    struct tally *tally = m->to_peer;
    if (tally) {
        if (!charge(tally, m->now, m->data_len))
            return 0;
        __sync_fetch_and_add(&tally->to_peer_packets, 1);
        __sync_fetch_and_add(&tally->to_peer_bytes, m->data_len);
    }
    tally = m->to_client;
    if (tally) {
        if (!charge(tally, m->now, m->data_len))
            return 0;
        __sync_fetch_and_add(&tally->to_client_packets, 1);
        __sync_fetch_and_add(&tally->to_client_bytes, m->data_len);
    }
    return 1;
}

// What passes here uses no entry of the neighbour table, and an entry that nobody uses is never confirmed. So every now and
// then one frame goes up, and the socket that sends it makes the kernel ask whether the next hop is still there.
static __always_inline int lend(struct hop *hop, __u64 now)
{
    __u64 due = hop->due;
    return due <= now && __sync_val_compare_and_swap(&hop->due, due, now + LEND_NS) == due;
}

// Copies `count` words to a place of any alignment.
#define COPY(to, from, count)                                          \
    do {                                                               \
        _Pragma("unroll") for (int word_ = 0; word_ < (count); word_++) \
            ((__u64 *)(to))[word_] = (from)[word_];                    \
    } while (0)

// Writes the headers at their new place; 0: there is none.
static __always_inline int put(void *at, void *end, const struct made *m)
{
    if (m->len == IP4_LEN + UDP_LEN) {
        if (at + IP4_LEN + UDP_LEN > end)
            return 0;
        COPY(at, m->words, 3);
        *(__u32 *)(at + 24) = m->words[3];
    } else if (m->len == IP4_LEN + UDP_LEN + CHANNEL_LEN) {
        if (at + IP4_LEN + UDP_LEN + CHANNEL_LEN > end)
            return 0;
        COPY(at, m->words, 4);
    } else if (m->len == IP6_LEN + UDP_LEN) {
        if (at + IP6_LEN + UDP_LEN > end)
            return 0;
        COPY(at, m->words, 6);
    } else {
        if (at + IP6_LEN + UDP_LEN + CHANNEL_LEN > end)
            return 0;
        COPY(at, m->words, 6);
        *(__u32 *)(at + 48) = m->words[6];
    }
    return 1;
}

SEC("xdp")
int xdp_turn(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct made m = {};
    if (!judge(data, end, end - data, &m, 1))
        return XDP_PASS;
    struct hop *hop = m.hop;
    if (!hop->resolved || lend(hop, m.now))
        return XDP_PASS;
    // No room in front: some drivers give none.
    if (bpf_xdp_adjust_head(ctx, (int)m.was - (int)m.len))
        return XDP_PASS;
    if (!account(&m))
        return XDP_DROP;
    data = (void *)(long)ctx->data;
    if (!put(data + ETH_LEN, (void *)(long)ctx->data_end, &m)) {
        refuse(DROP_WRITE);
        return XDP_DROP;
    }
    __builtin_memcpy(data, hop->dmac, 12);
    *(__be16 *)(data + 12) = m.family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
    // veth puts what XDP_TX sends into a ring at its far end, and wakes nobody there who has no XDP program. What is redirected
    // wakes whoever can take it.
    if (hop->ifindex == ctx->ingress_ifindex && !BY_REDIRECT)
        return XDP_TX;
    return bpf_redirect(hop->ifindex, 0);
}

// Whether the sum at `at` is left to the card. This helper alone knows: it leaves the field of such a packet as it is, for
// there is no sum yet that could be mended, and changes that of every other one.
static __always_inline int is_left_to_card(struct __sk_buff *skb, __u32 at)
{
    __be16 before = 0, after = 0;
    if (bpf_skb_load_bytes(skb, at, &before, 2) || bpf_l4_csum_replace(skb, at, 0, 1, 2) ||
        bpf_skb_load_bytes(skb, at, &after, 2) || before == after)
        return 1;
    return bpf_skb_store_bytes(skb, at, &before, 2, 0) != 0;
}

SEC("classifier")
int tc_turn(struct __sk_buff *skb)
{
    // A tag that the card took off, several packets in one, or a frame for somebody else.
    if (skb->vlan_present || skb->gso_segs > 1 || skb->pkt_type != 0)
        return TC_ACT_UNSPEC;
    if (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6))
        return TC_ACT_UNSPEC;
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + SEEN_MIN6 > end) {
        __u32 seen = skb->len < SEEN_MIN6 ? skb->len : SEEN_MIN6;
        if (seen < SEEN_MIN || bpf_skb_pull_data(skb, seen))
            return TC_ACT_UNSPEC;
        data = (void *)(long)skb->data;
        end = (void *)(long)skb->data_end;
    }
    struct made m = {};
    if (!judge(data, end, skb->len, &m, 0))
        return TC_ACT_UNSPEC;
    // It would be written where it no longer belongs, once the headers have moved.
    if (m.doubt && is_left_to_card(skb, ETH_LEN + (m.was_family == 4 ? IP4_LEN : IP6_LEN) + 6))
        return TC_ACT_UNSPEC;
    __s32 more = (__s32)m.len - (__s32)m.was;
    if (m.family != m.was_family) {
        // Makes the IP header of the other length, and the packet one of the other protocol.
        __be16 protocol = m.family == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
        if (bpf_skb_change_proto(skb, protocol, 0))
            return TC_ACT_UNSPEC;
        more += m.family == 4 ? IP6_LEN - IP4_LEN : IP4_LEN - IP6_LEN;
        if (more && bpf_skb_adjust_room(skb, more, BPF_ADJ_ROOM_NET, 0))
            goto lost;
    } else if (more && bpf_skb_adjust_room(skb, more, BPF_ADJ_ROOM_NET, 0)) {
        return TC_ACT_UNSPEC;
    }
    if (!account(&m))
        return TC_ACT_SHOT;
    // The packet keeps the hash that it came with: it tells flows from each other as well as one of the new addresses would.
    if (bpf_csum_update(skb, 0) >= 0) {
        // The card has summed the whole packet, and its sum has to follow what is written.
        __u32 len = m.len;
        if (len < IP4_LEN + UDP_LEN || len > sizeof(m.words))
            goto lost;
        if (bpf_skb_store_bytes(skb, ETH_LEN, m.words, len, BPF_F_RECOMPUTE_CSUM))
            goto lost;
    } else if (!put((void *)(long)skb->data + ETH_LEN, (void *)(long)skb->data_end, &m)) {
        goto lost;
    }
    struct hop *hop = m.hop;
    struct bpf_redir_neigh next = { .nh_family = hop->family };
    __builtin_memcpy(next.ipv6_nh, hop->next, sizeof(next.ipv6_nh));
    return bpf_redirect_neigh(hop->ifindex, &next, sizeof(next), 0);
lost:
    refuse(DROP_WRITE);
    return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
