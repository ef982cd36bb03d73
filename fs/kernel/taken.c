/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taken.c - what Linux 6.9 does itself (FUSE_NOTIFY_RESEND), for older ones:
 * the requests that a dead worker had taken are done by the next one.
 *
 * A request is read into its thread's landing place, copied to a free place
 * of the table, and handed to libfuse. Its place is free again once the kernel
 * has the answer. Both are in the session area. Where a worker may be killed,
 * and what the next one finds:
 *
 *	in read(2)		the kernel has copied it whole, or it still has
 *				it (fs/fuse/dev.c, fuse_dev_do_read)
 *	landed			in the landing place
 *	copied			there and in the table: one of them counts
 *	landing place cleared	in the table
 *	answered		the same. It is done again, and the kernel says
 *				ENOENT to the answer: the number of a request
 *				is never used again
 *
 * Every request of this file system may be done twice; see opens.c for OPEN
 * and RELEASE. FORGET and INTERRUPT have no answer and are not kept: what is
 * resolved by number needs no FORGET, and a reader whose INTERRUPT is lost
 * waits for its answer, for io-timeout at the longest.
 *
 * A place is found by the request's number: scattered over the table, then
 * the next free one of a few. If there is none, which takes some ten thousand
 * requests that wait, the request is answered with ETIMEDOUT at once, as it
 * might be later anyhow.
 *
 * Rejected: to end the connection after a death and to mount again. All open
 * files, NFSv4 clients' too, get errors until they are opened anew.
 */
#include "fs/kernel/taken.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "fs/kernel/point.h"
#include "fs/supervisor/wire.h"

#define FILLING 1u
#define PLACES_TRIED 64u

static _Thread_local uint32_t my_landing; /* its number + 1 */

static bool has_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET &&
	       opcode != FUSE_INTERRUPT && opcode != FUSE_NOTIFY_REPLY;
}

/* ---- landing places ------------------------------------------------------ */

/* The length of what has landed there; 0: nothing. */
static uint32_t *landed(struct session_landing *l)
{
	return (uint32_t *)(void *)l->msg;
}

static bool header_of(struct session_landing *l, struct fuse_in_header *ret)
{
	memcpy(ret, l->msg, sizeof(*ret));
	return ret->len >= sizeof(*ret) && ret->len <= sizeof(l->msg);
}

static struct session_landing *landing(struct taken *t)
{
	if (!my_landing)
		my_landing = 1 + __atomic_fetch_add(&t->n_thread, 1,
						    __ATOMIC_RELAXED);
	return &t->s->landing[(my_landing - 1) % SESSION_LANDINGS];
}

static void clear(struct session_landing *l)
{
	__atomic_store_n(landed(l), 0, __ATOMIC_RELEASE);
}

/* ---- the table ----------------------------------------------------------- */

static struct session_taken *place(struct taken *t, uint64_t unique, unsigned i)
{
	uint64_t mixed = unique * UINT64_C(0x9e3779b97f4a7c15);

	return &t->s->taken[((mixed >> (64 - SESSION_TAKEN_BITS)) + i) %
			    SESSION_TAKEN_MAX];
}

static uint64_t unique_of(const struct session_taken *x)
{
	return __atomic_load_n(&x->unique, __ATOMIC_ACQUIRE);
}

static void set_unique(struct session_taken *x, uint64_t unique)
{
	__atomic_store_n(&x->unique, unique, __ATOMIC_RELEASE);
}

static struct session_taken *find(struct taken *t, uint64_t unique)
{
	for (unsigned i = 0; i < PLACES_TRIED; i++)
		if (unique_of(place(t, unique, i)) == unique)
			return place(t, unique, i);
	return NULL;
}

static struct session_taken *claim(struct taken *t, uint64_t unique)
{
	for (unsigned i = 0; i < PLACES_TRIED; i++) {
		struct session_taken *x = place(t, unique, i);
		uint64_t none = 0;

		if (__atomic_compare_exchange_n(&x->unique, &none, FILLING,
						false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return x;
	}
	return NULL;
}

static bool keep(struct taken *t, const void *msg,
		 const struct fuse_in_header *in)
{
	struct session_taken *x = claim(t, in->unique);

	if (!x)
		return false;
	x->bytes = in->len <= sizeof(x->msg) ? in->len : 0;
	memcpy(x->msg, msg, x->bytes);
	kernel_point("taken.filled");
	set_unique(x, in->unique);
	kernel_point("taken.kept");
	return true;
}

void taken_answered(struct taken *t, uint64_t unique)
{
	struct session_taken *x = unique > FILLING ? find(t, unique) : NULL;

	if (x)
		set_unique(x, 0);
}

static void refuse(struct taken *t, int fd, uint64_t unique, int error)
{
	const struct fuse_out_header out = {
		.len = sizeof(out), .error = -error, .unique = unique};

	log_warn("kernel", "a request is answered with an error: %s",
		 strerror(error));
	/* ENOENT: it had its answer. Otherwise there is no connection. */
	if (write(fd, &out, sizeof(out)) < 0)
		log_debug("kernel", "which failed: %s", strerror(errno));
	taken_answered(t, unique);
}

/* ---- what an earlier worker has left ------------------------------------- */

static void collect_landed(struct taken *t)
{
	for (unsigned i = 0; i < SESSION_LANDINGS; i++) {
		struct session_landing *l = &t->s->landing[i];
		struct fuse_in_header in;

		if (!header_of(l, &in) || in.opcode == FUSE_INIT)
			continue;
		if (has_answer(in.opcode) && !find(t, in.unique) &&
		    !keep(t, l->msg, &in))
			log_err("kernel", "a request is lost");
		clear(l);
	}
}

static int collect_kept(struct taken *t)
{
	for (uint32_t i = 0; i < SESSION_TAKEN_MAX; i++) {
		struct session_taken *x = &t->s->taken[i];

		if (unique_of(x) == FILLING)
			set_unique(x, 0);
		if (unique_of(x) == 0)
			continue;
		if (!t->left)
			t->left = calloc(SESSION_TAKEN_MAX, sizeof(*t->left));
		if (!t->left)
			return -ENOMEM;
		t->left[t->n_left++] = i;
	}
	return 0;
}

int taken_init(struct taken *t, struct session_area *s)
{
	*t = (struct taken){.s = s};
	my_landing = 0;
	if (s->started < 2)
		return 0;
	collect_landed(t);
	return collect_kept(t);
}

void taken_done(struct taken *t)
{
	free(t->left);
	t->left = NULL;
	t->n_left = 0;
}

const void *taken_init_request(const struct taken *t, size_t *ret_bytes)
{
	for (unsigned i = 0; i < SESSION_LANDINGS; i++) {
		struct session_landing *l = &t->s->landing[i];
		struct fuse_in_header in;

		if (header_of(l, &in) && in.opcode == FUSE_INIT) {
			*ret_bytes = in.len;
			return l->msg;
		}
	}
	return NULL;
}

void taken_forget(struct taken *t)
{
	for (uint32_t i = 0; i < t->n_left; i++)
		set_unique(&t->s->taken[t->left[i]], 0);
	t->n_left = 0;
}

ssize_t taken_again(struct taken *t, int fd, void *buf, size_t n)
{
	while (__atomic_load_n(&t->next, __ATOMIC_RELAXED) < t->n_left) {
		uint32_t i = __atomic_fetch_add(&t->next, 1, __ATOMIC_RELAXED);
		struct session_taken *x;

		if (i >= t->n_left)
			break;
		x = &t->s->taken[t->left[i]];
		if (unique_of(x) == 0) /* answered on the way */
			continue;
		if (x->bytes && x->bytes <= sizeof(x->msg) && x->bytes <= n) {
			memcpy(buf, x->msg, x->bytes);
			return x->bytes;
		}
		refuse(t, fd, unique_of(x), EIO);
	}
	return 0;
}

/* ---- taking -------------------------------------------------------------- */

#define PAGE_BYTES 4096u
#define TOUCHED_BYTES (3 * PAGE_BYTES) /* the longest request, anywhere in it */

/*
 * To a page that is not there yet the kernel copies in a slower way, which a
 * kill ends, and then it answers the request itself, with EIO (fs/fuse/dev.c,
 * fuse_dev_do_read; mm/gup.c): a reader would see that of a worker that is
 * killed as it starts.
 */
void taken_touch(void *buf, size_t n)
{
	volatile uint8_t *p = buf;

	for (size_t i = 0; i < n && i < TOUCHED_BYTES; i += PAGE_BYTES)
		p[i] = 0;
}

ssize_t taken_read(struct taken *t, int fd, void *buf, size_t n)
{
	struct session_landing *l = landing(t);
	struct fuse_in_header in;
	ssize_t got;

	for (;;) {
		clear(l);
		taken_touch(l->msg, sizeof(l->msg));
		got = read(fd, l->msg, n < sizeof(l->msg) ? n : sizeof(l->msg));
		if (got <= 0)
			return got;
		kernel_point("taken.landed");
		memcpy(buf, l->msg, (size_t)got);
		/* INIT is kept by the channel; until then it lies here. */
		if (!header_of(l, &in) || in.opcode == FUSE_INIT)
			return got;
		if (!has_answer(in.opcode) || keep(t, l->msg, &in))
			break;
		refuse(t, fd, in.unique, ETIMEDOUT);
	}
	clear(l);
	return got;
}
