/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.c - the file of signed pages.
 *
 * The framing carries no checksum: each page is signed, which is more. A
 * database was rejected: the pages have to be kept as they came, byte for
 * byte, and nothing is ever looked up in them.
 *
 * Torn and damaged are told apart by where it ends. A record that goes beyond
 * the end of the file is what a crash in the middle of an append leaves; it is
 * cut off. Anything else that is wrong was not written by us.
 */
#include "fs/catalog/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "common/limits.h"
#include "common/log.h"

#define FILE_NAME "catalog"
#define NEW_NAME "catalog.new"
#define BAD_NAME "catalog.bad"
#define MAGIC "stagefs-catalog 1\n"
#define MAGIC_BYTES (sizeof(MAGIC) - 1)
#define HEAD_MAX 32

/* How much may gather behind the full batch before a new one is worth it. */
#define SLACK_BYTES (1u << 20)

/* ---- reading ----------------------------------------------------------- */

enum record { RECORD_PAGE, RECORD_END, RECORD_TORN, RECORD_BAD };

/* "page <digits>\n". Length of this line, or 0. */
static size_t parse_head(const char *head, size_t n, uint64_t *ret_n)
{
	uint64_t v = 0;
	size_t i = 5;

	if (n < 7 || memcmp(head, "page ", 5) != 0)
		return 0;
	for (; i < n && head[i] >= '0' && head[i] <= '9' && i < 15; i++)
		v = v * 10 + (uint64_t)(head[i] - '0');
	if (i == 5 || i == n || head[i] != '\n' || v == 0 ||
	    v > STAGEFS_CATALOG_PAGE_MAX_BYTES)
		return 0;
	*ret_n = v;
	return i + 1;
}

/* The record at *offset, which is moved behind it. */
static int read_record(int fd, uint64_t size, uint64_t *offset,
		       struct keep_page *ret, enum record *ret_what)
{
	char head[HEAD_MAX];
	uint64_t left = size - *offset, n = 0;
	size_t have = left < HEAD_MAX ? (size_t)left : HEAD_MAX, head_n;
	char *text;
	int r;

	if (left == 0) {
		*ret_what = RECORD_END;
		return 0;
	}
	r = fd_pread_all(fd, head, have, *offset);
	if (r < 0)
		return r;
	head_n = parse_head(head, have, &n);
	if (head_n == 0) {
		*ret_what = memchr(head, '\n', have) || have == HEAD_MAX
				    ? RECORD_BAD : RECORD_TORN;
		return 0;
	}
	if (head_n + n + 1 > left) {
		*ret_what = RECORD_TORN;
		return 0;
	}
	text = malloc(n + 1);
	if (!text)
		return -ENOMEM;
	r = fd_pread_all(fd, text, n + 1, *offset + head_n);
	if (r < 0 || text[n] != '\n') {
		free(text);
		*ret_what = RECORD_BAD;
		return r < 0 ? r : 0;
	}
	text[n] = 0;
	*offset += head_n + n + 1;
	*ret = (struct keep_page){text, n};
	*ret_what = RECORD_PAGE;
	return 0;
}

static bool magic_ok(int fd, uint64_t size)
{
	char magic[MAGIC_BYTES];

	return size >= MAGIC_BYTES &&
	       fd_pread_all(fd, magic, MAGIC_BYTES, 0) == 0 &&
	       memcmp(magic, MAGIC, MAGIC_BYTES) == 0;
}

/* Sets *what to why it ended. k->bytes ends behind the last whole batch. */
static int read_batches(struct keep *k, int fd, uint64_t size,
			int (*page)(void *ctx, const char *text, size_t n,
				    bool *ret_more),
			void *ctx, enum record *what)
{
	uint64_t at = MAGIC_BYTES;
	bool more = false;
	int r;

	for (;;) {
		struct keep_page p = {0};

		r = read_record(fd, size, &at, &p, what);
		if (r < 0)
			return r;
		if (*what != RECORD_PAGE)
			break;
		r = page(ctx, p.text, p.n, &more);
		free(p.text);
		if (r == -ENOMEM)
			return r;
		if (r < 0) {
			*what = RECORD_BAD;
			break;
		}
		if (!more) {
			k->bytes = at;
			if (!k->full_bytes)
				k->full_bytes = at;
		}
	}
	if (*what == RECORD_END && more)
		*what = RECORD_TORN;
	return 0;
}

/* ---- writing ----------------------------------------------------------- */

static int write_pages(int fd, const struct keep_page *page, size_t n,
		       uint64_t *at)
{
	char head[HEAD_MAX];
	int len, r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		len = snprintf(head, sizeof(head), "page %zu\n", page[i].n);
		r = fd_pwrite_all(fd, head, (size_t)len, *at);
		*at += (uint64_t)len;
		if (!r)
			r = fd_pwrite_all(fd, page[i].text, page[i].n, *at);
		*at += page[i].n;
		if (!r)
			r = fd_pwrite_all(fd, "\n", 1, *at);
		*at += 1;
	}
	return r;
}

static uint64_t pages_bytes(const struct keep_page *page, size_t n)
{
	char head[HEAD_MAX];
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint64_t)snprintf(head, sizeof(head), "page %zu\n",
					  page[i].n) + page[i].n + 1;
	return sum;
}

uint64_t keep_disk_bytes(const struct keep *k)
{
	static const char *const names[] = {FILE_NAME, NEW_NAME, BAD_NAME};
	uint64_t sum = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (fstatat(k->dirfd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += (uint64_t)st.st_size;
	return sum;
}

/* Before so much more is written. */
static int claim(struct keep *k, uint64_t more)
{
	return k->room ? k->room(k->room_ctx, keep_disk_bytes(k) + more) : 0;
}

static void settle(struct keep *k)
{
	if (k->room)
		k->room(k->room_ctx, keep_disk_bytes(k));
}

static void failed(struct keep *k, int r)
{
	settle(k);
	k->behind = true;
	log_warn("catalog", "cannot keep it on disk: %s: serving from memory, "
		 "will be asked for again", strerror(-r));
}

void keep_append(struct keep *k, const struct keep_page *page, size_t n)
{
	CLEAN_FD int fd = -1;
	uint64_t at = k->bytes;
	int r = 0;

	/* A gap would make what follows useless. */
	if (k->behind || k->bytes == 0) {
		k->behind = true;
		return;
	}
	fd = open_beneath(k->dirfd, FILE_NAME, O_WRONLY | O_CLOEXEC, 0);
	r = fd < 0 ? fd : claim(k, pages_bytes(page, n));
	if (!r)
		r = write_pages(fd, page, n, &at);
	if (!r && fdatasync(fd) < 0)
		r = -errno;
	if (r) {
		/* If even this fails, load will find a torn batch. */
		if (fd >= 0 && ftruncate(fd, (off_t)k->bytes) < 0)
			log_debug("catalog", "truncate: %s", strerror(errno));
		failed(k, r);
		return;
	}
	k->bytes = at;
}

void keep_replace(struct keep *k, const struct keep_page *page, size_t n)
{
	CLEAN_FD int fd = open_beneath(k->dirfd, NEW_NAME,
				       O_WRONLY | O_CREAT | O_TRUNC |
					       O_CLOEXEC, 0600);
	uint64_t at = MAGIC_BYTES;
	int r = fd < 0 ? fd : claim(k, MAGIC_BYTES + pages_bytes(page, n));

	if (!r)
		r = fd_pwrite_all(fd, MAGIC, MAGIC_BYTES, 0);
	if (!r)
		r = write_pages(fd, page, n, &at);
	if (!r && fdatasync(fd) < 0)
		r = -errno;
	if (!r && renameat(k->dirfd, NEW_NAME, k->dirfd, FILE_NAME) < 0)
		r = -errno;
	if (!r)
		r = fsync_dir(k->dirfd);
	if (r) {
		unlinkat(k->dirfd, NEW_NAME, 0);
		failed(k, r);
		return;
	}
	k->bytes = k->full_bytes = at;
	k->behind = false;
	settle(k);
}

bool keep_wants_full(const struct keep *k)
{
	return k->behind || k->bytes == 0 ||
	       k->bytes > 2 * k->full_bytes + SLACK_BYTES;
}

/* ---- loading ----------------------------------------------------------- */

/* A copy of the part that was good takes the place of the damaged file. */
static int copy_good_part(struct keep *k, int from)
{
	CLEAN_FD int to = open_beneath(k->dirfd, NEW_NAME,
				       O_WRONLY | O_CREAT | O_TRUNC |
					       O_CLOEXEC, 0600);
	CLEAN_FREE char *buf = malloc(1u << 16);
	uint64_t at = 0;

	if (to < 0)
		return to;
	if (!buf)
		return -ENOMEM;
	while (at < k->bytes) {
		uint64_t left = k->bytes - at;
		size_t n = left < 1u << 16 ? (size_t)left : 1u << 16;
		int r = fd_pread_all(from, buf, n, at);

		if (!r)
			r = fd_pwrite_all(to, buf, n, at);
		if (r)
			return r;
		at += n;
	}
	if (fdatasync(to) < 0 ||
	    renameat(k->dirfd, NEW_NAME, k->dirfd, FILE_NAME) < 0)
		return -errno;
	return 0;
}

static void set_aside(struct keep *k, int fd)
{
	int r = 0;

	log_warn("catalog", "CACHE/" FILE_NAME " is damaged: set aside as "
		 BAD_NAME "; the origin will be asked again");
	if (renameat(k->dirfd, FILE_NAME, k->dirfd, BAD_NAME) < 0)
		r = -errno;
	if (!r && k->bytes)
		r = copy_good_part(k, fd);
	if (r) {
		unlinkat(k->dirfd, NEW_NAME, 0);
		k->bytes = 0;
	}
	k->behind = true;
}

int keep_load(struct keep *k, int dirfd,
	      int (*page)(void *ctx, const char *text, size_t n,
			  bool *ret_more),
	      void *ctx)
{
	CLEAN_FD int fd = -1;
	enum record what = RECORD_BAD;
	struct stat st;
	int r = 0;

	memset(k, 0, sizeof(*k));
	k->dirfd = dirfd;
	unlinkat(dirfd, NEW_NAME, 0);
	fd = open_beneath(dirfd, FILE_NAME, O_RDWR | O_CLOEXEC, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (magic_ok(fd, (uint64_t)st.st_size))
		r = read_batches(k, fd, (uint64_t)st.st_size, page, ctx,
				 &what);
	else if (st.st_size < (off_t)MAGIC_BYTES)
		what = RECORD_TORN;
	if (r)
		return r;
	if (what == RECORD_TORN && ftruncate(fd, (off_t)k->bytes) < 0)
		what = RECORD_BAD;
	if (what == RECORD_BAD)
		set_aside(k, fd);
	return 0;
}
