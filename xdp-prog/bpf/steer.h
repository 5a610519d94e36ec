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
 * What became of a frame: index into the counters map. Everything but the first and the third goes
 * to the kernel's stack as if the program were not there.
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
	VERDICTS
};

#endif
