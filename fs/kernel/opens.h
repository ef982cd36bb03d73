/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opens.h - the table of open files that outlives the worker (DESIGN.md
 * section 7): one slot in the session area for each open that the kernel has,
 * or is about to have. Count, mode and backing file of an inode follow from
 * its slots.
 *
 * A file handle is slot and generation, so whoever follows a dead worker
 * knows each open by the number that the kernel gives with its RELEASE, and
 * one that comes twice finds nothing the second time.
 *
 * The owner locks, but for opens_answered.
 */
#ifndef STAGEFS_FS_KERNEL_OPENS_H
#define STAGEFS_FS_KERNEL_OPENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session_area;
struct session_open;

struct opens {
	struct session_area *s; /* set once */
	uint32_t *free;		/* slots below opens_end, a stack */
	size_t n_free, room_free;
};

/* What an answer to OPEN says. */
struct open_answer {
	uint64_t fh;
	uint32_t backing_id; /* 0: cached mode */
};

/* Calls `each` for every open that is there. 0, -ENOMEM or its error. */
int opens_init(struct opens *o, struct session_area *s,
	       int (*each)(void *ctx, const struct session_open *open),
	       void *ctx);
void opens_done(struct opens *o);

/*
 * Counts an open of `id`, asked for by the request `unique`, that is about to
 * be answered. -ENFILE: no slot is free.
 */
int opens_add(struct opens *o, uint64_t id, uint64_t unique,
	      uint32_t backing_id, uint64_t *ret_fh);
/* The answer has been written. Any thread, also after the RELEASE. */
void opens_answered(struct opens *o, uint64_t fh);
/* It was released, or never answered. False: not there (any more). */
bool opens_remove(struct opens *o, uint64_t fh, uint64_t *ret_id);
/* Is it there? */
bool opens_has(const struct opens *o, uint64_t fh);

/*
 * Writes the answers that a dead worker owes, or may owe, to the kernel, with
 * `write`; its result does not matter (see opens.c). To be called once,
 * before the kernel is asked to repeat requests.
 */
void opens_answer_again(struct opens *o,
			void (*write)(void *ctx, uint64_t unique,
				      const struct open_answer *a),
			void *ctx);

/* Is an image with this id open in the kernel? For those who look before
 * there is a table. */
bool opens_of_area(const struct session_area *s, uint64_t id);

#endif
