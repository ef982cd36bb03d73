/* SPDX-License-Identifier: Apache-2.0 */
/* imagetest.h - over storetest.h: comparing, damaging, and acting at a step. */
#ifndef STAGEFS_TESTS_IMAGETEST_H
#define STAGEFS_TESTS_IMAGETEST_H

#include "storetest.h"

/* Hashes a file in the plainest way and compares with what was published. */
static inline void assert_stored(struct storetest *t, const char *file,
			  const struct node *n)
{
	uint64_t object_size, blocks, manifest_size;
	struct manifest *m;
	char *want, *got, *raw;
	size_t len;
	int fd;

	assert_int_equal(file_read(storetest_path(t, file), SIZE_MAX - 1, &want,
				   &len),
			 0);
	assert_int_equal(n->size_bytes, len);
	fd = store_open_manifest(t->s, &n->digest, &manifest_size);
	assert_true(fd >= 0);
	raw = malloc(manifest_size);
	assert_int_equal(fd_pread_all(fd, raw, manifest_size, 0), 0);
	close(fd);
	assert_int_equal(manifest_decode(raw, manifest_size, &n->digest, &m,
					 &t->e),
			 0);
	free(raw);
	assert_int_equal(m->block_bytes, n->block_bytes);
	blocks = manifest_block_count(len, m->block_bytes);
	assert_int_equal(m->n_blocks, blocks);
	for (uint64_t i = 0; i < blocks; i++)
		assert_true(manifest_block_ok(
			m, i, want + i * m->block_bytes,
			manifest_block_length(len, m->block_bytes, i)));
	manifest_free(m);

	fd = store_open_object(t->s, &n->digest, &object_size);
	assert_true(fd >= 0);
	assert_int_equal(object_size, len);
	got = malloc(len + 1);
	assert_int_equal(fd_pread_all(fd, got, len, 0), 0);
	close(fd);
	assert_memory_equal(want, got, len);
	free(want);
	free(got);
}

static inline void add_and_compare(struct storetest *t, const char *file,
			    const char *name)
{
	struct image_added a;
	int r = storetest_add(t, file, name, &a);

	if (r)
		fail_msg("%s: %s", name, t->e.text);
	assert_stored(t, file, &a.node);
	assert_string_equal(a.node.name, name);
}

static inline void flip(struct storetest *t, const struct node *n,
			const char *folder, uint64_t offset)
{
	char path[256], digest[DIGEST_TEXT], byte;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", t->store_dir, folder,
		 digest_text(&n->digest, digest));
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fd_pread_all(fd, &byte, 1, offset), 0);
	byte ^= 1;
	assert_int_equal(fd_pwrite_all(fd, &byte, 1, offset), 0);
	close(fd);
}

static struct storetest *hooked;
static const char *hook_at;
static void (*hook_do)(void);

static inline void hook(const char *step)
{
	if (hook_at && strcmp(step, hook_at) == 0) {
		hook_at = NULL;
		hook_do();
	}
}

static inline void arm(struct storetest *t, const char *step,
		       void (*what)(void))
{
	hooked = t;
	hook_at = step;
	hook_do = what;
	store_step_hook = hook;
}

static inline int reset_hook(void **state)
{
	(void)state;
	store_step_hook = NULL;
	hook_at = NULL;
	return 0;
}

#endif
