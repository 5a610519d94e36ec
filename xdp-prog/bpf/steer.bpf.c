// SPDX-License-Identifier: Apache-2.0
/*
 * Steers TCP frames for served endpoints to the AF_XDP socket of the receive queue and leaves all
 * other traffic to the kernel.
 *
 * Ethernet, at most one VLAN tag, IPv4 with options or IPv6 without extension headers, TCP. A
 * frame that is anything else is passed, never dropped: ARP, neighbour discovery, ICMP, SSH and
 * fragments stay the kernel's. One tag is what a host sees of a VLAN; two (802.1ad) belong to a
 * provider's bridge, and a server that does terminate them keeps working through the kernel.
 *
 * A steered frame cannot be given back to the kernel (AF_XDP has no way to), so the decision is
 * made here and completely: fragments are passed because only the first one names a port, and
 * lengths are checked so that the user-space stack gets whole datagrams.
 *
 * No helper used here asks for a GPL program, hence the plain Apache-2.0 licence string.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1fff
#define IPV6_NEXT_HEADER_FRAGMENT 44

struct vlan_header {
	__be16 tci;
	__be16 ethertype;
};

/* Set by the loader before the program is loaded; the longest frame that fits a receive buffer. */
volatile const __u32 frame_bytes_max = 0xffffffff;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SERVED_MAX);
	__type(key, struct served_key);
	__type(value, __u8);
} served SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/*
 * Returns what to count and, for VERDICT_STEERED alone, that the frame is for a served endpoint.
 * Reads headers only from the first buffer of a frame that spans several (xdp.frags): drivers put
 * far more than the 138 bytes of the longest headers there, and a frame for which that is not so
 * counts as malformed and is passed.
 */
static __always_inline enum verdict classify(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u64 frame_bytes = bpf_xdp_get_buff_len(ctx);
	struct served_key key = {};
	__u64 ip_offset = sizeof(struct ethhdr);
	__u64 datagram_bytes;
	struct tcphdr *tcp;
	__be16 ethertype;

	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return VERDICT_PASS_MALFORMED;
	ethertype = eth->h_proto;
	if (ethertype == bpf_htons(ETH_P_8021Q) || ethertype == bpf_htons(ETH_P_8021AD)) {
		struct vlan_header *vlan = (void *)(eth + 1);
		if ((void *)(vlan + 1) > end)
			return VERDICT_PASS_MALFORMED;
		ethertype = vlan->ethertype;
		ip_offset += sizeof(*vlan);
	}

	if (ethertype == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ip_offset;
		__u64 header_bytes;

		if ((void *)(ip + 1) > end)
			return VERDICT_PASS_MALFORMED;
		header_bytes = ip->ihl * 4;
		datagram_bytes = bpf_ntohs(ip->tot_len);
		if (ip->version != 4 || header_bytes < sizeof(*ip))
			return VERDICT_PASS_MALFORMED;
		if (ip->protocol != IPPROTO_TCP)
			return VERDICT_PASS_NOT_TCP;
		if (ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
			return VERDICT_PASS_FRAGMENT;
		if (datagram_bytes < header_bytes + sizeof(*tcp))
			return VERDICT_PASS_MALFORMED;
		tcp = (void *)ip + header_bytes;
		__builtin_memcpy(key.addr, &ip->daddr, sizeof(ip->daddr));
		key.ip_version = 4;
	} else if (ethertype == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ip_offset;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return VERDICT_PASS_MALFORMED;
		if (ip->nexthdr == IPV6_NEXT_HEADER_FRAGMENT)
			return VERDICT_PASS_FRAGMENT;
		if (ip->nexthdr != IPPROTO_TCP)
			return VERDICT_PASS_NOT_TCP;
		datagram_bytes = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		if (datagram_bytes < sizeof(*ip) + sizeof(*tcp))
			return VERDICT_PASS_MALFORMED;
		tcp = (void *)(ip + 1);
		__builtin_memcpy(key.addr, &ip->daddr, sizeof(ip->daddr));
		key.ip_version = 6;
	} else {
		return VERDICT_PASS_NOT_IP;
	}

	/* A frame may be longer than its datagram (Ethernet pads to 60 bytes), never shorter. */
	if ((void *)(tcp + 1) > end || ip_offset + datagram_bytes > frame_bytes)
		return VERDICT_PASS_MALFORMED;
	/* RFC 1122 section 4.2.3.10: TCP is not for broadcast or multicast; the kernel ignores it. */
	if (eth->h_dest[0] & 1)
		return VERDICT_PASS_GROUP_MAC;
	key.port = tcp->dest;
	if (!bpf_map_lookup_elem(&served, &key))
		return VERDICT_PASS_NOT_SERVED;
	/*
	 * Such a frame would be dropped by the socket without a word (a GRO or TSO super-frame in
	 * generic mode). The kernel must not get it: it knows no such connection and would reset it.
	 */
	if (frame_bytes > frame_bytes_max)
		return VERDICT_DROP_OVERSIZE;
	return VERDICT_STEERED;
}

SEC("xdp.frags")
int steer(struct xdp_md *ctx)
{
	enum verdict verdict = classify(ctx);
	int action = XDP_PASS;
	__u32 index;
	__u64 *count;

	if (verdict == VERDICT_STEERED) {
		/* The flags hold the action for an empty slot: the kernel's own listener is next. */
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = VERDICT_NO_SOCKET;
	} else if (verdict == VERDICT_DROP_OVERSIZE) {
		action = XDP_DROP;
	}

	index = verdict;
	count = bpf_map_lookup_elem(&verdicts, &index);
	if (count)
		*count += 1;
	return action;
}

char LICENSE[] SEC("license") = "Apache-2.0";
