/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.c - a libfuse session that neither mounts nor unmounts: the
 * supervisor has done the one and whoever wants to does the other.
 *
 * The first message, INIT, is taken and answered before the loop's threads
 * start: with a replayed INIT another thread could otherwise take a client's
 * request meanwhile, and libfuse would refuse it with EIO.
 */
#include "fs/kernel/ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "fs/kernel/notifier.h"
#include "fs/kernel/point.h"
#include "fs/locks.h"
#include "fs/supervisor/wire.h"

/* Hits only: reads that wait hold no thread. */
#define LOOP_THREADS 16

static int ident_of(void *ctx, uint64_t id, struct version_ident *ret)
{
	struct kernel *k = ctx;
	struct catalog_node node;

	struct version_info info;

	if (catalog_get(k->cfg.catalog, id, &node) < 0) {
		/* The catalog forgets what was replaced long ago; open files
		 * of a worker before us do not. */
		if (cache_info(k->cfg.cache, id, &info) < 0)
			return -ESTALE;
		*ret = info.ident;
		return 0;
	}
	if (node.is_dir)
		return -EISDIR;
	*ret = (struct version_ident){.id = id,
				      .digest = node.digest,
				      .size_bytes = node.size_bytes,
				      .block_bytes = node.block_bytes};
	/* Of a ghost there may be no path any more: only messages miss it. */
	if (catalog_path(k->cfg.catalog, id, ret->name, sizeof(ret->name)) < 0)
		snprintf(ret->name, sizeof(ret->name), "#%llu",
			 (unsigned long long)id);
	return 0;
}

/* ---- the channel as libfuse's I/O --------------------------------------- */

static ssize_t io_read(int fd, void *buf, size_t n, void *userdata)
{
	struct kernel *k = userdata;

	return channel_read(&k->channel, fd, buf, n);
}

static ssize_t io_writev(int fd, struct iovec *iov, int n, void *userdata)
{
	struct kernel *k = userdata;
	ssize_t sum = 0;

	if (!__atomic_load_n(&k->mute, __ATOMIC_ACQUIRE))
		return channel_writev(&k->channel, fd, iov, n);
	/* The next worker answers it. */
	for (int i = 0; i < n; i++)
		sum += (ssize_t)iov[i].iov_len;
	return sum;
}

static void fuse_says(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = 0;
	if (level <= FUSE_LOG_ERR)
		log_err("kernel", "%s", text);
	else
		log_debug("kernel", "%s", text);
}

static int make_session(struct kernel *k)
{
	static const struct fuse_custom_io io = {.read = io_read,
						 .writev = io_writev};
	char max_read[40];
	char *argv[] = {(char[]){"stagefs"}, (char[]){"-o"}, max_read, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	int r;

	/* libfuse insists on hearing it here as well as in op_init. */
	snprintf(max_read, sizeof(max_read), "max_read=%u",
		 KERNEL_READ_MAX_BYTES);
	fuse_set_log_func(fuse_says);
	k->session = fuse_session_new(&args, &kernel_ops, sizeof(kernel_ops),
				      k);
	fuse_opt_free_args(&args);
	if (!k->session)
		return -ENOMEM;
	r = fuse_session_custom_io(k->session, &io, k->cfg.fuse_fd);
	return r < 0 ? r : loop_new(k->session, LOOP_THREADS, &k->loop);
}

/* ---- what the kernel has to forget --------------------------------------- */

static void told(struct kernel *k, int r)
{
	if (r < 0 && !__atomic_exchange_n(&k->mum, true, __ATOMIC_RELAXED))
		log_err("kernel", "notifier: %s: changes are seen after %g s "
				  "until the next start",
			strerror(-r), KERNEL_VALID_S);
}

static void tell_entry(void *ctx, uint64_t parent, const char *name)
{
	struct kernel *k = ctx;

	told(k, notifier_entry(k->cfg.notifier, parent, name));
}

static void tell_inode(void *ctx, uint64_t id, bool pages)
{
	struct kernel *k = ctx;

	told(k, notifier_inode(k->cfg.notifier, id, pages));
}

void kernel_names_changed(struct kernel *k, const struct catalog_change *ch,
			  size_t n)
{
	for (size_t i = 0; i < n; i++) {
		notify_entry(k->notify, ch[i].parent, ch[i].name);
		notify_inode(k->notify, ch[i].parent, false);
	}
}

void kernel_attr_changed(struct kernel *k, uint64_t id)
{
	notify_inode(k->notify, id, false);
}

void kernel_pages_bad(struct kernel *k, uint64_t id)
{
	notify_inode(k->notify, id, true);
}

/* ---- life ---------------------------------------------------------------- */

static int make_handles(struct kernel *k)
{
	const struct handles_config cfg = {.reader = k->cfg.reader,
					   .ident = ident_of,
					   .ctx = k,
					   .session = k->cfg.session,
					   .backing = k->backing,
					   .passthrough = k->cfg.passthrough};

	return handles_new(&cfg, &k->handles);
}

int kernel_new(const struct kernel_config *cfg, struct kernel **ret,
	       struct err *e)
{
	static const struct notify_target target = {.entry = tell_entry,
						    .inode = tell_inode};
	struct kernel *k = calloc(1, sizeof(*k));
	int r = -ENOMEM;

	if (!k)
		return err_set(e, ENOMEM, "out of memory");
	k->cfg = *cfg;
	lock_init(&k->parked_lock, LOCK_PARKED);
	cond_init(&k->parked_none);
	r = channel_init(&k->channel, cfg->session, cfg->passthrough);
	if (r < 0) {
		err_set(e, -r,
			r == -EPROTO ? "the session area is of another version"
				     : "out of memory");
		goto fail;
	}
	r = backing_new(cfg->link, cfg->session, &k->backing);
	if (r == 0)
		r = make_handles(k);
	if (r == 0)
		r = make_session(k);
	if (r == 0)
		r = notify_new(&target, k, &k->notify);
	if (r < 0) {
		err_set(e, -r, "cannot make the FUSE session: %s",
			strerror(-r));
		goto fail;
	}
	*ret = k;
	return 0;
fail:
	kernel_free(k);
	return r;
}

static int take_init(struct kernel *k)
{
	struct fuse_buf buf = {0};
	int r;

	do
		r = fuse_session_receive_buf(k->session, &buf);
	while (r == -EINTR);
	if (r > 0) {
		fuse_session_process_buf(k->session, &buf);
		r = fuse_session_exited(k->session) ? -EPROTO : 1;
	}
	free(buf.mem);
	return r;
}

/* Errors: -ENOENT is the usual one, the kernel has its answer. */
static void owed(void *ctx, uint64_t unique, const struct open_answer *a)
{
	struct kernel *k = ctx;

	channel_answer_open(&k->channel, k->cfg.fuse_fd, unique, a);
}

int kernel_serve(struct kernel *k, void (*serving)(void *ctx), void *ctx)
{
	int r = take_init(k);

	if (r <= 0)
		return r; /* 0: unmounted before it was served */
	handles_answer_again(k->handles, owed, k);
	kernel_point("resume.resend");
	channel_resume(&k->channel, k->cfg.fuse_fd);
	serving(ctx);
	return loop_run(k->loop);
}

void kernel_drain(struct kernel *k)
{
	loop_stop(k->loop);
}

void kernel_hand_over(struct kernel *k)
{
	__atomic_store_n(&k->mute, true, __ATOMIC_RELEASE);
}

static void end_notify(struct kernel *k)
{
	__atomic_store_n(&k->mum, true, __ATOMIC_RELAXED);
	notifier_end(k->cfg.notifier);
	notify_free(k->notify);
	k->notify = NULL;
}

void kernel_stop(struct kernel *k)
{
	end_notify(k);
	read_stop(k);
	handles_free(k->handles);
	k->handles = NULL;
}

void kernel_free(struct kernel *k)
{
	if (!k)
		return;
	end_notify(k);
	handles_free(k->handles);
	loop_free(k->loop);
	backing_free(k->backing);
	if (k->session)
		fuse_session_destroy(k->session);
	channel_done(&k->channel);
	cond_destroy(&k->parked_none);
	lock_destroy(&k->parked_lock);
	free(k);
}

void kernel_stats(struct kernel *k, struct kernel_stats *ret)
{
	struct handles_stats h;
	struct kernel_stats s;

	handles_stats(k->handles, &h);
	s = (struct kernel_stats){.open_images = h.images,
				  .open_passthrough = h.passthrough,
				  .opens = h.opens,
				  .opens_passthrough = h.opens_passthrough};
	lock_take(&k->parked_lock);
	s.parked = k->n_parked;
	lock_give(&k->parked_lock);
	*ret = s;
}
