/* What Coney needs of SPDK, in plain C: bindings are generated from this header, which includes none of SPDK's, so that
 * they can be made where SPDK is not installed. spdk_shim.c holds it to SPDK's headers.
 *
 * All of it belongs to one thread, the one that called coney_spdk_start. */

#ifndef CONEY_SPDK_SHIM_H
#define CONEY_SPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#define CONEY_SPDK_TEXT_LEN 512
#define CONEY_SPDK_NAME_LEN 64

struct coney_spdk_options {
	/* SPDK's JSON configuration, not terminated. */
	const char *config;
	size_t config_len;
	/* The PCI addresses that SPDK may take, and no others; none: PCI stays off. */
	const char *const *pci;
	size_t pci_count;
	/* Megabytes for SPDK; 0: as it chooses. */
	uint32_t memory_mb;
	/* Ordinary memory in place of huge pages. */
	uint8_t no_huge;
};

enum coney_spdk_step {
	CONEY_SPDK_STARTED,
	CONEY_SPDK_BAD_PCI_ADDRESS,
	CONEY_SPDK_NO_ENVIRONMENT,
	CONEY_SPDK_NO_THREAD,
	CONEY_SPDK_BAD_CONFIG,
	CONEY_SPDK_NO_SUBSYSTEMS,
};

/* What a flush of the bdev does. */
enum coney_spdk_flush {
	/* It reaches the device, or there is no volatile cache. */
	CONEY_SPDK_FLUSH_REAL,
	/* The bdev has none. */
	CONEY_SPDK_FLUSH_MISSING,
	/* The bdev takes it and does nothing. */
	CONEY_SPDK_FLUSH_IGNORED,
	/* NVMe with a volatile cache, and the option enable_flush is off. */
	CONEY_SPDK_FLUSH_DISABLED,
	/* Nobody has looked what this kind of bdev does. */
	CONEY_SPDK_FLUSH_UNKNOWN,
};

struct coney_spdk_shape {
	uint32_t block_len;
	/* Bytes between blocks that are not data. */
	uint32_t metadata_len;
	uint64_t block_count;
	/* enum coney_spdk_flush. */
	uint32_t flush;
	uint8_t can_unmap;
	/* It has been filled with zeros by its making. */
	uint8_t is_memory;
	/* SPDK's name for the kind, such as "nvme". */
	char module[CONEY_SPDK_NAME_LEN];
};

enum coney_spdk_operation {
	CONEY_SPDK_READ,
	CONEY_SPDK_WRITE,
	CONEY_SPDK_FLUSH,
	CONEY_SPDK_UNMAP,
};

/* The caller keeps it, and its buffer, in place until it comes back from coney_spdk_ended. */
struct coney_spdk_request {
	/* enum coney_spdk_operation. */
	uint32_t operation;
	void *buffer;
	uint64_t block;
	uint64_t count;
	/* 0, or a negative errno; after it came back. */
	int32_t status;
	/* The shim's own. */
	struct coney_spdk_device *device;
	void *bounce;
	struct coney_spdk_request *next;
};

/* An open bdev and its I/O channel. */
struct coney_spdk_device;

/* Starts SPDK in this process, once. Not CONEY_SPDK_STARTED: `*code` is a negative errno, and `text` what SPDK said. */
enum coney_spdk_step coney_spdk_start(const struct coney_spdk_options *options, int *code,
				      char text[CONEY_SPDK_TEXT_LEN]);

/* Opens a bdev. 0, or a negative errno. */
int coney_spdk_open(const char *name, struct coney_spdk_device **device, struct coney_spdk_shape *shape);
/* With no request in flight. */
void coney_spdk_close(struct coney_spdk_device *device);

/* The name of the bdev after `name`, or of the first after ""; 0 if there is none. */
int coney_spdk_next_name(const char *name, char next[CONEY_SPDK_NAME_LEN]);

/* Hands a request over. -ENOMEM: try again after a poll; any other negative errno: it will not come back. */
int coney_spdk_submit(struct coney_spdk_device *device, struct coney_spdk_request *request);
/* Lets SPDK work; returns whether it found any. */
int coney_spdk_poll(void);
/* A request that has ended, or NULL. */
struct coney_spdk_request *coney_spdk_ended(struct coney_spdk_device *device);

/* Ends SPDK, with all devices closed. */
void coney_spdk_stop(void);

/* SPDK's version, such as "SPDK v26.05". */
const char *coney_spdk_version(void);

#endif
