// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The two ends of the wire for the rows about a whole host: a source of frames as a card's driver hands them in, and a sink that
// counts and drops. benches/compare/source.rs sets them up.
//
// Built by tests/kernel/object; the object is committed.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEAD_WORDS 6
#define FLOWS_MAX 8192
// Places in a frame.
#define SOURCE_PORT 34
#define DESTINATION_PORT 36
#define CHECK 40
#define CHANNEL 42

// What differs between the frames of two flows, as it stands on the wire.
struct flow {
    __be16 source, destination, check, channel;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, FLOWS_MAX);
    __type(key, __u32);
    __type(value, struct flow);
} flows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

// Set before the program is loaded.
const volatile __u32 OUT = 0;     // the end of the cable that frames go into
const volatile __u32 MASK = 0;    // flows, a power of two, less one
const volatile __u32 IS_DATA = 0; // frames carry ChannelData
const volatile __u64 HEAD[HEAD_WORDS] = {}; // how a frame begins

// Run with live frames. A frame comes again as the last that saw it has left it, so its headers are written anew.
SEC("xdp")
int source(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 number = bpf_get_prandom_u32() & MASK;
    struct flow *flow = bpf_map_lookup_elem(&flows, &number);
    if (!flow || data + HEAD_WORDS * sizeof(__u64) > end)
        return XDP_ABORTED;
#pragma unroll
    for (int i = 0; i < HEAD_WORDS; i++)
        ((__u64 *)data)[i] = HEAD[i];
    *(__be16 *)(data + SOURCE_PORT) = flow->source;
    *(__be16 *)(data + DESTINATION_PORT) = flow->destination;
    *(__be16 *)(data + CHECK) = flow->check;
    if (IS_DATA)
        *(__be16 *)(data + CHANNEL) = flow->channel;
    return bpf_redirect(OUT, 0);
}

// What the source costs by itself is what it costs into this.
SEC("xdp")
int waste(struct xdp_md *ctx)
{
    return XDP_DROP;
}

SEC("classifier")
int sink(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    struct iphdr *ip = data + ETH_HLEN;
    __u32 number = 0;
    __u64 *count = bpf_map_lookup_elem(&counts, &number);
    if (!count || skb->protocol != bpf_htons(ETH_P_IP) || (void *)(ip + 1) > end || ip->protocol != IPPROTO_UDP)
        return TC_ACT_UNSPEC;
    *count += skb->gso_segs ? skb->gso_segs : 1;
    return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
