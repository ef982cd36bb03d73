/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.c - where the manifest of a stream comes from: the index, if some
 * of the version is stored, else the origin.
 *
 *	want.c --> read the index --> found: install_done
 *	               |                         ^
 *	               | none, or unreadable     |
 *	               v                         |
 *	           fetch_manifest --> install ---+
 *
 * Both the index and the installing may wait for the disk, behind a commit of
 * the flusher: so they are jobs of the pool, and neither the pump nor the
 * network thread waits for them.
 *
 * It is asked for as demand always: it is small, whoever waits for an image
 * waits for it first, and a manifest on its way cannot be promoted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "fs/read/stream.h"

static struct stream *stream_of(struct pool_job *job)
{
	return (struct stream *)((char *)job -
				 offsetof(struct stream, manifest_job));
}

/* Ends the asking. -ECANCELED: nobody wanted it any more, or we stop. */
static void over(struct stream *s, int error)
{
	struct reader *r = s->r;
	struct wait *failed = NULL;

	lock_take(&s->lock);
	s->manifest_asked = false;
	if (error && error != -ECANCELED) {
		park_fail_locked(s, UINT64_MAX, error, &failed);
		prefetch_fail_locked(s, error);
		s->fill_retry_ns = clock_mono_ns() + FILL_RETRY_NS;
		if (error == -ENOENT)
			fill_stop_locked(s);
	}
	lock_give(&s->lock);
	park_answer(failed);
	stream_ring(s);
	stream_put(s);
	work_end(r);
}

static void submit(struct stream *s, void (*run)(struct pool_job *job))
{
	s->manifest_job.run = run;
	pool_submit(s->r->cfg.pool, &s->manifest_job, CLASS_DEMAND);
}

static void install(struct pool_job *job)
{
	struct stream *s = stream_of(job);
	int error = version_set_manifest(s->v, s->manifest_new);

	s->manifest_new = NULL;
	/* It is there; that the index could not keep it costs a transfer
	 * after the next start (C6). */
	if (error && version_manifest(s->v)) {
		log_warn("read", "%s: the index does not keep its manifest: "
			 "%s", version_ident(s->v)->name, strerror(-error));
		error = 0;
	}
	if (error == -EBADMSG) {
		log_err("read", "%s: its manifest is of another size than the "
			"catalog says", version_ident(s->v)->name);
		error = -EIO;
	}
	over(s, error);
}

/* From a pool thread or the network thread. */
static void fetched(void *ctx, struct manifest *m, int error)
{
	struct stream *s = ctx;

	lock_take(&s->lock);
	s->manifest_call = 0;
	lock_give(&s->lock);
	if (error) {
		over(s, error);
		return;
	}
	s->manifest_new = m;
	submit(s, install);
}

static int ask_origin(struct stream *s)
{
	LOCK_SCOPE(&s->lock);
	/* Who stops, or wants it no more, looks for the call after that. */
	if (reader_stopping(s->r) || !stream_wanted_locked(s))
		return -ECANCELED;
	s->manifest_call = fetch_manifest(s->r->cfg.fetch,
					  &version_ident(s->v)->digest,
					  CLASS_DEMAND, fetched, s);
	return s->manifest_call ? 0 : -ENOMEM;
}

/* Once the origin was asked the stream is in other hands. */
static void load(struct pool_job *job)
{
	struct stream *s = stream_of(job);
	int error = version_load_manifest(s->v);

	if (error && error != -ENOENT)
		log_warn("read", "%s: the index does not give its manifest: "
			 "%s: asking the origin", version_ident(s->v)->name,
			 strerror(-error));
	if (!error || (error = ask_origin(s)) != 0)
		over(s, error);
}

void manifest_want_locked(struct stream *s)
{
	if (s->manifest_asked)
		return;
	s->manifest_asked = true;
	stream_ref(s);
	work_begin(s->r);
	submit(s, load);
}

void manifest_cancel_locked(struct stream *s)
{
	if (s->manifest_call)
		fetch_manifest_cancel(s->r->cfg.fetch, s->manifest_call);
}
