/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handles.h - open images, by inode.
 *
 * Each open file of the kernel has a slot in the table that outlives the
 * worker (opens.h); here they are collected by inode, with what only this
 * process has: the reader's stream, and with it the pin on the version. A
 * worker that follows a dead one takes over every open that is in the table.
 *
 * All opens of an inode have one mode at a time, cached or passthrough, since
 * the kernel refuses to mix them. It is chosen by the first open and lasts
 * until the last release.
 *
 * A handle is reference counted: the table has one reference, each request at
 * work one. Its stream goes with the last.
 */
#ifndef STAGEFS_FS_KERNEL_HANDLES_H
#define STAGEFS_FS_KERNEL_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/kernel/opens.h"
#include "fs/read/reader.h"

struct handles;
struct backing;

struct handle {
	uint64_t id; /* set once */
	uint64_t size_bytes;
	uint32_t block_bytes;
	struct stream *stream;
	unsigned refs; /* private, atomic */
};

struct handles_config {
	struct reader *reader;
	/* Tells what an id is (memory only; called with the table's lock
	 * held): 0 or -errno. */
	int (*ident)(void *ctx, uint64_t id, struct version_ident *ret);
	void *ctx;
	struct session_area *session;
	struct backing *backing;
	bool passthrough; /* for new opens, if the kernel has it */
};

/* Takes over what is open already. */
int handles_new(const struct handles_config *cfg, struct handles **ret);
/* Closes the streams; the opens stay in the session area. No request may be
 * at work. */
void handles_free(struct handles *t);

/*
 * Counts one open, asked for by request `unique`, and chooses its mode. May
 * wait for the supervisor as long as backing_open does. handles_answered or,
 * if nobody took the answer, handles_close has to follow. The errors of
 * `ident` and of reader_open (-EIO for its -EINVAL); -ENFILE.
 */
int handles_open(struct handles *t, uint64_t id, uint64_t unique,
		 struct open_answer *ret);
void handles_answered(struct handles *t, uint64_t fh);
/* Takes one back; of an unknown one: nothing. */
void handles_close(struct handles *t, uint64_t fh);
/* See opens_answer_again. */
void handles_answer_again(struct handles *t,
			  void (*write)(void *ctx, uint64_t unique,
					const struct open_answer *a),
			  void *ctx);

/* For a request on an open file. handle_put it. */
int handles_get(struct handles *t, uint64_t id, struct handle **ret);
struct handle *handle_ref(struct handle *h);
void handle_put(struct handle *h);

struct handles_stats {
	uint64_t images;      /* that are open */
	uint64_t passthrough; /* of them in that mode */
	uint64_t opens, opens_passthrough; /* since start */
};
void handles_stats(struct handles *t, struct handles_stats *ret);

#endif
