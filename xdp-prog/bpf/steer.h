/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program and its loader share. src/layout.rs mirrors this file; the loader compares map
 * sizes with its mirror when it loads the object.
 */
#ifndef CONEY_STEER_H
#define CONEY_STEER_H

/* Limits. A full map refuses the next entry, and the loader says so. */
#define SERVED_MAX 1024
#define QUEUES_MAX 1024
/* Entries of both access lists together, without the two that stand for "all others". */
#define ACCESS_MAX 10000
/* Sources whose SYNs are counted; beyond it the least recently seen one is forgotten. */
#define SYN_SOURCES_MAX 16384

/*
 * One served endpoint. All of it is compared, so unused bytes are zero: an IPv4 address fills the
 * first four bytes of addr.
 */
struct served_key {
	__u8 addr[16];
	__be16 port;
	__u8 ip_version; /* 4 or 6 */
	__u8 zero;
};

/*
 * A source address or network as the access list has it. The address is led by its IP version, so
 * that one list, exchanged at once, holds both families. Prefix lengths count that word too.
 */
struct access_key {
	__u32 prefix_bits; /* ACCESS_VERSION_BITS and the network's own */
	__u8 ip_version;   /* 4 or 6 */
	__u8 zero[3];
	__u8 addr[16];
};
#define ACCESS_VERSION_BITS 32
#define ACCESS_ALLOW 1
#define ACCESS_DENY 2

/* What can be changed while the program runs. */
struct limits {
	__u32 syns_per_source; /* a second, on each CPU that receives; 0: no limit */
	__u32 syns_global;
};

/*
 * What became of a frame: index into the counters map. Those of VERDICT_STEERED* go to the AF_XDP
 * socket, those of VERDICT_DROP* nowhere, and all others to the kernel's stack as if the program
 * were not there.
 */
enum verdict {
	VERDICT_STEERED,         /* to the AF_XDP socket of its queue */
	VERDICT_NO_SOCKET,       /* served, but its queue has no AF_XDP socket */
	VERDICT_DROP_OVERSIZE,   /* served, but longer than a receive buffer of the socket */
	VERDICT_PASS_NOT_IP,     /* ARP, two VLAN tags, and all else that is neither IPv4 nor IPv6 */
	VERDICT_PASS_NOT_TCP,
	VERDICT_PASS_NOT_SERVED, /* TCP to another address or port */
	VERDICT_PASS_GROUP_MAC,  /* IP in an Ethernet broadcast or multicast frame */
	VERDICT_PASS_FRAGMENT,   /* first and later fragments, IPv4 and IPv6 */
	VERDICT_PASS_MALFORMED,  /* truncated, or a length field that contradicts the frame */
	VERDICT_STEERED_TOO_BIG, /* ICMP: a packet of a served endpoint is too big for a link */
	VERDICT_DROP_DENIED,     /* served, but the access list refuses the source */
	VERDICT_DROP_SYN_SOURCE, /* SYN beyond what one source may send */
	VERDICT_DROP_SYN_GLOBAL, /* SYN beyond what all sources together may send */
	VERDICTS
};

#endif
