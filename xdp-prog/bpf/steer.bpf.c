// SPDX-License-Identifier: Apache-2.0
/*
 * Steers TCP frames for served endpoints to the AF_XDP socket of the receive queue and leaves all
 * other traffic to the kernel.
 *
 * Ethernet, at most one VLAN tag, IPv4 with options or IPv6 without extension headers, TCP. A
 * frame that is anything else is passed, never dropped: ARP, neighbour discovery, SSH and
 * fragments stay the kernel's. One tag is what a host sees of a VLAN; two (802.1ad) belong to a
 * provider's bridge, and a server that does terminate them keeps working through the kernel.
 *
 * Of ICMP, only what tells a served endpoint that its packet was too big for a link is steered:
 * the kernel knows no such connection and would ignore it.
 *
 * Frames for served endpoints, and only those, are subject to an access list of source networks
 * and to limits for SYNs. Both hold whether the queue has a socket or not: a client that is refused
 * must not get in by the kernel's listener.
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
/* RFC 792, RFC 4443. linux/icmp.h would drag in headers of a host's C library. */
#define ICMP_DEST_UNREACH 3
#define ICMP_FRAG_NEEDED 4
#define ICMPV6_PKT_TOOBIG 2
#define NSEC_PER_SEC 1000000000ULL

struct vlan_header {
	__be16 tci;
	__be16 ethertype;
};

/* ICMP and ICMPv6 messages that report an error; what they quote follows. */
struct icmp_error {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 mtu;
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
 * The list is replaced as a whole, by one that is complete: no frame ever meets half of a list. (It
 * and its key are not named because clang describes named ones behind a pointer by name alone.)
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);
		__uint(max_entries, ACCESS_MAX + 2);
		__uint(map_flags, BPF_F_NO_PREALLOC);
		__uint(key_size, sizeof(struct access_key));
		__uint(value_size, sizeof(__u32));
	});
} access SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limits);
} limits SEC(".maps");

/* A token bucket that holds the SYNs of one second. */
struct bucket {
	__u64 credit_ns; /* NSEC_PER_SEC for each SYN that may pass */
	__u64 filled_at_ns;
};

struct syn_source {
	__u8 addr[8]; /* an IPv4 address and zeros, or the /64 that an IPv6 host can choose from */
	__u32 ip_version;
};

/* One bucket for each CPU: no lock, and no cache line that travels between CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, SYN_SOURCES_MAX);
	__type(key, struct syn_source);
	__type(value, struct bucket);
} syn_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bucket);
} syn_global SEC(".maps");

/* What a datagram's own header says. */
struct datagram {
	__u8 src[16]; /* an IPv4 address fills the first four bytes */
	__u8 dst[16];
	__u8 ip_version;
	__u8 protocol;
};

static __always_inline int is_served(const __u8 *addr, __u8 ip_version, __be16 port)
{
	struct served_key key = {};

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	key.ip_version = ip_version;
	key.port = port;
	return bpf_map_lookup_elem(&served, &key) != 0;
}

static __always_inline int is_denied(const struct datagram *datagram)
{
	struct access_key key = {};
	__u32 first = 0;
	__u32 *access_of_net;
	void *list;

	list = bpf_map_lookup_elem(&access, &first);
	if (!list)
		return 0;
	key.prefix_bits = ACCESS_VERSION_BITS + (datagram->ip_version == 4 ? 32 : 128);
	key.ip_version = datagram->ip_version;
	__builtin_memcpy(key.addr, datagram->src, sizeof(key.addr));
	access_of_net = bpf_map_lookup_elem(list, &key);
	return access_of_net && *access_of_net == ACCESS_DENY;
}

/* Takes one SYN's worth out of a bucket; 0: it is exhausted. */
static __always_inline int take(struct bucket *bucket, __u32 per_second, __u64 now_ns)
{
	__u64 elapsed_ns = now_ns - bucket->filled_at_ns;
	__u64 credit_ns_max = NSEC_PER_SEC * per_second;
	__u64 credit_ns;

	/* No product overflows: a rate has 32 bits, and a second of nanoseconds 30. */
	if (elapsed_ns > NSEC_PER_SEC)
		elapsed_ns = NSEC_PER_SEC;
	credit_ns = bucket->credit_ns + elapsed_ns * per_second;
	if (credit_ns > credit_ns_max)
		credit_ns = credit_ns_max;
	bucket->filled_at_ns = now_ns;
	bucket->credit_ns = credit_ns;
	if (credit_ns < NSEC_PER_SEC)
		return 0;
	bucket->credit_ns = credit_ns - NSEC_PER_SEC;
	return 1;
}

/*
 * The source's bucket comes first, so that one source's flood does not use up what all share. A
 * flood from forged sources fills the table of sources; then the global limit is what holds.
 */
static __always_inline enum verdict limit_syn(const struct datagram *datagram)
{
	__u32 first = 0;
	struct limits *limit = bpf_map_lookup_elem(&limits, &first);
	struct bucket *bucket;
	__u64 now_ns;

	if (!limit || (!limit->syns_per_source && !limit->syns_global))
		return VERDICT_STEERED;
	now_ns = bpf_ktime_get_ns();
	if (limit->syns_per_source) {
		__u32 per_second = limit->syns_per_source;
		struct syn_source source = {};

		__builtin_memcpy(source.addr, datagram->src, sizeof(source.addr));
		source.ip_version = datagram->ip_version;
		bucket = bpf_map_lookup_elem(&syn_sources, &source);
		if (bucket) {
			if (!take(bucket, per_second, now_ns))
				return VERDICT_DROP_SYN_SOURCE;
		} else {
			struct bucket full = {
				.credit_ns = NSEC_PER_SEC * (per_second - 1ULL),
				.filled_at_ns = now_ns,
			};
			bpf_map_update_elem(&syn_sources, &source, &full, BPF_ANY);
		}
	}
	if (limit->syns_global) {
		bucket = bpf_map_lookup_elem(&syn_global, &first);
		if (bucket && !take(bucket, limit->syns_global, now_ns))
			return VERDICT_DROP_SYN_GLOBAL;
	}
	return VERDICT_STEERED;
}

/*
 * ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6 "packet too big" (RFC 4443 section
 * 3.2) about a segment that a served endpoint sent. They quote its headers, at least the first
 * eight bytes of TCP's. Ours has no IP options; whatever quotes some is not about us.
 */
static __always_inline int is_too_big(const struct datagram *datagram, void *icmp, void *end)
{
	__u8 quoted_src[16] = {};
	struct icmp_error *header = icmp;
	struct tcphdr *tcp;

	if ((void *)(header + 1) > end)
		return 0;
	if (datagram->ip_version == 4) {
		struct iphdr *quoted = (void *)(header + 1);

		if (header->type != ICMP_DEST_UNREACH || header->code != ICMP_FRAG_NEEDED)
			return 0;
		tcp = (void *)(quoted + 1);
		if ((void *)tcp + 8 > end || quoted->version != 4 || quoted->ihl != 5)
			return 0;
		if (quoted->protocol != IPPROTO_TCP ||
		    (quoted->frag_off & bpf_htons(IPV4_FRAGMENT_OFFSET)))
			return 0;
		__builtin_memcpy(quoted_src, &quoted->saddr, sizeof(quoted->saddr));
	} else {
		struct ipv6hdr *quoted = (void *)(header + 1);

		if (header->type != ICMPV6_PKT_TOOBIG)
			return 0;
		tcp = (void *)(quoted + 1);
		if ((void *)tcp + 8 > end || quoted->version != 6 ||
		    quoted->nexthdr != IPPROTO_TCP)
			return 0;
		__builtin_memcpy(quoted_src, &quoted->saddr, sizeof(quoted->saddr));
	}
	/* It comes back to whom the quoted packet came from. */
	if (__builtin_memcmp(quoted_src, datagram->dst, sizeof(quoted_src)))
		return 0;
	return is_served(quoted_src, datagram->ip_version, tcp->source);
}

/*
 * Returns what to count and, for VERDICT_STEERED and VERDICT_STEERED_TOO_BIG alone, that the frame
 * is for a served endpoint.
 * Reads headers only from the first buffer of a frame that spans several (xdp.frags): drivers put
 * far more than the 138 bytes of the longest headers there, and a frame for which that is not so
 * counts as malformed and is passed.
 */
static __always_inline enum verdict classify(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u64 frame_bytes = bpf_xdp_get_buff_len(ctx);
	struct datagram datagram = {};
	__u64 ip_offset = sizeof(struct ethhdr);
	__u64 datagram_bytes;
	__u64 header_bytes;
	struct tcphdr *tcp;
	__be16 ethertype;
	void *payload;

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

		if ((void *)(ip + 1) > end)
			return VERDICT_PASS_MALFORMED;
		header_bytes = ip->ihl * 4;
		datagram_bytes = bpf_ntohs(ip->tot_len);
		if (ip->version != 4 || header_bytes < sizeof(*ip))
			return VERDICT_PASS_MALFORMED;
		if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_ICMP)
			return VERDICT_PASS_NOT_TCP;
		if (ip->frag_off & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
			return VERDICT_PASS_FRAGMENT;
		payload = (void *)ip + header_bytes;
		__builtin_memcpy(datagram.src, &ip->saddr, sizeof(ip->saddr));
		__builtin_memcpy(datagram.dst, &ip->daddr, sizeof(ip->daddr));
		datagram.ip_version = 4;
		datagram.protocol = ip->protocol;
	} else if (ethertype == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ip_offset;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return VERDICT_PASS_MALFORMED;
		if (ip->nexthdr == IPV6_NEXT_HEADER_FRAGMENT)
			return VERDICT_PASS_FRAGMENT;
		if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_ICMPV6)
			return VERDICT_PASS_NOT_TCP;
		header_bytes = sizeof(*ip);
		datagram_bytes = header_bytes + bpf_ntohs(ip->payload_len);
		payload = (void *)(ip + 1);
		__builtin_memcpy(datagram.src, &ip->saddr, sizeof(ip->saddr));
		__builtin_memcpy(datagram.dst, &ip->daddr, sizeof(ip->daddr));
		datagram.ip_version = 6;
		datagram.protocol = ip->nexthdr;
	} else {
		return VERDICT_PASS_NOT_IP;
	}

	/* A frame may be longer than its datagram (Ethernet pads to 60 bytes), never shorter. */
	if (ip_offset + datagram_bytes > frame_bytes)
		return VERDICT_PASS_MALFORMED;
	if (datagram.protocol != IPPROTO_TCP) {
		/* In a group's frame, or too long for a buffer: the kernel may have it. */
		if ((eth->h_dest[0] & 1) || frame_bytes > frame_bytes_max ||
		    !is_too_big(&datagram, payload, end))
			return VERDICT_PASS_NOT_TCP;
		return VERDICT_STEERED_TOO_BIG;
	}
	tcp = payload;
	if (datagram_bytes < header_bytes + sizeof(*tcp) || (void *)(tcp + 1) > end)
		return VERDICT_PASS_MALFORMED;
	/* RFC 1122 section 4.2.3.10: TCP is not for broadcast or multicast; the kernel ignores it. */
	if (eth->h_dest[0] & 1)
		return VERDICT_PASS_GROUP_MAC;
	if (!is_served(datagram.dst, datagram.ip_version, tcp->dest))
		return VERDICT_PASS_NOT_SERVED;
	if (is_denied(&datagram))
		return VERDICT_DROP_DENIED;
	/*
	 * Such a frame would be dropped by the socket without a word (a GRO or TSO super-frame in
	 * generic mode). The kernel must not get it: it knows no such connection and would reset it.
	 */
	if (frame_bytes > frame_bytes_max)
		return VERDICT_DROP_OVERSIZE;
	if (tcp->syn && !tcp->ack)
		return limit_syn(&datagram);
	return VERDICT_STEERED;
}

SEC("xdp.frags")
int steer(struct xdp_md *ctx)
{
	enum verdict verdict = classify(ctx);
	int action = XDP_PASS;
	__u32 index;
	__u64 *count;

	switch (verdict) {
	case VERDICT_STEERED:
	case VERDICT_STEERED_TOO_BIG:
		/* The flags hold the action for an empty slot: the kernel's own listener is next. */
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = VERDICT_NO_SOCKET;
		break;
	case VERDICT_DROP_OVERSIZE:
	case VERDICT_DROP_DENIED:
	case VERDICT_DROP_SYN_SOURCE:
	case VERDICT_DROP_SYN_GLOBAL:
		action = XDP_DROP;
		break;
	default:
		break;
	}

	index = verdict;
	count = bpf_map_lookup_elem(&verdicts, &index);
	if (count)
		*count += 1;
	return action;
}

char LICENSE[] SEC("license") = "Apache-2.0";
