#define _GNU_SOURCE
#include "spdk_shim.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spdk/bdev.h>
#include <spdk/env.h>
#include <spdk/init.h>
#include <spdk/log.h>
#include <spdk/module/bdev/nvme.h>
#include <spdk/rpc.h>
#include <spdk/thread.h>
#include <spdk/version.h>

#define PCI_MAX 64
/* DMA memory is a page, or more, at a page's start. */
#define DMA_ALIGNMENT 4096

struct coney_spdk_device {
	struct spdk_bdev_desc *desc;
	struct spdk_io_channel *channel;
	uint32_t block_len;
	/* It reads and writes by DMA, which ordinary memory is not for. */
	bool needs_dma_memory;
	struct coney_spdk_request *ended_first;
	struct coney_spdk_request **ended_last;
};

static struct spdk_thread *g_thread;
/* The first error that SPDK wrote to its log: later ones follow from it. */
static char g_error[CONEY_SPDK_TEXT_LEN];

/* A step that SPDK finishes in a callback. */
struct step {
	int done;
	int code;
};

static void log_line(int level, const char *file, const int line, const char *func, const char *format, va_list args)
{
	char text[CONEY_SPDK_TEXT_LEN];

	(void)file;
	(void)line;
	if (level > SPDK_LOG_WARN)
		return;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	if (level <= SPDK_LOG_ERROR && g_error[0] == '\0')
		memcpy(g_error, text, sizeof(text));
	fprintf(stderr, "spdk: %s: %s\n", func == NULL ? "" : func, text);
}

static void step_done(int code, void *context)
{
	struct step *step = context;

	step->code = code;
	step->done = 1;
}

static void stop_done(void *context)
{
	step_done(0, context);
}

static int finish(struct step *step)
{
	while (!step->done)
		spdk_thread_poll(g_thread, 0, 0);
	return step->code;
}

static int load_config(const struct coney_spdk_options *options)
{
	struct step step = { 0 };
	char *copy = malloc(options->config_len + 1);

	if (copy == NULL)
		return -ENOMEM;
	memcpy(copy, options->config, options->config_len);
	copy[options->config_len] = '\0';
	spdk_subsystem_load_config(copy, (ssize_t)options->config_len, step_done, &step, true);
	finish(&step);
	free(copy);
	return step.code;
}

/* DPDK binds its caller to a core, which must be one that this process may use, and is given back. */
static int start_environment(const struct coney_spdk_options *options, struct spdk_pci_addr *allowed)
{
	struct spdk_env_opts env;
	char core[16];
	cpu_set_t cores;
	int result;

	memset(&env, 0, sizeof(env));
	env.opts_size = sizeof(env);
	spdk_env_opts_init(&env);
	snprintf(core, sizeof(core), "[%d]", sched_getcpu());
	env.name = "coney";
	env.core_mask = core;
	env.no_pci = options->pci_count == 0;
	env.num_pci_addr = options->pci_count;
	env.pci_allowed = options->pci_count == 0 ? NULL : allowed;
	env.no_huge = options->no_huge != 0;
	if (options->memory_mb != 0)
		env.mem_size = (int)options->memory_mb;
	if (sched_getaffinity(0, sizeof(cores), &cores) != 0)
		return -errno;
	result = spdk_env_init(&env);
	if (sched_setaffinity(0, sizeof(cores), &cores) != 0)
		return -errno;
	return result;
}

enum coney_spdk_step coney_spdk_start(const struct coney_spdk_options *options, int *code,
				      char text[CONEY_SPDK_TEXT_LEN])
{
	struct spdk_pci_addr allowed[PCI_MAX];
	struct step step = { 0 };
	enum coney_spdk_step failed = CONEY_SPDK_BAD_PCI_ADDRESS;
	size_t at;

	spdk_log_open(log_line);
	*code = options->pci_count > PCI_MAX ? -E2BIG : 0;
	for (at = 0; *code == 0 && at < options->pci_count; at++)
		*code = spdk_pci_addr_parse(&allowed[at], options->pci[at]);
	if (*code != 0)
		goto out;
	failed = CONEY_SPDK_NO_ENVIRONMENT;
	*code = start_environment(options, allowed);
	if (*code != 0)
		goto out;
	failed = CONEY_SPDK_NO_THREAD;
	*code = spdk_thread_lib_init(NULL, 0);
	if (*code != 0)
		goto out;
	g_thread = spdk_thread_create("coney", NULL);
	if (g_thread == NULL) {
		*code = -ENOMEM;
		goto out;
	}
	spdk_set_thread(g_thread);
	/* The configuration is read twice: for what must be set before the subsystems start, and for the rest. */
	failed = CONEY_SPDK_BAD_CONFIG;
	*code = load_config(options);
	if (*code != 0)
		goto out;
	failed = CONEY_SPDK_NO_SUBSYSTEMS;
	spdk_subsystem_init(step_done, &step);
	*code = finish(&step);
	if (*code != 0)
		goto out;
	failed = CONEY_SPDK_BAD_CONFIG;
	spdk_rpc_set_state(SPDK_RPC_RUNTIME);
	*code = load_config(options);
	if (*code != 0)
		goto out;
	return CONEY_SPDK_STARTED;
out:
	memcpy(text, g_error, CONEY_SPDK_TEXT_LEN);
	return failed;
}

static void on_event(enum spdk_bdev_event_type type, struct spdk_bdev *bdev, void *context)
{
	/* A device that goes: its requests fail from now on, and the file system says so. */
	(void)type;
	(void)bdev;
	(void)context;
}

static enum coney_spdk_flush flush_of(struct spdk_bdev *bdev)
{
	const char *module = spdk_bdev_get_module_name(bdev);

	if (!spdk_bdev_io_type_supported(bdev, SPDK_BDEV_IO_TYPE_FLUSH))
		return CONEY_SPDK_FLUSH_MISSING;
	/* An fsync of the file. */
	if (strcmp(module, "aio") == 0)
		return CONEY_SPDK_FLUSH_REAL;
	if (strcmp(module, "malloc") == 0 || strcmp(module, "null") == 0)
		return CONEY_SPDK_FLUSH_IGNORED;
	if (strcmp(module, "nvme") == 0) {
		struct spdk_bdev_nvme_opts opts;

		if (!spdk_bdev_has_write_cache(bdev))
			return CONEY_SPDK_FLUSH_REAL;
		memset(&opts, 0, sizeof(opts));
		spdk_bdev_nvme_get_opts(&opts, sizeof(opts));
		return opts.enable_flush ? CONEY_SPDK_FLUSH_REAL : CONEY_SPDK_FLUSH_DISABLED;
	}
	return CONEY_SPDK_FLUSH_UNKNOWN;
}

int coney_spdk_open(const char *name, struct coney_spdk_device **out, struct coney_spdk_shape *shape)
{
	struct coney_spdk_device *device = calloc(1, sizeof(*device));
	struct spdk_bdev *bdev;
	const char *module;
	int result;

	if (device == NULL)
		return -ENOMEM;
	result = spdk_bdev_open_ext(name, true, on_event, device, &device->desc);
	if (result != 0) {
		free(device);
		return result;
	}
	device->channel = spdk_bdev_get_io_channel(device->desc);
	if (device->channel == NULL) {
		spdk_bdev_close(device->desc);
		free(device);
		return -ENOMEM;
	}
	device->ended_last = &device->ended_first;
	bdev = spdk_bdev_desc_get_bdev(device->desc);
	module = spdk_bdev_get_module_name(bdev);
	memset(shape, 0, sizeof(*shape));
	shape->block_len = spdk_bdev_get_block_size(bdev);
	shape->metadata_len = spdk_bdev_get_block_size(bdev) - spdk_bdev_get_data_block_size(bdev);
	shape->block_count = spdk_bdev_get_num_blocks(bdev);
	shape->flush = flush_of(bdev);
	shape->can_unmap = spdk_bdev_io_type_supported(bdev, SPDK_BDEV_IO_TYPE_UNMAP);
	shape->is_memory = strcmp(module, "malloc") == 0;
	snprintf(shape->module, sizeof(shape->module), "%s", module);
	device->block_len = shape->block_len;
	device->needs_dma_memory = strcmp(module, "malloc") != 0 && strcmp(module, "null") != 0 &&
				   strcmp(module, "aio") != 0 && strcmp(module, "uring") != 0;
	*out = device;
	return 0;
}

void coney_spdk_close(struct coney_spdk_device *device)
{
	spdk_put_io_channel(device->channel);
	spdk_bdev_close(device->desc);
	free(device);
}

int coney_spdk_next_name(const char *name, char next[CONEY_SPDK_NAME_LEN])
{
	struct spdk_bdev *bdev = name[0] == '\0' ? spdk_bdev_first() : spdk_bdev_get_by_name(name);

	if (bdev != NULL && name[0] != '\0')
		bdev = spdk_bdev_next(bdev);
	if (bdev == NULL)
		return 0;
	snprintf(next, CONEY_SPDK_NAME_LEN, "%s", spdk_bdev_get_name(bdev));
	return 1;
}

static void on_end(struct spdk_bdev_io *io, bool success, void *context)
{
	struct coney_spdk_request *request = context;
	struct coney_spdk_device *device = request->device;
	int status = 0;

	if (!success) {
		spdk_bdev_io_get_aio_status(io, &status);
		if (status >= 0)
			status = -EIO;
	}
	spdk_bdev_free_io(io);
	if (request->bounce != NULL) {
		if (request->operation == CONEY_SPDK_READ && status == 0)
			memcpy(request->buffer, request->bounce, request->count * device->block_len);
		spdk_dma_free(request->bounce);
		request->bounce = NULL;
	}
	request->status = status;
	request->next = NULL;
	*device->ended_last = request;
	device->ended_last = &request->next;
}

int coney_spdk_submit(struct coney_spdk_device *device, struct coney_spdk_request *request)
{
	bool moves = request->operation == CONEY_SPDK_READ || request->operation == CONEY_SPDK_WRITE;
	void *buffer = request->buffer;
	int result = -EINVAL;

	request->device = device;
	request->bounce = NULL;
	if (moves && device->needs_dma_memory) {
		size_t len = request->count * device->block_len;

		request->bounce = spdk_dma_malloc(len, DMA_ALIGNMENT, NULL);
		if (request->bounce == NULL)
			return -ENOMEM;
		if (request->operation == CONEY_SPDK_WRITE)
			memcpy(request->bounce, buffer, len);
		buffer = request->bounce;
	}
	switch (request->operation) {
	case CONEY_SPDK_READ:
		result = spdk_bdev_read_blocks(device->desc, device->channel, buffer, request->block,
					       request->count, on_end, request);
		break;
	case CONEY_SPDK_WRITE:
		result = spdk_bdev_write_blocks(device->desc, device->channel, buffer, request->block,
						request->count, on_end, request);
		break;
	case CONEY_SPDK_FLUSH:
		result = spdk_bdev_flush_blocks(device->desc, device->channel, 0,
						spdk_bdev_get_num_blocks(spdk_bdev_desc_get_bdev(device->desc)),
						on_end, request);
		break;
	case CONEY_SPDK_UNMAP:
		result = spdk_bdev_unmap_blocks(device->desc, device->channel, request->block,
						request->count, on_end, request);
		break;
	}
	if (result != 0 && request->bounce != NULL) {
		spdk_dma_free(request->bounce);
		request->bounce = NULL;
	}
	return result;
}

int coney_spdk_poll(void)
{
	return spdk_thread_poll(g_thread, 0, 0) > 0;
}

struct coney_spdk_request *coney_spdk_ended(struct coney_spdk_device *device)
{
	struct coney_spdk_request *request = device->ended_first;

	if (request == NULL)
		return NULL;
	device->ended_first = request->next;
	if (device->ended_first == NULL)
		device->ended_last = &device->ended_first;
	return request;
}

void coney_spdk_stop(void)
{
	struct step step = { 0 };

	spdk_subsystem_fini(stop_done, &step);
	finish(&step);
	spdk_thread_exit(g_thread);
	while (!spdk_thread_is_exited(g_thread))
		spdk_thread_poll(g_thread, 0, 0);
	spdk_set_thread(NULL);
	spdk_thread_destroy(g_thread);
	g_thread = NULL;
	spdk_thread_lib_fini();
	spdk_env_fini();
	spdk_log_close();
}

const char *coney_spdk_version(void)
{
	return SPDK_VERSION_STRING;
}
