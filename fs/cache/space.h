/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h - how much the cache takes of the disk, and how much more it may
 * (C3). Arithmetic only: no lock, no disk, no clock; the owner locks.
 *
 *	|<-------------------- capacity ----------------------->|
 *	| used (of it dying) | reserved | promised |    room    |
 *
 * used		on disk, or perhaps: blocks, rows, what a failed write left;
 *		a victim's bytes too until its file is really gone; the
 *		catalog and the other small files of the folder
 * dying	the part of used that deletions under way will give back
 * reserved	granted, not yet written
 * promised	set aside for a waiter that is being told to ask again
 *
 * Used + reserved + promised never exceed capacity, unless capacity was
 * lowered below what is stored. The file system has the same to bear: what
 * is reserved or promised has to fit above min-free.
 */
#ifndef STAGEFS_FS_CACHE_SPACE_H
#define STAGEFS_FS_CACHE_SPACE_H

#include <stdint.h>

/* What the index takes when it is empty, its log and shared memory. */
#define SPACE_INDEX_BASE_BYTES (512u << 10)

struct space {
	uint64_t capacity_bytes;
	uint64_t min_free_bytes;
	uint64_t data_bytes;	 /* used, without the index's excess */
	uint64_t rows_bytes;	 /* part of it that is for rows in the index */
	uint64_t index_bytes;	 /* measured size of the index's files */
	uint64_t files_bytes;	 /* of others in the folder: the catalog */
	uint64_t reserved_bytes;
	uint64_t promised_bytes;
	uint64_t dying_bytes;
	uint64_t written_bytes;	 /* reserved turned used, since start */
};

/*
 * Free bytes of the file system, taken without the lock. What was written
 * between the sample and its use has left `reserved`, but is not missing in
 * the sample: `written_bytes` at the time of the sample makes up for that.
 * So: note written_bytes, give the lock back, statvfs, take the lock.
 */
struct fs_sample {
	uint64_t avail_bytes;
	uint64_t written_bytes;
};

/* Disk space of one block of this length, or of many but for the last whole
 * ones of this sum of lengths: block sizes are multiples of a page. */
uint64_t space_block(uint64_t length_bytes);
/* Of a version's row in the index: bitmap, manifest, both also in the log. */
uint64_t space_row(uint64_t n_blocks);
/* Of an inode with its extents, before any block. */
uint64_t space_inode(uint64_t n_blocks);

uint64_t space_used(const struct space *s);
/* What could be granted now to somebody without a promise. */
uint64_t space_room(const struct space *s, const struct fs_sample *fs);
/* Bytes that have to go before `need` fits; 0: it fits. `promise` is what was
 * promised to the one who asks. */
uint64_t space_shortage(const struct space *s, const struct fs_sample *fs,
			uint64_t need, uint64_t promise);
/* Bytes stored above capacity (it was lowered). */
uint64_t space_excess(const struct space *s);

void space_reserve(struct space *s, uint64_t bytes);
void space_unreserve(struct space *s, uint64_t bytes);
/* Reserved bytes are on disk now. */
void space_use(struct space *s, uint64_t bytes);
/* Used bytes are gone from the disk. */
void space_free(struct space *s, uint64_t bytes);

#endif
