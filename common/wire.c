/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.c - what all documents have in common: the head, the kinds of member
 * that JSON does not know (digests, UUIDs, names, times), and the names of the
 * enums. Each document is in its own file, with its form on top.
 */
#include "common/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/names.h"
#include "common/utf8.h"
#include "common/wire_json.h"

#define FORMAT 1

/* ---- names of enums ----------------------------------------------------- */

static const char *const class_name[CLASS_COUNT] = {
	[CLASS_DEMAND] = "demand",
	[CLASS_LOOKAHEAD] = "look-ahead",
	[CLASS_FILL] = "fill",
	[CLASS_PREFETCH] = "prefetch",
};

const char *wire_class_name(enum wire_class c)
{
	return c < CLASS_COUNT ? class_name[c] : "unknown";
}

int wire_class_parse(const char *name, enum wire_class *ret)
{
	for (int i = 0; i < CLASS_COUNT; i++)
		if (strcmp(name, class_name[i]) == 0) {
			*ret = (enum wire_class)i;
			return 0;
		}
	return -EINVAL;
}

/* ---- members out -------------------------------------------------------- */

static bool put(json_t *o, const char *name, json_t *v)
{
	return json_object_set_new_nocheck(o, name, v) == 0;
}

bool put_u64(json_t *o, const char *name, uint64_t v)
{
	return put(o, name, json_integer(v < INT64_MAX ? (json_int_t)v
						       : INT64_MAX));
}

bool put_time(json_t *o, const char *name, int64_t unix_s)
{
	if (unix_s > STAGEFS_TIME_MAX_S)
		unix_s = STAGEFS_TIME_MAX_S;
	if (unix_s < -STAGEFS_TIME_MAX_S)
		unix_s = -STAGEFS_TIME_MAX_S;
	return put(o, name, json_integer(unix_s));
}

bool put_bool(json_t *o, const char *name, bool v)
{
	return put(o, name, json_boolean(v));
}

bool put_text(json_t *o, const char *name, const char *text)
{
	CLEAN_FREE char *clean = strdup(text ? text : "");

	if (!clean)
		return false;
	utf8_clean(clean);
	return put(o, name, json_string_nocheck(clean));
}

bool put_digest(json_t *o, const char *name, const struct digest *d)
{
	char text[DIGEST_TEXT];

	return put(o, name, json_string_nocheck(digest_text(d, text)));
}

json_t *put_list(json_t *o, const char *name)
{
	json_t *list = json_array();

	return put(o, name, list) ? list : NULL;
}

json_t *wire_head(const char *kind)
{
	json_t *o = json_object();

	if (put_u64(o, "format", FORMAT) && put_text(o, "kind", kind))
		return o;
	json_decref(o);
	return NULL;
}

struct sink {
	char *text;
	size_t n, room;
	bool failed;
};

static int sink_add(const char *data, size_t n, void *ctx)
{
	struct sink *s = ctx;

	if (s->room - s->n < n + 1) {
		size_t room = s->room * 2 + n + 1024;
		char *more = s->failed ? NULL : realloc(s->text, room);

		if (!more) {
			s->failed = true;
			return -1;
		}
		s->text = more;
		s->room = room;
	}
	memcpy(s->text + s->n, data, n);
	s->n += n;
	return 0;
}

/*
 * Not json_dumps: if the buffer cannot grow while it writes a key, jansson
 * 2.14 goes on without that key and returns a broken text as if it were whole.
 */
int wire_print(json_t *o, bool ok, char **ret, size_t *ret_n)
{
	struct sink s = {0};

	if (!ok || !o ||
	    json_dump_callback(o, sink_add, &s, JSON_COMPACT) < 0)
		s.failed = true;
	json_decref(o);
	if (s.failed) {
		free(s.text);
		return -ENOMEM;
	}
	s.text[s.n] = 0;
	*ret = s.text;
	*ret_n = s.n;
	return 0;
}

/* ---- members in --------------------------------------------------------- */

int wire_open(const char *json, size_t n, size_t max_bytes, size_t max_weight,
	      const char *kind, json_t **ret, struct err *e)
{
	CLEAN_JSON json_t *o = NULL;
	const char *is = NULL;
	uint64_t format;
	int r;

	if (n > max_bytes)
		return err_set(e, EPROTO,
			       "%s: %zu bytes are more than the %zu allowed",
			       kind, n, max_bytes);
	r = jget_parse_bounded(json, n, max_weight, &o, e);
	if (r == 0)
		r = jget_u64(o, "format", INT64_MAX, &format, e);
	if (r == 0 && format > FORMAT)
		r = err_set(e, EPROTONOSUPPORT,
			    "made by a newer stagefs (format %llu): install "
			    "that version here",
			    (unsigned long long)format);
	if (r == 0 && format < FORMAT)
		r = err_set(e, EPROTO, "there is no format 0");
	if (r == 0)
		r = jget_text(o, "kind", 32, &is, e);
	if (r == 0 && strcmp(is, kind) != 0)
		r = err_set(e, EPROTO, "this is of kind '%s'", is);
	if (r < 0)
		return err_prefix(e, -r, "%s", kind);
	*ret = TAKE(o);
	return 0;
}

int get_digest(const json_t *o, const char *name, struct digest *ret,
	       struct err *e)
{
	const char *text;
	int r = jget_text(o, name, DIGEST_TEXT - 1, &text, e);

	if (r < 0)
		return r;
	if (digest_parse(text, ret) < 0)
		return err_set(e, EPROTO, "member '%s' is not a SHA-256 digest",
			       name);
	return 0;
}

int get_uuid(const json_t *o, const char *name, char ret[UUID_TEXT],
	     struct err *e)
{
	const char *text;
	int r = jget_text(o, name, UUID_TEXT - 1, &text, e);

	if (r < 0)
		return r;
	if (!uuid_valid(text))
		return err_set(e, EPROTO, "member '%s' is not a UUID", name);
	memcpy(ret, text, UUID_TEXT);
	return 0;
}

int get_server(const json_t *o, const char *name, char ret[64], struct err *e)
{
	const char *text;
	int r = jget_text(o, name, STAGEFS_SERVER_NAME_MAX_BYTES, &text, e);

	if (r < 0)
		return r;
	if (name_check_server(text, e) < 0)
		return err_prefix(e, EPROTO, "member '%s'", name);
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}

int get_time_opt(const json_t *o, const char *name, int64_t *ret,
		 struct err *e)
{
	int64_t t = *ret;
	int r = jget_i64_opt(o, name, &t, e);

	if (r < 0)
		return r;
	if (t > STAGEFS_TIME_MAX_S || t < -STAGEFS_TIME_MAX_S)
		return err_set(e, EPROTO, "member '%s' is no possible time",
			       name);
	*ret = t;
	return 0;
}

int get_image_name_opt(const json_t *o, const char *name, char **ret,
		       struct err *e)
{
	const char *text = "";
	char *copy;
	int r = jget_text_opt(o, name, STAGEFS_PATH_MAX_BYTES, &text, e);

	if (r < 0)
		return r;
	if (text[0] && name_check_image(text, e) < 0)
		return err_prefix(e, EPROTO, "member '%s'", name);
	copy = strdup(text);
	if (!copy)
		return err_set(e, ENOMEM, "out of memory");
	*ret = copy;
	return 0;
}

int get_buffer_opt(const json_t *o, const char *name, char *ret, size_t size,
		   struct err *e)
{
	const char *text = NULL;
	int r = jget_text_opt(o, name, size - 1, &text, e);

	if (r == 0 && text)
		memcpy(ret, text, strlen(text) + 1);
	return r;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int check_unique(uint64_t *id, size_t n, const char *what, struct err *e)
{
	if (n < 2)
		return 0;
	qsort(id, n, sizeof(*id), by_value);
	for (size_t i = 1; i < n; i++)
		if (id[i] == id[i - 1])
			return err_set(e, EPROTO, "%s %llu is there twice",
				       what, (unsigned long long)id[i]);
	return 0;
}
