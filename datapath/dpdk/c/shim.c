#include "shim.h"

#include <string.h>

#include <rte_flow.h>
#include <rte_mbuf.h>

#define ENDPOINT_QUEUES_MAX 128

int coney_dpdk_errno(void)
{
	return rte_errno;
}

int coney_dpdk_query(uint16_t port, uint16_t descriptors_wanted, struct coney_dpdk_device *out)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int result = rte_eth_dev_info_get(port, &info);

	memset(out, 0, sizeof(*out));
	if (result != 0)
		return result;
	result = rte_eth_macaddr_get(port, &mac);
	if (result != 0)
		return result;
	result = rte_eth_dev_get_mtu(port, &out->mtu);
	if (result != 0)
		return result;
	memcpy(out->mac, mac.addr_bytes, sizeof(out->mac));
	if (info.driver_name != NULL)
		strncpy(out->driver, info.driver_name, sizeof(out->driver) - 1);
	out->rx_queues_max = info.max_rx_queues;
	out->tx_queues_max = info.max_tx_queues;
	out->rx_descriptors = descriptors_wanted;
	out->tx_descriptors = descriptors_wanted;
	return rte_eth_dev_adjust_nb_rx_tx_desc(port, &out->rx_descriptors, &out->tx_descriptors);
}

int coney_dpdk_configure(uint16_t port, uint16_t queues, uint16_t mtu)
{
	struct rte_eth_conf conf;
	struct rte_eth_dev_info info;
	int result = rte_eth_dev_info_get(port, &info);

	if (result != 0)
		return result;
	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = mtu;
	if (queues > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = info.flow_type_rss_offloads &
			(RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP);
	}
	/* Not RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE: it ignores our reference. */
	return rte_eth_dev_configure(port, queues, queues, &conf);
}

int coney_dpdk_setup_queue(uint16_t port, uint16_t queue, uint16_t rx_descriptors,
			   uint16_t tx_descriptors, struct rte_mempool *pool)
{
	unsigned int socket = (unsigned int)rte_eth_dev_socket_id(port);
	int result = rte_eth_rx_queue_setup(port, queue, rx_descriptors, socket, NULL, pool);

	if (result != 0)
		return result;
	return rte_eth_tx_queue_setup(port, queue, tx_descriptors, socket, NULL);
}

int coney_dpdk_stats(uint16_t port, struct coney_dpdk_stats *out)
{
	struct rte_eth_stats stats;
	int result = rte_eth_stats_get(port, &stats);

	if (result != 0)
		return result;
	out->rx_missed = stats.imissed;
	out->rx_errors = stats.ierrors;
	out->rx_no_buffer = stats.rx_nombuf;
	out->tx_errors = stats.oerrors;
	return 0;
}

struct rte_mempool *coney_dpdk_pool_create(const char *name, unsigned int count,
					   uint16_t data_room, int socket)
{
	struct rte_pktmbuf_pool_private private;
	unsigned int flags = 0;
	struct rte_mempool *pool;
	int result;

	/* Without huge pages DPDK would let no buffer cross a page, and net_af_xdp, which registers
	 * the pool's memory with the kernel, would take it for shorter than it then is. Addresses
	 * are virtual in that case, so buffers are contiguous anyway. */
	if (!rte_eal_has_hugepages())
		flags |= RTE_MEMPOOL_F_NO_IOVA_CONTIG;
	memset(&private, 0, sizeof(private));
	private.mbuf_data_room_size = data_room;
	pool = rte_mempool_create_empty(name, count, sizeof(struct rte_mbuf) + data_room, 0,
					sizeof(private), socket, flags);
	if (pool == NULL)
		return NULL;
	result = rte_mempool_set_ops_byname(pool, "ring_sp_sc", NULL);
	if (result == 0) {
		rte_pktmbuf_pool_init(pool, &private);
		result = rte_mempool_populate_default(pool);
	}
	if (result < 0) {
		rte_mempool_free(pool);
		rte_errno = -result;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

int coney_dpdk_isolate(uint16_t port)
{
	struct rte_flow_error error;

	memset(&error, 0, sizeof(error));
	return rte_flow_isolate(port, 1, &error) == 0 ? 0 : -rte_errno;
}

int coney_dpdk_serve(uint16_t port, uint16_t queues, const struct coney_dpdk_endpoint *endpoint,
		     const char **why)
{
	struct rte_flow_attr attr = { .ingress = 1 };
	struct rte_flow_item_ipv4 v4 = { 0 }, v4_mask = { 0 };
	struct rte_flow_item_ipv6 v6, v6_mask;
	struct rte_flow_item_tcp tcp = { 0 }, tcp_mask = { 0 };
	struct rte_flow_item pattern[4];
	struct rte_flow_action actions[2];
	struct rte_flow_action_rss rss;
	struct rte_flow_error error;
	uint16_t numbers[ENDPOINT_QUEUES_MAX];
	uint16_t at;

	*why = NULL;
	if (queues == 0 || queues > ENDPOINT_QUEUES_MAX)
		return -EINVAL;
	memset(&v6, 0, sizeof(v6));
	memset(&v6_mask, 0, sizeof(v6_mask));
	memset(pattern, 0, sizeof(pattern));
	memset(actions, 0, sizeof(actions));
	memset(&rss, 0, sizeof(rss));
	memset(&error, 0, sizeof(error));
	pattern[0].type = RTE_FLOW_ITEM_TYPE_ETH;
	if (endpoint->is_v6) {
		memcpy(v6.hdr.dst_addr, endpoint->address, 16);
		memset(v6_mask.hdr.dst_addr, 0xff, 16);
		pattern[1].type = RTE_FLOW_ITEM_TYPE_IPV6;
		pattern[1].spec = &v6;
		pattern[1].mask = &v6_mask;
	} else {
		memcpy(&v4.hdr.dst_addr, endpoint->address, 4);
		v4_mask.hdr.dst_addr = UINT32_MAX;
		pattern[1].type = RTE_FLOW_ITEM_TYPE_IPV4;
		pattern[1].spec = &v4;
		pattern[1].mask = &v4_mask;
	}
	tcp.hdr.dst_port = rte_cpu_to_be_16(endpoint->port);
	tcp_mask.hdr.dst_port = UINT16_MAX;
	pattern[2].type = RTE_FLOW_ITEM_TYPE_TCP;
	pattern[2].spec = &tcp;
	pattern[2].mask = &tcp_mask;
	pattern[3].type = RTE_FLOW_ITEM_TYPE_END;
	for (at = 0; at < queues; at++)
		numbers[at] = at;
	rss.types = endpoint->is_v6 ? RTE_ETH_RSS_NONFRAG_IPV6_TCP : RTE_ETH_RSS_NONFRAG_IPV4_TCP;
	rss.queue_num = queues;
	rss.queue = numbers;
	actions[0].type = RTE_FLOW_ACTION_TYPE_RSS;
	actions[0].conf = &rss;
	actions[1].type = RTE_FLOW_ACTION_TYPE_END;
	if (rte_flow_create(port, &attr, pattern, actions, &error) != NULL)
		return 0;
	*why = error.message;
	return -rte_errno;
}

uint16_t coney_dpdk_rx_burst(uint16_t port, uint16_t queue, struct coney_dpdk_rx *out,
			     uint16_t max, uint16_t *dropped)
{
	struct rte_mbuf *mbufs[64];
	uint16_t wanted = max < RTE_DIM(mbufs) ? max : RTE_DIM(mbufs);
	uint16_t got = rte_eth_rx_burst(port, queue, mbufs, wanted);
	uint16_t kept = 0;
	uint16_t at;

	*dropped = 0;
	for (at = 0; at < got; at++) {
		struct rte_mbuf *mbuf = mbufs[at];

		if (mbuf->nb_segs != 1 || (mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
			rte_pktmbuf_free(mbuf);
			*dropped += 1;
			continue;
		}
		out[kept].mbuf = mbuf;
		out[kept].bytes = rte_pktmbuf_mtod(mbuf, const uint8_t *);
		out[kept].len = mbuf->data_len;
		kept++;
	}
	return kept;
}

uint16_t coney_dpdk_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs,
			     uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

struct rte_mbuf *coney_dpdk_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void coney_dpdk_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

uint8_t *coney_dpdk_mbuf_buffer(const struct rte_mbuf *mbuf)
{
	return mbuf->buf_addr;
}

uint16_t coney_dpdk_mbuf_buffer_len(const struct rte_mbuf *mbuf)
{
	return mbuf->buf_len;
}

void coney_dpdk_mbuf_lend(struct rte_mbuf *mbuf, uint16_t start, uint16_t len)
{
	mbuf->data_off = start;
	mbuf->data_len = len;
	mbuf->pkt_len = len;
	mbuf->nb_segs = 1;
	mbuf->next = NULL;
	mbuf->ol_flags = 0;
	rte_mbuf_refcnt_update(mbuf, 1);
}

int coney_dpdk_mbuf_is_back(const struct rte_mbuf *mbuf)
{
	return rte_mbuf_refcnt_read(mbuf) == 1;
}
