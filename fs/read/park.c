/* SPDX-License-Identifier: Apache-2.0 */
/*
 * park.c - reads that wait (R3, R4). A parked read is some memory in a list:
 * no thread, no descriptor, no timer of its own. The list of one stream is
 * walked for each block that arrives: with a thousand parked reads that is a
 * few microseconds for a mebibyte, less than any index would cost to keep.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/clock.h"
#include "fs/read/stream.h"

#define AGAIN_NS NS_PER_S
#define STORED_TRIES 3 /* of reading stored bytes back, each after a refetch */

/* Blocks of one read: it is at most 1 MiB, blocks at least 64 KiB. */
#define IOV_MAX_OURS 64

bool stream_engaged_locked(const struct stream *s)
{
	return s->engaged_bytes >= s->r->cfg.fill_after_bytes;
}

/*
 * R7. Not a sum of all reads: an indexer that comes each night and looks at the
 * same stored megabytes would have every image fetched in the end. What counts
 * is what was missing, or how far one went on reading in sequence.
 */
bool stream_note_read_locked(struct stream *s, uint64_t offset, uint32_t size,
			     bool missed)
{
	bool moved = runs_note(&s->runs, offset, size);
	uint64_t longest = runs_longest(&s->runs);

	version_touch(s->v); /* read just now, waited or not (C4) */
	if (missed)
		s->engaged_bytes += size;
	if (s->engaged_bytes < longest)
		s->engaged_bytes = longest;
	if (stream_engaged_locked(s) && !s->no_store)
		fill_start_locked(s);
	return moved;
}

/* Blocks that are neither in its hands nor in the file. */
static void count_missing_locked(struct stream *s, struct wait *w)
{
	w->missing = 0;
	for (unsigned i = 0; i < w->n; i++)
		w->missing += !w->buf[i] && !version_has(s->v, w->first + i);
}

/*
 * Takes references to the blocks in memory. Not for a read that has to wait
 * for the whole version anyway: a thousand of those would have every buffer
 * in their hands, and none would be left for what they wait for.
 */
static void collect_locked(struct stream *s, struct wait *w)
{
	struct held *h;

	w->whole = s->r->cfg.serve_complete && !s->no_store &&
		   !version_complete(s->v);
	for (unsigned i = 0; i < w->n && !w->whole; i++) {
		uint64_t block = w->first + i;

		HASH_FIND(hh, s->held, &block, sizeof(block), h);
		if (h && !w->buf[i])
			w->buf[i] = buf_ref(h->buf);
	}
	count_missing_locked(s, w);
}

static bool must_wait(const struct wait *w)
{
	return w->missing || w->whole;
}

static void unlink_locked(struct stream *s, struct wait *w)
{
	DL_DELETE(s->parked, w);
	s->n_parked--;
	w->req->parked = NULL;
	COUNT(s->r, parked, -1);
}

static void move_locked(struct stream *s, struct wait *w, int error,
			struct wait **list)
{
	unlink_locked(s, w);
	w->error = error;
	DL_APPEND(*list, w);
}

/*
 * The kernel tries a page whose read-ahead failed once more at once: without
 * this every reader would wait twice io-timeout, and Windows gives up a
 * session after one minute.
 */
static bool just_timed_out_locked(const struct stream *s, uint64_t now)
{
	return s->timed_out_ns && s->progress_ns < s->timed_out_ns &&
	       now - s->timed_out_ns < AGAIN_NS;
}

/* Parks it, or returns false: all is there, or w->error says why not. */
static bool park(struct wait *w)
{
	struct stream *s = w->s;
	uint64_t now = clock_mono_ns();
	bool waits, moved = false;

	lock_take(&s->lock);
	collect_locked(s, w);
	if (w->tries == 0)
		moved = stream_note_read_locked(s, w->offset, w->size,
						w->missing > 0);
	waits = must_wait(w);
	if (waits && just_timed_out_locked(s, now)) {
		w->error = -ETIMEDOUT;
		waits = false;
	}
	if (waits) {
		if (w->whole)
			fill_start_locked(s);
		w->parked_ns = now;
		w->deadline_ns = now + (uint64_t)s->r->cfg.io_timeout_ms *
					       NS_PER_MS;
		w->req->parked = w;
		DL_APPEND(s->parked, w);
		s->n_parked++;
		COUNT(s->r, parked, 1);
	}
	/* Under the lock: after it both may be gone. */
	if (waits || moved)
		stream_ring(s);
	lock_give(&s->lock);
	return waits;
}

static void wait_free(struct wait *w)
{
	struct stream *s = w->s;

	for (unsigned i = 0; i < w->n; i++)
		buf_put(w->buf[i]);
	free(w);
	stream_put(s);
}

/* Bytes of block i of the wait: offset in the block, and how many. */
static void part_of(const struct wait *w, unsigned i, uint64_t *ret_from,
		    uint32_t *ret_n)
{
	uint64_t begin = (w->first + i) * w->s->block_bytes;
	uint64_t end = begin + w->s->block_bytes;
	uint64_t from = w->offset > begin ? w->offset : begin;
	uint64_t to = w->offset + w->size < end ? w->offset + w->size : end;

	*ret_from = from - begin;
	*ret_n = (uint32_t)(to - from);
}

/* Blocks stored in the file are read into `tmp`, the others used in place.
 * On failure *ret_bad is the block that could not be read. */
static int gather(struct wait *w, uint8_t **tmp, struct iovec *iov,
		  unsigned *ret_bad)
{
	uint32_t n, done = 0;
	uint64_t from;
	int r;

	for (unsigned i = 0; i < w->n; i++) {
		part_of(w, i, &from, &n);
		if (w->buf[i]) {
			iov[i].iov_base = w->buf[i]->data + from;
		} else {
			if (!*tmp)
				*tmp = malloc(w->size);
			if (!*tmp)
				return -ENOMEM;
			iov[i].iov_base = *tmp + done;
			r = version_read(w->s->v, *tmp + done, n,
					 (w->first + i) * w->s->block_bytes +
						 from);
			if (r < 0) {
				*ret_bad = i;
				return -EIO;
			}
		}
		iov[i].iov_len = n;
		done += n;
	}
	assert(done == w->size);
	return 0;
}

static void note_answer(const struct wait *w, int error)
{
	struct reader *r = w->s->r;

	COUNT(r, reads_waited, 1);
	if (!error)
		COUNT(r, bytes_waited, w->size);
	else if (error == -ETIMEDOUT)
		COUNT(r, reads_timed_out, 1);
	else if (error != -EINTR)
		COUNT(r, reads_failed, 1);
	if (w->parked_ns)
		COUNT(r, wait_ns_total, clock_mono_ns() - w->parked_ns);
}

static void answer_one(struct wait *w)
{
	struct iovec iov[IOV_MAX_OURS];
	uint8_t *tmp = NULL;
	unsigned bad = UINT32_MAX;
	int error = w->error;

	if (!error)
		error = gather(w, &tmp, iov, &bad);
	if (error == -EIO && bad != UINT32_MAX && w->tries++ < STORED_TRIES) {
		/* The disk lost it: it counts as missing from here on, and
		 * the reader waits for the origin's copy (C6). */
		free(tmp);
		version_forget_block(w->s->v, w->first + bad);
		if (!park(w))
			answer_one(w);
		return;
	}
	note_answer(w, error);
	w->req->answer(w->req, iov, error ? 0 : (int)w->n, error);
	free(tmp);
	wait_free(w);
}

void park_answer(struct wait *list)
{
	struct wait *w, *next;

	DL_FOREACH_SAFE(list, w, next) {
		DL_DELETE(list, w);
		answer_one(w);
	}
}

void park_deliver_locked(struct stream *s, uint64_t block, struct buf *b,
			 struct wait **ready)
{
	struct wait *w, *next;

	DL_FOREACH_SAFE(s->parked, w, next) {
		uint64_t i = block - w->first;

		if (block < w->first || i >= w->n || w->whole || w->buf[i])
			continue;
		w->buf[i] = buf_ref(b);
		count_missing_locked(s, w);
		if (!must_wait(w))
			move_locked(s, w, 0, ready);
	}
}

/* A read that waits for more blocks must not keep this one's buffer: those
 * may be what its other blocks wait for. */
void park_stored_locked(struct stream *s, uint64_t block)
{
	struct wait *w;

	DL_FOREACH(s->parked, w) {
		if (block < w->first || block - w->first >= w->n)
			continue;
		buf_put(w->buf[block - w->first]);
		w->buf[block - w->first] = NULL;
	}
}

void park_complete_locked(struct stream *s, struct wait **ready)
{
	struct wait *w, *next;

	DL_FOREACH_SAFE(s->parked, w, next) {
		collect_locked(s, w);
		if (!must_wait(w))
			move_locked(s, w, 0, ready);
	}
}

void park_fail_locked(struct stream *s, uint64_t block, int error,
		      struct wait **failed)
{
	struct wait *w, *next;

	DL_FOREACH_SAFE(s->parked, w, next)
		if (block == UINT64_MAX || w->whole ||
		    (block >= w->first && block < w->first + w->n))
			move_locked(s, w, error, failed);
}

/* While blocks of the image go on arriving the origin is not out of reach. */
void park_expire_locked(struct stream *s, uint64_t now_ns,
			struct wait **failed)
{
	uint64_t timeout = (uint64_t)s->r->cfg.io_timeout_ms * NS_PER_MS;
	struct wait *w, *next;

	DL_FOREACH_SAFE(s->parked, w, next) {
		if (now_ns < w->deadline_ns)
			continue;
		if (s->progress_ns + timeout > now_ns)
			w->deadline_ns = s->progress_ns + timeout;
		else {
			s->timed_out_ns = now_ns;
			move_locked(s, w, -ETIMEDOUT, failed);
		}
	}
}

void stream_read(struct stream *s, struct read_request *req)
{
	uint64_t end = req->offset + req->size;
	struct wait *w = NULL;
	unsigned n = 0;

	req->parked = NULL;
	if (end > s->size_bytes)
		end = s->size_bytes;
	if (req->offset >= end) {
		req->answer(req, NULL, 0, 0);
		return;
	}
	n = (unsigned)((end - 1) / s->block_bytes -
		       req->offset / s->block_bytes + 1);
	if (n <= IOV_MAX_OURS)
		w = calloc(1, sizeof(*w) + n * sizeof(w->buf[0]));
	if (!w) {
		req->answer(req, NULL, 0, n > IOV_MAX_OURS ? -EINVAL : -ENOMEM);
		return;
	}
	w->s = stream_ref(s);
	w->req = req;
	w->offset = req->offset;
	w->size = (uint32_t)(end - req->offset);
	w->first = req->offset / s->block_bytes;
	w->n = n;
	if (!park(w))
		answer_one(w);
}

void stream_cancel(struct stream *s, struct read_request *req, int error)
{
	struct wait *list = NULL, *w;

	lock_take(&s->lock);
	w = req->parked;
	if (w)
		move_locked(s, w, error, &list);
	lock_give(&s->lock);
	park_answer(list);
}

bool stream_stored(struct stream *s, uint64_t offset, uint32_t size)
{
	uint64_t first = offset / s->block_bytes;
	uint64_t end, last;
	bool complete = version_complete(s->v), moved;

	if (size == 0 || offset >= s->size_bytes)
		return true;
	end = offset + size < s->size_bytes ? offset + size : s->size_bytes;
	last = (end - 1) / s->block_bytes;
	if (!complete) {
		if (s->r->cfg.serve_complete ||
		    !version_has_all(s->v, first, last - first + 1))
			return false;
		lock_take(&s->lock);
		moved = stream_note_read_locked(
			s, offset, (uint32_t)(end - offset), false);
		lock_give(&s->lock);
		if (moved)
			stream_ring(s);
	} else {
		version_touch(s->v);
	}
	COUNT(s->r, reads_stored, 1);
	COUNT(s->r, bytes_stored, end - offset);
	return true;
}

void stream_forget(struct stream *s, uint64_t offset, uint32_t size)
{
	uint64_t b = offset / s->block_bytes;
	uint64_t end = (offset + size + s->block_bytes - 1) / s->block_bytes;

	for (; b < end && b < s->n_blocks; b++)
		if (version_has(s->v, b))
			version_forget_block(s->v, b);
}
