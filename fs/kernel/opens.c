/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opens.c - one slot per open file, right at every instant a kill may hit.
 *
 *	        opens_add                 opens_answered
 *	FREE ------------> ANSWERING -----------------------> OPEN
 *	  ^   (fields, then     |   (the reply was written)    |
 *	  |    the word)        |                              |
 *	  +---------------------+------------------------------+
 *	        opens_remove: RELEASE, or nobody took the reply
 *
 * The rule: the kernel never has an open that is not counted here. A slot is
 * ANSWERING before the reply to its OPEN is written, and FREE only after the
 * kernel has let go of the file (it sends RELEASE after that). So what the
 * kernel has open is always part of what is counted, and since all slots of
 * an inode have one mode and one backing file, so have the kernel's opens
 * (fs/fuse/iomode.c never sees two).
 *
 * Where a worker may be killed, and what the next one makes of it:
 *
 *	before the word is stored	FREE: the OPEN is repeated, a new one
 *	ANSWERING, reply not written	opens_answer_again writes it
 *	reply written, still ANSWERING	the same: the kernel says ENOENT, as
 *					the number of a request is never used
 *					again; it is OPEN now
 *	RELEASE read, slot not freed	RELEASE is repeated, and frees it
 *	freed, RELEASE not answered	RELEASE is repeated; the generation in
 *					its handle is no longer the slot's,
 *					even if the slot has a new owner
 *
 * Why the answers are written before the kernel is asked to repeat (RESEND):
 * an opener that is killed goes away only while its request waits to be read
 * (fs/fuse/dev.c, request_wait_answer), which a request that the dead worker
 * had read does not, until RESEND puts it back into the queue. So at this
 * moment "the kernel does not know this request" has one meaning only, that
 * it has had its answer, and no slot is ever left of which nobody knows
 * whether it is open. For the same reason the bit that RESEND sets in a
 * repeated request's number is part of `unique`.
 *
 * Rejected: a word {mode, count} per inode. It cannot tell whether the open
 * in work was the one that had been counted; and a RELEASE that is repeated
 * would count twice.
 */
#include "fs/kernel/opens.h"

#include <errno.h>
#include <stdlib.h>

#include "fs/kernel/point.h"
#include "fs/supervisor/wire.h"

enum { FREE, ANSWERING, OPEN };
#define STATE_BITS 2
#define STATE_MASK 3u

void (*kernel_test_point)(const char *name);

static uint64_t word_of(const struct session_open *x)
{
	return __atomic_load_n(&x->word, __ATOMIC_ACQUIRE);
}

static uint64_t generation_of(uint64_t word)
{
	return word >> STATE_BITS;
}

static unsigned state_of(uint64_t word)
{
	return word & STATE_MASK;
}

static uint64_t make_word(uint64_t generation, unsigned state)
{
	return generation << STATE_BITS | state;
}

static uint64_t make_fh(uint32_t index, uint64_t word)
{
	return generation_of(word) << SESSION_OPENS_BITS | index;
}

static uint32_t end_of(const struct session_area *s)
{
	uint32_t end = __atomic_load_n(&s->opens_end, __ATOMIC_ACQUIRE);

	return end < SESSION_OPENS_MAX ? end : SESSION_OPENS_MAX;
}

/* Its slot if the handle is that of an open that is there. */
static struct session_open *slot_of(const struct opens *o, uint64_t fh)
{
	uint32_t index = fh & (SESSION_OPENS_MAX - 1);
	struct session_open *x = &o->s->open[index];
	uint64_t word;

	if (index >= end_of(o->s))
		return NULL;
	word = word_of(x);
	return state_of(word) != FREE && make_fh(index, word) == fh ? x : NULL;
}

static int push_free(struct opens *o, uint32_t index)
{
	if (o->n_free == o->room_free) {
		size_t room = o->room_free ? 2 * o->room_free : 64;
		uint32_t *more = realloc(o->free, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		o->free = more;
		o->room_free = room;
	}
	o->free[o->n_free++] = index;
	return 0;
}

int opens_init(struct opens *o, struct session_area *s,
	       int (*each)(void *ctx, const struct session_open *open),
	       void *ctx)
{
	int r = 0;

	*o = (struct opens){.s = s};
	/* From the end, so that the lowest are used first. */
	for (uint32_t i = end_of(s); i-- > 0 && r == 0;) {
		const struct session_open *x = &s->open[i];

		if (state_of(word_of(x)) == FREE)
			r = push_free(o, i);
		else if (each)
			r = each(ctx, x);
	}
	if (r < 0)
		opens_done(o);
	return r;
}

void opens_done(struct opens *o)
{
	free(o->free);
	o->free = NULL;
	o->n_free = o->room_free = 0;
}

static int take_slot(struct opens *o, uint32_t *ret)
{
	uint32_t end = end_of(o->s);

	if (o->n_free) {
		*ret = o->free[--o->n_free];
		return 0;
	}
	if (end == SESSION_OPENS_MAX)
		return -ENFILE;
	__atomic_store_n(&o->s->opens_end, end + 1, __ATOMIC_RELEASE);
	kernel_point("open.end");
	*ret = end;
	return 0;
}

int opens_add(struct opens *o, uint64_t id, uint64_t unique,
	      uint32_t backing_id, uint64_t *ret_fh)
{
	struct session_open *x;
	uint64_t word;
	uint32_t index;
	int r = take_slot(o, &index);

	if (r < 0)
		return r;
	x = &o->s->open[index];
	word = make_word(generation_of(word_of(x)) + 1, ANSWERING);
	x->id = id;
	kernel_point("open.fill");
	x->unique = unique;
	x->backing_id = backing_id;
	kernel_point("open.publish");
	__atomic_store_n(&x->word, word, __ATOMIC_RELEASE);
	kernel_point("open.counted");
	*ret_fh = make_fh(index, word);
	return 0;
}

void opens_answered(struct opens *o, uint64_t fh)
{
	struct session_open *x = &o->s->open[fh & (SESSION_OPENS_MAX - 1)];
	uint64_t generation = fh >> SESSION_OPENS_BITS;
	uint64_t word = make_word(generation, ANSWERING);

	/* The file may be closed by now, and the slot another's. */
	__atomic_compare_exchange_n(&x->word, &word,
				    make_word(generation, OPEN), false,
				    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

bool opens_has(const struct opens *o, uint64_t fh)
{
	return slot_of(o, fh) != NULL;
}

bool opens_remove(struct opens *o, uint64_t fh, uint64_t *ret_id)
{
	struct session_open *x = slot_of(o, fh);
	uint64_t id;

	if (!x)
		return false;
	id = x->id;
	__atomic_store_n(&x->word,
			 make_word(fh >> SESSION_OPENS_BITS, FREE),
			 __ATOMIC_RELEASE);
	kernel_point("release.freed");
	/* Without memory the slot is found again by the next worker. */
	push_free(o, fh & (SESSION_OPENS_MAX - 1));
	*ret_id = id;
	return true;
}

void opens_answer_again(struct opens *o,
			void (*write)(void *ctx, uint64_t unique,
				      const struct open_answer *a),
			void *ctx)
{
	uint32_t end = end_of(o->s);

	for (uint32_t i = 0; i < end; i++) {
		const struct session_open *x = &o->s->open[i];
		uint64_t word = word_of(x);
		struct open_answer a;

		if (state_of(word) != ANSWERING)
			continue;
		a.fh = make_fh(i, word);
		a.backing_id = x->backing_id;
		kernel_point("resume.answer");
		write(ctx, x->unique, &a);
		kernel_point("resume.answered");
		opens_answered(o, a.fh);
	}
}

bool opens_of_area(const struct session_area *s, uint64_t id)
{
	uint32_t end = end_of(s);

	for (uint32_t i = 0; i < end; i++)
		if (state_of(word_of(&s->open[i])) != FREE &&
		    s->open[i].id == id)
			return true;
	return false;
}
