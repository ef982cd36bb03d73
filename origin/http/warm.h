/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm.h - bytes of files into memory before a loop sends them, so that the
 * loop never waits for a disk: a cold image would hold up all connections of
 * its loop, for as long as a disk takes to seek.
 *
 *	hot? ---yes--> sendfile
 *	 \--no--> warm_submit -> (a thread reads) -> done -> sendfile
 */
#ifndef STAGEFS_ORIGIN_HTTP_WARM_H
#define STAGEFS_ORIGIN_HTTP_WARM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/pool.h"
#include "common/wire.h"

struct warm;

struct warm_job {
	struct pool_job job; /* first: warm.c's */
	struct warm_job *next; /* the owner's, after `done` */
	struct warm *warm;
	int fd;
	uint64_t offset, n_bytes;
	uint64_t ahead_bytes; /* the disk is told that these come next */
	bool cancelled;	      /* atomic: nobody wants it any more */
	/* On a thread of warm, without a lock; the job is the owner's again. */
	void (*done)(struct warm_job *job);
};

int warm_new(struct warm **ret);
/* Calls `done` for all jobs, without reading any more. NULL is fine. */
void warm_free(struct warm *w);

/* Are all of these in memory? As far as samples tell, and without waiting;
 * true where the file system cannot say. */
bool warm_is_hot(int fd, uint64_t offset, uint64_t n_bytes);
/* More urgent classes go first. */
void warm_submit(struct warm *w, struct warm_job *job, enum wire_class c);

/* For tests: what warm_is_hot answers, and what a thread does instead of
 * reading; NULL in the programs. */
extern bool (*warm_hot_hook)(int fd, uint64_t offset);
extern void (*warm_read_hook)(int fd, uint64_t offset);

#endif
