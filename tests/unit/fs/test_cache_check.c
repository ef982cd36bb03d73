/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was stored against what the disk has (C7, R1), what is remembered of a
 * version beside its bits, and the room of the catalog's files (C3).
 */
#include "cache_fixture.h"


#define BLOCKS 20

static char *dir;
static uint64_t forgotten; /* calls */
static void *buf;

static int setup(void **state)
{
	(void)state;
	dir = scratch_dir();
	forgotten = 0;
	return posix_memalign(&buf, VERSION_CHECK_ALIGN, BLOCK);
}

static int teardown(void **state)
{
	(void)state;
	set_point(NULL);
	free(buf);
	scratch_remove(dir);
	return 0;
}

static void on_forgotten(void *ctx, uint64_t id)
{
	(void)ctx, (void)id;
	forgotten++;
}

static struct cache *open_here(uint64_t capacity)
{
	struct cache_config cfg = config_of(dir, capacity);

	cfg.forgotten = on_forgotten;
	return must_open(&cfg);
}

/* All of a block's bytes, unlike those of `pattern`. */
static const void *whole(const struct version *v, uint64_t b)
{
	static uint8_t bytes[BLOCK];

	memset(bytes, (int)(version_ident(v)->id * 31 + b + 1), sizeof(bytes));
	return bytes;
}

static int mend(struct version *v, uint64_t b)
{
	int r = version_reserve(v, b, 1, RESERVE_READER, NULL, NULL);

	return r ? r : version_store(v, b, whole(v, b), block_len(v, b));
}

static void fill_true(struct version *v)
{
	for (uint64_t b = 0; b < version_blocks(v); b++)
		assert_int_equal(mend(v, b), 0);
}

/* A version with a manifest that is true of `whole`. */
static struct version *true_version(struct cache *c, uint64_t id,
				    uint64_t size)
{
	struct digest *hash = calloc(BLOCKS, sizeof(*hash));
	struct version_ident i = ident_of(id, size);
	struct manifest *m;
	struct version *v;

	/* Only its id and sizes are asked for here. */
	v = must_get(c, id, size);
	for (uint64_t b = 0; b < version_blocks(v); b++)
		assert_int_equal(crypto_sha256(whole(v, b), block_len(v, b),
					       &hash[b]), 0);
	version_put(v);
	assert_int_equal(manifest_build(size, BLOCK, hash, &m), 0);
	i.digest = m->digest;
	assert_int_equal(cache_get(c, &i, &v), 0);
	assert_int_equal(version_set_manifest(v, m), 0);
	return v;
}

static void spoil(uint64_t id, uint64_t offset)
{
	char path[256], byte;
	int fd;

	snprintf(path, sizeof(path), "%s/data/%llu", dir,
		 (unsigned long long)id);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
	byte = (char)~byte;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
	close(fd);
}

static struct version_info info_of(struct cache *c, uint64_t id)
{
	struct version_info info;

	assert_int_equal(cache_info(c, id, &info), 0);
	return info;
}

/* C7 with the version open, as a reader past us (passthrough) has it: the
 * bytes are put right in the very file. */
static void bad_is_forgotten_and_mended_in_place(void **state)
{
	struct cache *c = open_here(8 * MIB);
	struct version *v = true_version(c, 7, 5 * BLOCK + 100);
	struct cache_stats st, before;
	struct stat ino, now;

	(void)state;
	fill_true(v);
	assert_int_equal(cache_flush(c), 0);
	for (uint64_t b = 0; b < 6; b++)
		assert_int_equal(version_check_block(v, b, buf), 0);
	version_open(v);
	assert_true(version_backing_fd(v) >= 0);
	assert_int_equal(fstat(version_fd(v), &ino), 0);
	cache_stats(c, &before);
	spoil(7, 2 * BLOCK + 5);
	spoil(7, 5 * BLOCK + 99); /* the last byte */
	assert_int_equal(version_check_block(v, 1, buf), 0);
	assert_int_equal(version_check_block(v, 2, buf), -EBADMSG);
	assert_int_equal(version_check_block(v, 5, buf), -EBADMSG);
	assert_int_equal(version_check_block(v, 5, buf), -ENODATA);
	assert_int_equal(forgotten, 2);
	assert_false(version_has(v, 2));
	assert_int_equal(version_backing_fd(v), -EAGAIN); /* R1 */
	assert_int_equal(version_read(v, buf, 10, 2 * BLOCK), -ENODATA);
	assert_int_equal(info_of(c, 7).bad_blocks, 2);
	assert_true(info_of(c, 7).wanted);

	assert_int_equal(mend(v, 2), 0);
	assert_int_equal(mend(v, 5), 0);
	assert_int_equal(cache_flush(c), 0);
	assert_int_equal(info_of(c, 7).bad_blocks, 0);
	assert_true(version_backing_fd(v) >= 0);
	for (uint64_t b = 0; b < 6; b++)
		assert_int_equal(version_check_block(v, b, buf), 0);
	assert_int_equal(fstat(version_fd(v), &now), 0);
	assert_int_equal(now.st_ino, ino.st_ino);
	cache_stats(c, &st);
	assert_int_equal(st.bad_blocks, 2);
	assert_int_equal(st.repaired_blocks, 2);
	assert_int_equal(st.used_bytes, before.used_bytes);
	version_close(v);
	version_put(v);
	cache_close(c);
}

/* R1, C1: what was found bad is not served after a restart either; and it is
 * known then that the version is wanted whole (R7). */
static void the_index_knows(void **state)
{
	struct cache *c = open_here(8 * MIB);
	struct version *v = true_version(c, 7, 5 * BLOCK);

	(void)state;
	fill_true(v);
	assert_int_equal(cache_flush(c), 0);
	assert_false(info_of(c, 7).wanted);
	spoil(7, 3 * BLOCK);
	assert_int_equal(version_check_block(v, 3, buf), -EBADMSG);
	version_put(v);
	cache_close(c);

	c = open_here(8 * MIB);
	assert_false(info_of(c, 7).complete);
	assert_true(info_of(c, 7).wanted);
	assert_int_equal(cache_find(c, 7, &v), 0);
	assert_false(version_has(v, 3));
	assert_true(version_has_all(v, 0, 3));
	version_put(v);
	cache_close(c);
}

static int no_read(const char *name)
{
	return strcmp(name, "check.read") ? 0 : -EIO;
}

static int no_memory(const char *name)
{
	return strcmp(name, "check.read") ? 0 : -ENOMEM;
}

/* A disk that cannot read it is as bad as one that reads nonsense; not being
 * able to look says nothing. */
static void read_errors(void **state)
{
	struct cache *c = open_here(8 * MIB);
	struct version *v = true_version(c, 7, 5 * BLOCK);

	(void)state;
	assert_int_equal(version_check_block(v, 0, buf), -ENODATA);
	fill_true(v);
	set_point(no_memory);
	assert_int_equal(version_check_block(v, 1, buf), -ENOMEM);
	set_point(no_read);
	assert_int_equal(version_check_block(v, 2, buf), -EBADMSG);
	set_point(NULL);
	assert_true(version_has(v, 1));
	assert_false(version_has(v, 2));
	version_put(v);
	cache_close(c);
}

static struct version *checked;

static int forget_now(const char *name)
{
	if (strcmp(name, "check.read"))
		return 0;
	/* In the middle of it another thread forgets the block. */
	set_point(NULL);
	assert_int_equal(version_forget_block(checked, 1), 0);
	return -EIO;
}

/* What went while it was read was perhaps a hole: no bad block. */
static void gone_meanwhile(void **state)
{
	struct cache *c = open_here(8 * MIB);
	struct version *v = true_version(c, 7, 5 * BLOCK);
	struct cache_stats st;

	(void)state;
	fill_true(v);
	checked = v;
	set_point(forget_now);
	assert_int_equal(version_check_block(v, 1, buf), -ENODATA);
	cache_stats(c, &st);
	assert_int_equal(st.bad_blocks, 1);
	version_put(v);
	assert_int_equal(cache_evict(c, 7, NULL, false, NULL), 0);
	cache_close(c);
}

/* R7: that it is being filled is known to the next start once a block is
 * durable, and forgotten with the version. */
static void wanted_outlives_us(void **state)
{
	struct cache *c = open_here(8 * MIB);
	struct version *v = true_version(c, 7, 5 * BLOCK);

	(void)state;
	version_want(v); /* before there is a row */
	assert_int_equal(mend(v, 1), 0);
	assert_int_equal(cache_flush(c), 0);
	version_put(v);
	v = true_version(c, 8, 3 * BLOCK);
	assert_int_equal(mend(v, 0), 0);
	version_want(v); /* nothing is stored after it, but not all flushed */
	version_put(v);
	cache_close(c);

	c = open_here(8 * MIB);
	assert_true(info_of(c, 7).wanted);
	assert_true(info_of(c, 8).wanted);
	assert_int_equal(cache_evict(c, 7, NULL, false, NULL), 0);
	v = true_version(c, 7, 5 * BLOCK);
	assert_int_equal(mend(v, 1), 0);
	assert_int_equal(cache_flush(c), 0);
	assert_false(info_of(c, 7).wanted);
	version_put(v);
	cache_close(c);
}

static void why_it_went(void **state)
{
	struct cache *c = open_here(capacity_for(3 * price(BLOCK)));
	struct evicted e;

	(void)state;
	for (uint64_t id = 1; id <= 3; id++)
		assert_int_equal(fill_id(c, id, BLOCK), 0);
	assert_int_equal(cache_evicted(c, 1, &e), -ENOENT);
	assert_int_equal(fill_id(c, 4, BLOCK), 0);
	assert_int_equal(cache_evict(c, 2, NULL, false, NULL), 0);
	assert_int_equal(cache_reclaim(c, 2 * price(BLOCK), NULL), 0);
	assert_int_equal(cache_evicted(c, 1, &e), 0);
	assert_int_equal(e.why, EVICT_ROOM);
	assert_int_equal(cache_evicted(c, 2, &e), 0);
	assert_int_equal(e.why, EVICT_ASKED);
	cache_close(c);
	c = open_here(8 * MIB);
	assert_int_equal(cache_evicted(c, 3, &e), 0);
	assert_int_equal(e.why, EVICT_RECLAIM);
	assert_true(e.at_s > 1000000000);
	assert_int_equal(cache_evicted(c, 4, &e), -ENOENT);
	/* Only so many are remembered, the last ones. */
	for (uint64_t id = 10; id < 10 + EVICTED_MAX; id++) {
		struct version_ident i = ident_of(id, BLOCK);

		assert_int_equal(cache_hold(c, &i, INT64_MAX), 0);
		assert_int_equal(cache_evict(c, id, NULL, true, NULL), 0);
	}
	assert_int_equal(cache_evicted(c, 3, &e), -ENOENT);
	assert_int_equal(cache_evicted(c, 10, &e), 0);
	cache_close(c);
}

/* C4, told ahead of time. */
static void where_it_stands(void **state)
{
	struct cache *c = open_here(8 * MIB);
	struct version_ident two = ident_of(2, BLOCK);
	struct standing s;
	struct version *v;

	(void)state;
	for (uint64_t id = 1; id <= 4; id++)
		assert_int_equal(fill_id(c, id, BLOCK), 0);
	assert_int_equal(cache_standing(c, 9, &s), -ENOENT);
	assert_int_equal(cache_standing(c, 1, &s), 0);
	assert_true(s.before == 0 && s.before_bytes == 0 && !s.held);
	assert_int_equal(cache_standing(c, 4, &s), 0);
	assert_int_equal(s.before, 3);
	assert_int_equal(s.before_bytes, 3 * price(BLOCK));
	/* Open ones do not go before it, held ones go after all others. */
	v = must_get(c, 1, BLOCK);
	version_open(v);
	assert_int_equal(cache_hold(c, &two, INT64_MAX), 0);
	assert_int_equal(cache_standing(c, 4, &s), 0);
	assert_int_equal(s.before, 1);
	assert_int_equal(cache_standing(c, 1, &s), 0);
	assert_true(s.passed_over);
	assert_int_equal(cache_standing(c, 2, &s), 0);
	assert_true(s.held && s.before == 2);
	version_close(v);
	version_put(v);
	cache_close(c);
}

static uint64_t used(struct cache *c)
{
	struct cache_stats st;

	cache_stats(c, &st);
	return st.used_bytes;
}

/* C3: the catalog's file is used space like any other. */
static void files_of_others_count(void **state)
{
	uint64_t mib = price(MIB);
	struct cache *c = open_here(capacity_for(3 * mib));
	struct version_ident held = ident_of(3, MIB);
	uint64_t empty = used(c);

	(void)state;
	assert_int_equal(fill_id(c, 1, MIB), 0);
	assert_int_equal(fill_id(c, 2, MIB), 0);
	assert_int_equal(cache_room_for_files(c, 100), 0);
	assert_int_equal(used(c), empty + 2 * mib + 4096);
	/* It drives out the oldest one. */
	assert_int_equal(cache_room_for_files(c, mib + 4096), 0);
	assert_false(present(c, 1));
	assert_true(present(c, 2));
	assert_true(used(c) <= capacity_for(3 * mib));
	/* It is smaller again: there is room. */
	assert_int_equal(cache_room_for_files(c, 4096), 0);
	assert_int_equal(fill_id(c, 3, MIB), 0);
	assert_true(present(c, 2));
	/* Not by what is on hold; and what is refused changes nothing. */
	assert_int_equal(cache_hold(c, &held, INT64_MAX), 0);
	empty = used(c);
	assert_int_equal(cache_room_for_files(c, 3 * mib), -ENOSPC);
	assert_true(present(c, 3));
	assert_int_equal(used(c), empty);
	cache_close(c);
}

/* What lies there at the start is counted from the start on. */
static void a_catalog_that_is_there(void **state)
{
	struct cache *c = open_here(8 * MIB);
	uint64_t empty = used(c);
	char path[256];
	int fd;

	(void)state;
	cache_close(c);
	snprintf(path, sizeof(path), "%s/catalog", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, MIB), 0);
	close(fd);
	c = open_here(8 * MIB);
	assert_true(used(c) >= empty + MIB);
	cache_close(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(bad_is_forgotten_and_mended_in_place),
		TEST(the_index_knows),
		TEST(read_errors),
		TEST(gone_meanwhile),
		TEST(wanted_outlives_us),
		TEST(why_it_went),
		TEST(where_it_stands),
		TEST(files_of_others_count),
		TEST(a_catalog_that_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
