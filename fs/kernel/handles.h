/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handles.h - open images, by inode.
 *
 * Nothing the kernel holds refers to memory of this process: an open file is
 * found by its inode, and a read of an inode that is not in the table (it was
 * opened by a worker that has died) opens it anew. Such a handle is "adopted":
 * how many opens it stands for is not known, so the first release that finds
 * no counted open closes it; a read after that adopts it again.
 *
 * A handle is reference counted: the table has one reference, each request at
 * work one. Its stream, and with it the pin on the version, goes with the
 * last. `mode` is where passthrough comes in: all opens of an inode have one
 * mode at a time.
 */
#ifndef STAGEFS_FS_KERNEL_HANDLES_H
#define STAGEFS_FS_KERNEL_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/read/reader.h"

struct handles;

enum handle_mode { HANDLE_CACHED };

struct handle {
	uint64_t id; /* set once */
	uint64_t size_bytes;
	uint32_t block_bytes;
	enum handle_mode mode;
	struct stream *stream;
	/* private */
	unsigned refs;	/* atomic */
	unsigned opens; /* under the table's lock */
};

/*
 * `ident` tells what an id is (memory only; called with the table's lock
 * held): 0 or -errno.
 */
int handles_new(struct reader *reader,
		int (*ident)(void *ctx, uint64_t id,
			     struct version_ident *ret),
		void *ctx, struct handles **ret);
/* Closes what is still open. No request may be at work. */
void handles_free(struct handles *t);

/* Counts one open. The errors of `ident` and of reader_open. */
int handles_open(struct handles *t, uint64_t id);
/* Takes one back; of an unknown inode: nothing. */
void handles_close(struct handles *t, uint64_t id);
/* For a request on an open file; adopts it if need be. handle_put it. */
int handles_get(struct handles *t, uint64_t id, struct handle **ret);
struct handle *handle_ref(struct handle *h);
void handle_put(struct handle *h);
uint64_t handles_count(struct handles *t);

#endif
