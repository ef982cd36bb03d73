/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr.c - a table of names and what they tell. Numbers are decimal, times
 * local with their zone; a name without a value (stored_at of what is not
 * stored) is not listed and gives ENODATA, like every unknown name: Samba
 * takes EPERM there for a broken file.
 */
#include "fs/kernel/xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"
#include "common/wire.h"

static int u64_text(uint64_t v, char *out)
{
	return snprintf(out, XATTR_VALUE_MAX_BYTES, "%" PRIu64, v);
}

static int time_text(int64_t unix_s, char *out)
{
	char text[UNITS_TIME_TEXT];

	if (unix_s == 0)
		return -ENODATA;
	return snprintf(out, XATTR_VALUE_MAX_BYTES, "%s",
			units_time(unix_s, text));
}

static int value_id(const struct xattr_facts *f, char *out)
{
	return u64_text(f->node->id, out);
}

static int value_digest(const struct xattr_facts *f, char *out)
{
	digest_text(&f->node->digest, out);
	return DIGEST_TEXT - 1;
}

static int value_size(const struct xattr_facts *f, char *out)
{
	return u64_text(f->node->size_bytes, out);
}

static int value_block_size(const struct xattr_facts *f, char *out)
{
	return u64_text(f->node->block_bytes, out);
}

static int value_state(const struct xattr_facts *f, char *out)
{
	const char *state = "absent";

	if ((f->info && f->info->complete) || f->node->size_bytes == 0)
		state = wire_image_state_name(IMAGE_COMPLETE);
	else if (f->active)
		state = wire_image_state_name(IMAGE_FETCHING);
	else if (f->info && f->info->stored_bytes > 0)
		state = wire_image_state_name(IMAGE_PARTIAL);
	return snprintf(out, XATTR_VALUE_MAX_BYTES, "%s", state);
}

static int value_cached(const struct xattr_facts *f, char *out)
{
	return u64_text(f->info ? f->info->stored_bytes : 0, out);
}

static int value_stored_at(const struct xattr_facts *f, char *out)
{
	return time_text(f->info ? f->info->stored_at_s : 0, out);
}

static int value_held_until(const struct xattr_facts *f, char *out)
{
	return time_text(f->info ? f->info->held_until_s : 0, out);
}

static const struct {
	const char *name;
	int (*value)(const struct xattr_facts *f, char *out);
	bool of_dirs;
} table[] = {
	{"user.stagefs.id", value_id, true},
	{"user.stagefs.digest", value_digest, false},
	{"user.stagefs.size", value_size, false},
	{"user.stagefs.block_size", value_block_size, false},
	{"user.stagefs.state", value_state, false},
	{"user.stagefs.cached_bytes", value_cached, false},
	{"user.stagefs.stored_at", value_stored_at, false},
	{"user.stagefs.held_until", value_held_until, false},
};
#define TABLE_N (sizeof(table) / sizeof(table[0]))

int xattr_value(const struct xattr_facts *f, const char *name,
		char out[XATTR_VALUE_MAX_BYTES])
{
	for (size_t i = 0; i < TABLE_N; i++)
		if (!strcmp(table[i].name, name) &&
		    (table[i].of_dirs || !f->node->is_dir))
			return table[i].value(f, out);
	return -ENODATA;
}

size_t xattr_list(const struct xattr_facts *f, char out[XATTR_LIST_MAX_BYTES])
{
	char value[XATTR_VALUE_MAX_BYTES];
	size_t used = 0;

	for (size_t i = 0; i < TABLE_N; i++) {
		size_t n = strlen(table[i].name) + 1;

		if (xattr_value(f, table[i].name, value) < 0)
			continue;
		memcpy(out + used, table[i].name, n);
		used += n;
	}
	return used;
}
