/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read.c - OPEN, READ, RELEASE.
 *
 * A read whose blocks are stored is copied from the cache file through a
 * buffer of the thread. Not spliced: a block that is forgotten while it is
 * read (a scrub found it bad and punched it out) would reach the reader as
 * zeros; with a copy in hand the bitmap is asked a second time before the
 * answer goes out (R1). It costs nothing: reads through the process are bound
 * by the kernel's own copying, spliced or not.
 *
 * Any other read is parked at the reader (R4): a `struct parked` lives until
 * three parties are through with it, the request handler, the answer, and the
 * cancelling of an interrupted read.
 *
 * Interrupts: libfuse calls our function with the request's own lock held,
 * and fuse_req_interrupt_func(req, NULL) waits for that lock. So the function
 * must not answer by itself (the answer would wait for the lock, or free the
 * request under it): it leaves the cancelling to the pool.
 */
#include "fs/kernel/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "fs/kernel/point.h"

struct parked {
	struct read_request r; /* set once, then the reader's */
	fuse_req_t req;
	struct kernel *k;
	struct handle *h;
	struct pool_job cancel;

	unsigned refs;	  /* atomic */
	bool interrupted; /* atomic */

	/* under kernel.parked_lock */
	struct parked *prev, *next;
	bool stopping;
};

#define PARKED_OF(ptr, member) \
	((struct parked *)((char *)(ptr) - offsetof(struct parked, member)))

/* ---- open and release --------------------------------------------------- */

/* Counted before it is answered, and the answer noted after it: what becomes
 * of a kill in between is told in opens.c. */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct kernel *k = kernel_of(req);
	struct channel_open_out out;
	struct open_answer a;
	int r;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)) {
		fuse_reply_err(req, EROFS);
		return;
	}
	r = handles_open(k->handles, ino, channel_request(), &a);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	out = channel_open_out(&a);
	kernel_point("open.reply");
	r = fuse_reply_buf(req, (const char *)&out, sizeof(out));
	kernel_point("open.replied");
	/* The opener has gone: there will be no release. */
	if (r < 0)
		handles_close(k->handles, a.fh);
	else
		handles_answered(k->handles, a.fh);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	handles_close(kernel_of(req)->handles, fi->fh);
	kernel_point("release.reply");
	fuse_reply_err(req, 0);
}

/* ---- stored bytes -------------------------------------------------------- */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

static void make_buffer_key(void)
{
	pthread_key_create(&buffer_key, free);
}

static void *thread_buffer(void)
{
	void *b;

	pthread_once(&buffer_once, make_buffer_key);
	b = pthread_getspecific(buffer_key);
	if (!b) {
		b = aligned_alloc(4096, KERNEL_READ_MAX_BYTES);
		pthread_setspecific(buffer_key, b);
	}
	return b;
}

/* Answers, or returns an error with the request still open. */
static int serve_stored(fuse_req_t req, struct handle *h, uint64_t offset,
			uint32_t size)
{
	struct version *v = stream_version(h->stream);
	uint64_t first = offset / h->block_bytes;
	uint64_t n = (offset + size - 1) / h->block_bytes - first + 1;
	void *buf = thread_buffer();
	int r;

	if (!buf)
		return -ENOMEM;
	r = version_read(v, buf, size, offset);
	if (r < 0)
		return r;
	if (!version_has_all(v, first, n))
		return -EAGAIN;
	fuse_reply_buf(req, buf, size);
	return 0;
}

/* ---- reads that wait ----------------------------------------------------- */

static void parked_put(struct parked *p)
{
	struct kernel *k = p->k;

	if (__atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	handle_put(p->h);
	lock_take(&k->parked_lock);
	DL_DELETE(k->parked, p);
	if (--k->n_parked == 0)
		cond_wake_all(&k->parked_none);
	lock_give(&k->parked_lock);
	free(p);
}

static void answer(struct read_request *r, const struct iovec *iov, int n,
		   int error)
{
	struct parked *p = PARKED_OF(r, r);

	/* After this our function is not running and will not be called. */
	fuse_req_interrupt_func(p->req, NULL, NULL);
	/* The origin has it no more: no other path leads to these bytes. */
	if (error == -ENOENT)
		error = -ESTALE;
	if (error)
		fuse_reply_err(p->req, abs(error));
	else
		fuse_reply_iov(p->req, iov, n);
	parked_put(p);
}

static void run_cancel(struct pool_job *job)
{
	struct parked *p = PARKED_OF(job, cancel);

	stream_cancel(p->h->stream, &p->r, -EINTR);
	parked_put(p);
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct parked *p = data;

	(void)req;
	if (__atomic_exchange_n(&p->interrupted, true, __ATOMIC_ACQ_REL))
		return;
	/* Acquires what park() wrote; libfuse's lock does too, but of that the
	 * thread sanitizer knows nothing. */
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_ACQUIRE);
	pool_submit(p->k->cfg.pool, &p->cancel, 0);
}

/* Takes over the reference of `h`. */
static void park(fuse_req_t req, struct handle *h, uint64_t offset,
		 uint32_t size)
{
	struct kernel *k = kernel_of(req);
	struct parked *p = calloc(1, sizeof(*p));

	if (!p) {
		handle_put(h);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	p->r.offset = offset;
	p->r.size = size;
	p->r.answer = answer;
	p->req = req;
	p->k = k;
	p->h = h;
	p->cancel.run = run_cancel;
	/* the answer, and this function */
	__atomic_store_n(&p->refs, 2, __ATOMIC_RELEASE);
	lock_take(&k->parked_lock);
	DL_APPEND(k->parked, p);
	k->n_parked++;
	lock_give(&k->parked_lock);

	fuse_req_interrupt_func(req, on_interrupt, p);
	stream_read(h->stream, &p->r);
	/* The cancelling may have come before the read was there. */
	if (__atomic_load_n(&p->interrupted, __ATOMIC_ACQUIRE))
		stream_cancel(h->stream, &p->r, -EINTR);
	parked_put(p);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct kernel *k = kernel_of(req);
	uint64_t offset = (uint64_t)off;
	struct handle *h;
	int r = handles_get(k->handles, ino, &h);

	(void)fi;
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	if (offset >= h->size_bytes)
		size = 0;
	else if (size > h->size_bytes - offset)
		size = h->size_bytes - offset;
	if (size > KERNEL_READ_MAX_BYTES)
		size = KERNEL_READ_MAX_BYTES;
	if (size == 0) {
		fuse_reply_buf(req, NULL, 0);
		handle_put(h);
		return;
	}
	if (stream_stored(h->stream, offset, (uint32_t)size)) {
		r = serve_stored(req, h, offset, (uint32_t)size);
		if (r == 0) {
			handle_put(h);
			return;
		}
		/* -EAGAIN: forgotten meanwhile, just read it anew (C6). */
		if (r != -EAGAIN && r != -ENOMEM) {
			if (stream_says(h->stream, STREAM_UNREADABLE))
				log_warn("kernel", "id %llu: cannot read what "
					 "is stored at %llu: %s: fetching it "
					 "again", (unsigned long long)ino,
					 (unsigned long long)offset,
					 strerror(-r));
			stream_forget(h->stream, offset, (uint32_t)size);
		}
	}
	park(req, h, offset, (uint32_t)size);
}

/* ---- the end ------------------------------------------------------------- */

/* One that has not been cancelled yet, with a reference. */
static struct parked *next_locked(struct kernel *k)
{
	struct parked *p;
	unsigned refs;

	lock_assert_held(&k->parked_lock);
	DL_FOREACH(k->parked, p) {
		if (p->stopping)
			continue;
		refs = __atomic_load_n(&p->refs, __ATOMIC_ACQUIRE);
		/* 0: answered, and about to leave the list by itself. */
		while (refs && !__atomic_compare_exchange_n(
				       &p->refs, &refs, refs + 1, false,
				       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			;
		if (!refs)
			continue;
		p->stopping = true;
		return p;
	}
	return NULL;
}

/* The loop has ended, so nothing new is parked. */
void read_stop(struct kernel *k)
{
	struct parked *p;

	lock_take(&k->parked_lock);
	while ((p = next_locked(k))) {
		lock_give(&k->parked_lock);
		stream_cancel(p->h->stream, &p->r, -EIO);
		parked_put(p);
		lock_take(&k->parked_lock);
	}
	while (k->n_parked)
		cond_wait(&k->parked_none, &k->parked_lock);
	lock_give(&k->parked_lock);
}
