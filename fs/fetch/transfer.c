/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c - one range request on one connection.
 *
 * The one copy is from curl's buffer into the block's. curl hands out pieces
 * of at most CURL_MAX_WRITE_SIZE, and takes "pause" only for a whole piece:
 * what reaches over the end of a block while no buffer is free goes into a
 * small stash. Asking for the next buffer before the old one is full would
 * make a pool of one buffer stand still for ever.
 *
 * Pausing is done in the write callback alone, by returning
 * CURL_WRITEFUNC_PAUSE: curl_easy_pause before the head of the answer has come
 * is forgotten by curl when it starts to read.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "fs/fetch/answer.h"
#include "fs/fetch/curlset.h"
#include "fs/fetch/task.h"

#define CONNECT_MS 5000
#define READ_BUFFER_BYTES (512L << 10)
/* Body of an answer that is no use: read to keep the connection. */
#define REFUSED_MAX_BYTES (16u << 10)

/* Not while demand itself waits for a buffer: it may be the one that is held
 * here, half full. */
static bool must_yield(const struct slot *s)
{
	return s->f->demand_waits && !s->f->demand_dry &&
	       s->class_ >= CLASS_FILL;
}

/* ---- the head -------------------------------------------------------- */

static const char *header(CURL *easy, const char *name, unsigned *ret_n)
{
	struct curl_header *h;

	if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h))
		return NULL;
	if (ret_n)
		*ret_n = (unsigned)h->amount;
	return h->value;
}

static enum fault fault_of(enum answer a)
{
	static const enum fault fault[] = {
		[ANSWER_GOOD] = FAULT_NONE,
		[ANSWER_ABSENT] = FAULT_ABSENT,
		[ANSWER_WRONG_STATUS] = FAULT_STATUS,
		[ANSWER_WRONG_RANGE] = FAULT_RANGE,
		[ANSWER_ENCODED] = FAULT_ENCODED,
	};
	return fault[a];
}

/* Sets head_ok or the fault. */
static void check_head(struct slot *s)
{
	struct answer_head h = {0};
	curl_off_t length = -1;
	long status = 0;

	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(s->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
			  &length);
	h.status = (int)status;
	h.content_length = length;
	h.content_range = header(s->easy, "Content-Range", &h.n_content_range);
	h.content_encoding = header(s->easy, "Content-Encoding", NULL);
	if (s->task->is_window)
		s->fault = fault_of(
			answer_to_range(&h, s->first, s->last, s->total));
	else
		s->fault = fault_of(
			answer_to_whole(&h, STAGEFS_MANIFEST_MAX_BYTES));
	s->head_ok = s->fault == FAULT_NONE;
	if (s->fault == FAULT_STATUS)
		snprintf(s->said, sizeof(s->said), "it answered %ld",
			 status);
	if (s->fault == FAULT_RANGE)
		snprintf(s->said, sizeof(s->said),
			 "asked for bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64
			 ", answered '%.60s'", s->first, s->last, s->total,
			 h.content_range ? h.content_range : "");
}

static size_t on_header(char *data, size_t one, size_t n, void *ctx)
{
	struct slot *s = ctx;

	(void)data;
	(void)one;
	s->last_ns = s->f->now_ns;
	s->header_bytes += n;
	if (s->header_bytes <= CURLSET_HEADERS_MAX_BYTES)
		return n;
	s->fault = FAULT_HEADERS;
	return 0;
}

/* The body of an answer that was refused. A whole image in place of a range
 * is dropped at once, a short page of error text is read to its end. */
static size_t refuse(struct slot *s, size_t n)
{
	long status = 0;

	s->refused_bytes += n;
	curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 300 || s->refused_bytes > REFUSED_MAX_BYTES)
		return 0;
	return n;
}

/* ---- the body -------------------------------------------------------- */

/* A buffer for the block at s->pos; false: none free, or demand is in want of
 * the next one that comes back. */
static bool piece_get(struct slot *s)
{
	struct fetch_window *w = (struct fetch_window *)s->task;
	struct piece *p;

	if (s->f->demand_dry && s->class_ != CLASS_DEMAND)
		return false;
	p = malloc(sizeof(*p));
	if (!p)
		return false;
	p->buf = buf_get(s->f->bufs, w->m->block_bytes,
			 s->class_ == CLASS_DEMAND);
	if (!p->buf) {
		free(p);
		return false;
	}
	p->w = w;
	p->i = s->pos / w->m->block_bytes;
	p->length = manifest_block_length(w->m->length_bytes,
					  w->m->block_bytes, p->i);
	p->source = s->source;
	s->piece = p;
	return true;
}

static void piece_drop(struct slot *s)
{
	if (s->piece)
		buf_put(s->piece->buf);
	free(s->piece);
	s->piece = NULL;
}

/* Copies into the block what fits; passes a full one on. Returns how much. */
static size_t piece_fill(struct slot *s, const void *data, size_t n)
{
	struct piece *p = s->piece;
	struct buf *b = p->buf;
	size_t room = p->length - b->n;

	if (n > room)
		n = room;
	memcpy(b->data + b->n, data, n);
	b->n += (uint32_t)n;
	s->pos += n;
	if (b->n < p->length)
		return n;
	s->piece = NULL;
	if (!s->worked)
		sources_worked(s->f->sources, s->source, s->f->now_ns);
	s->worked = true;
	piece_submit(p, s->class_);
	return n;
}

/* Has a buffer now? The stash goes into it first; it is smaller than a block,
 * so it fits. */
static bool piece_ready(struct slot *s)
{
	if (!s->piece && !piece_get(s))
		return false;
	if (s->stash_n > 0)
		piece_fill(s, s->stash, s->stash_n);
	s->stash_n = 0;
	return true;
}

static size_t window_body(struct slot *s, const char *data, size_t n)
{
	size_t done = 0;

	if (n > s->last + 1 - s->pos - s->stash_n) {
		s->fault = FAULT_LONG;
		return 0;
	}
	if (!piece_ready(s)) {
		s->dry = true;
		s->f->demand_dry |= s->class_ == CLASS_DEMAND;
		return CURL_WRITEFUNC_PAUSE;
	}
	while (done < n) {
		if (!s->piece && !piece_get(s)) {
			assert(n - done <= CURL_MAX_WRITE_SIZE);
			memcpy(s->stash, data + done, n - done);
			s->stash_n = n - done;
			break;
		}
		done += piece_fill(s, data + done, n - done);
	}
	return n;
}

static size_t manifest_body(struct slot *s, const char *data, size_t n)
{
	size_t need = s->doc_n + n, room = s->doc_room ? s->doc_room : 4096;
	char *doc;

	if (need > STAGEFS_MANIFEST_MAX_BYTES) {
		s->fault = FAULT_LONG;
		return 0;
	}
	while (room < need)
		room *= 2;
	if (room != s->doc_room) {
		doc = realloc(s->doc, room);
		if (!doc) {
			s->fault = FAULT_MEMORY;
			return 0;
		}
		s->doc = doc;
		s->doc_room = room;
	}
	memcpy(s->doc + s->doc_n, data, n);
	s->doc_n = need;
	return n;
}

static size_t pause_now(struct slot *s)
{
	s->paused = true;
	s->paused_since_ns = s->f->now_ns;
	return CURL_WRITEFUNC_PAUSE;
}

static size_t on_body(char *data, size_t one, size_t n, void *ctx)
{
	struct slot *s = ctx;
	size_t took;

	(void)one;
	s->last_ns = s->f->now_ns;
	if (!s->head_ok && s->fault == FAULT_NONE) {
		check_head(s);
		s->mark_ns = s->f->now_ns;
	}
	if (s->fault != FAULT_NONE)
		return refuse(s, n);
	if (must_yield(s))
		return pause_now(s);
	took = s->task->is_window ? window_body(s, data, n)
				  : manifest_body(s, data, n);
	if (took == CURL_WRITEFUNC_PAUSE)
		return pause_now(s);
	s->got_bytes += took;
	return took;
}

/* curl has nothing more to bring, all of it is in blocks. */
static bool drained(const struct slot *s)
{
	return s->task->is_window && s->pos > s->last;
}

void slot_resume(struct slot *s)
{
	CURLcode code;

	if (!s->paused || must_yield(s))
		return;
	if (s->dry && !piece_ready(s))
		return;
	if (drained(s)) {
		slot_end(s, CURLE_OK);
		fetch_wake(s->f); /* another round: a slot is free */
		return;
	}
	s->paused = s->dry = false;
	s->paused_ns += s->f->now_ns - s->paused_since_ns;
	s->last_ns = s->mark_ns = s->f->now_ns;
	s->mark_bytes = s->got_bytes;
	/* Calls on_body before it returns. */
	code = curl_easy_pause(s->easy, CURLPAUSE_CONT);
	if (code == CURLE_OK)
		return;
	slot_end(s, code);
	fetch_wake(s->f); /* another round: something is queued again */
}

/* ---- begin ----------------------------------------------------------- */

int slot_init(struct slot *s, struct fetch *f)
{
	uint32_t connect_ms =
		f->stall_ms < CONNECT_MS ? f->stall_ms : CONNECT_MS;

	s->f = f;
	s->stash = malloc(CURL_MAX_WRITE_SIZE);
	s->easy = curlset_new(f->ca_file, connect_ms);
	if (!s->stash || !s->easy)
		return -ENOMEM;
	curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
	curl_easy_setopt(s->easy, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, READ_BUFFER_BYTES);
	curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->error);
	curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(s->easy, CURLOPT_HEADERDATA, s);
	return 0;
}

void slot_free(struct slot *s)
{
	curl_easy_cleanup(s->easy);
	free(s->stash);
}

static struct curl_slist *headers_of(const struct slot *s)
{
	struct curl_slist *l =
		curlset_header(NULL, "Accept-Encoding", "identity");
	char order[32];

	if (l)
		l = curlset_header(l, WIRE_HEADER_CLASS,
				   wire_class_name(s->class_));
	if (l && *s->f->server)
		l = curlset_header(l, WIRE_HEADER_SERVER, s->f->server);
	if (l && s->task->order) {
		snprintf(order, sizeof(order), "%" PRIu64, s->task->order);
		l = curlset_header(l, WIRE_HEADER_ORDER, order);
	}
	return l;
}

static void set_range(struct slot *s, uint64_t first, uint64_t end)
{
	const struct fetch_window *w = (const struct fetch_window *)s->task;
	uint64_t block = w->m->block_bytes;
	char range[48];

	s->total = w->m->length_bytes;
	s->first = s->pos = (w->first + first) * block;
	s->last = (w->first + end) * block - 1;
	if (s->last >= s->total)
		s->last = s->total - 1;
	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, s->first,
		 s->last);
	curl_easy_setopt(s->easy, CURLOPT_RANGE, range);
}

static void slot_clear(struct slot *s)
{
	s->head_ok = s->worked = s->ended = s->paused = s->dry = false;
	s->fault = FAULT_NONE;
	s->header_bytes = s->refused_bytes = s->got_bytes = 0;
	s->mark_bytes = 0;
	s->first = s->last = s->pos = s->total = 0;
	s->paused_ns = 0;
	s->stash_n = s->doc_n = s->doc_room = 0;
	s->doc = NULL;
	s->error[0] = '\0';
}

int slot_start(struct slot *s, struct task *t, size_t source, uint64_t first,
	       uint64_t end)
{
	char url[400], digest[DIGEST_TEXT];

	slot_clear(s);
	s->task = t;
	s->source = source;
	s->sent_class = s->class_;
	s->start_ns = s->last_ns = s->f->now_ns;
	snprintf(url, sizeof(url), "%s/v1/%s/%s",
		 sources_url(s->f->sources, source),
		 t->is_window ? "data" : "manifests",
		 digest_text(t->digest, digest));
	s->headers = headers_of(s);
	if (!s->headers)
		return -ENOMEM;
	curl_easy_setopt(s->easy, CURLOPT_URL, url);
	curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers);
	if (t->is_window)
		set_range(s, first, end);
	else
		curl_easy_setopt(s->easy, CURLOPT_RANGE, NULL);
	if (curl_multi_add_handle(s->f->multi, s->easy) != CURLM_OK)
		return -ENOMEM;
	return 0;
}

/* ---- end ---------------------------------------------------------------- */

void slot_end(struct slot *s, CURLcode code)
{
	struct fetch *f = s->f;
	struct task *t = s->task;
	const char *why = NULL;
	bool end;

	if (code == CURLE_OK && !s->head_ok && s->fault == FAULT_NONE)
		check_head(s);
	if (code == CURLE_OK && s->stash_n > 0 && !piece_ready(s)) {
		/* The last block fitted into the stash: slot_resume. */
		curl_multi_remove_handle(f->multi, s->easy);
		s->dry = true;
		pause_now(s);
		return;
	}
	s->ended = code == CURLE_OK;
	if (!slot_complete(s))
		why = outcome_why(s, code);
	curl_multi_remove_handle(f->multi, s->easy);
	outcome_tell(s, code, why);
	piece_drop(s);
	if (!t->is_window && slot_complete(s)) {
		struct manifest_task *mt = (struct manifest_task *)t;

		sources_worked(f->sources, s->source, f->now_ns);
		if (manifest_submit(mt, s->doc, s->doc_n, s->source,
				    s->class_) == 0)
			s->doc = NULL;
	}
	free(s->doc);
	curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(s->headers);
	s->headers = NULL;

	lock_take(&f->lock);
	outcome_note_locked(s, code, why);
	t->cut = false;
	f->n_running--;
	end = task_settle_locked(t);
	lock_give(&f->lock);
	s->task = NULL;
	if (end)
		task_end(t);
}
