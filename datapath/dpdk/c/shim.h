/* DPDK's inline functions as functions, and its structures with bit fields, unions and packed
 * members behind plain ones. Bindings are generated from this header. */

#ifndef CONEY_DPDK_SHIM_H
#define CONEY_DPDK_SHIM_H

#include <stdint.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

struct rte_mbuf;

/* A received frame in one piece. */
struct coney_dpdk_rx {
	struct rte_mbuf *mbuf;
	const uint8_t *bytes;
	uint32_t len;
};

/* What a device has and can. */
struct coney_dpdk_device {
	char driver[64];
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t rx_queues_max;
	uint16_t tx_queues_max;
	uint16_t rx_descriptors;
	uint16_t tx_descriptors;
};

/* What the device counts. */
struct coney_dpdk_stats {
	uint64_t rx_missed;
	uint64_t rx_errors;
	uint64_t rx_no_buffer;
	uint64_t tx_errors;
};

/* An IP address and a TCP port; an IPv4 address is in the first four bytes. */
struct coney_dpdk_endpoint {
	uint8_t is_v6;
	uint8_t address[16];
	uint16_t port;
};

/* rte_errno of this thread. */
int coney_dpdk_errno(void);

/* 0, or a negative errno. */
int coney_dpdk_query(uint16_t port, uint16_t descriptors_wanted, struct coney_dpdk_device *out);
int coney_dpdk_configure(uint16_t port, uint16_t queues, uint16_t mtu);
int coney_dpdk_setup_queue(uint16_t port, uint16_t queue, uint16_t rx_descriptors,
			   uint16_t tx_descriptors, struct rte_mempool *pool);
int coney_dpdk_stats(uint16_t port, struct coney_dpdk_stats *out);

/* A pool that one thread at a time uses; NULL: see coney_dpdk_errno. */
struct rte_mempool *coney_dpdk_pool_create(const char *name, unsigned int count,
					   uint16_t data_room, int socket);

/* Bifurcated drivers: only what a rule names comes to the port, the rest is the kernel's. Before
 * configure. */
int coney_dpdk_isolate(uint16_t port);
/* A rule for one endpoint over the first `queues` queues; rules go with the device. `*why` is the
 * driver's explanation, or NULL. */
int coney_dpdk_serve(uint16_t port, uint16_t queues, const struct coney_dpdk_endpoint *endpoint,
		     const char **why);

/* Receives; `*dropped` counts frames in several pieces, or whose VLAN tag was taken away. */
uint16_t coney_dpdk_rx_burst(uint16_t port, uint16_t queue, struct coney_dpdk_rx *out,
			     uint16_t max, uint16_t *dropped);
uint16_t coney_dpdk_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs,
			     uint16_t count);

struct rte_mbuf *coney_dpdk_mbuf_alloc(struct rte_mempool *pool);
void coney_dpdk_mbuf_free(struct rte_mbuf *mbuf);
uint8_t *coney_dpdk_mbuf_buffer(const struct rte_mbuf *mbuf);
uint16_t coney_dpdk_mbuf_buffer_len(const struct rte_mbuf *mbuf);
/* Makes the mbuf one frame, `len` bytes from `start` of its buffer, with a reference for the
 * device besides the caller's. */
void coney_dpdk_mbuf_lend(struct rte_mbuf *mbuf, uint16_t start, uint16_t len);
/* Whether the device gave its reference back. */
int coney_dpdk_mbuf_is_back(const struct rte_mbuf *mbuf);

#endif
