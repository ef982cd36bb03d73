/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jget.c - jansson parses; what it does not bound is bounded by a scan of the
 * bytes before: its own nesting limit is 2048, and it has none on the number
 * of values.
 *
 * Its integers are int64_t, so no number above INT64_MAX can come in, whatever
 * `max` says. Strings with \u0000 are refused by its default.
 */
#include "common/jget.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "common/utf8.h"

/*
 * jansson 2.14 does not look whether its lexer's buffer could grow: without
 * memory it goes on, and the text that comes out lacks bytes. So every failed
 * allocation is noted, and what was parsed meanwhile is thrown away.
 */
static __thread bool no_memory;

void jget_note_no_memory(void)
{
	no_memory = true;
}

static void *noting_malloc(size_t n)
{
	void *p = malloc(n);

	if (!p)
		jget_note_no_memory();
	return p;
}

/* Before main: nobody uses jansson yet, and no thread is there. */
__attribute__((constructor)) static void set_malloc(void)
{
	json_set_alloc_funcs(noting_malloc, free);
}

/*
 * Counts brackets and commas outside of strings. It need not understand more:
 * a text that is broken in another way is refused by the parser, and of a
 * right one the values are at most the commas + the brackets + 1.
 */
static int scan(const char *text, size_t n, size_t max_weight, struct err *e)
{
	size_t depth = 0, weight = 1;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		switch (text[i]) {
		case '\\':
			i += quoted;
			break;
		case '"':
			quoted = !quoted;
			break;
		case '[':
		case '{':
			depth += !quoted;
			weight += quoted ? 0 : 5;
			break;
		case ']':
		case '}':
			depth -= !quoted && depth > 0;
			break;
		case ',':
			weight += !quoted;
			break;
		default:
			break;
		}
		if (depth > STAGEFS_JSON_MAX_DEPTH)
			return err_set(e, EPROTO,
				       "JSON: nested deeper than %u",
				       STAGEFS_JSON_MAX_DEPTH);
		if (weight > max_weight)
			return err_set(e, EPROTO, "JSON: too many values");
	}
	return 0;
}

int jget_parse_bounded(const char *text, size_t n, size_t max_weight,
		       json_t **ret, struct err *e)
{
	json_error_t why;
	json_t *o;
	int r;

	r = scan(text, n, max_weight, e);
	if (r < 0)
		return r;
	no_memory = false;
	o = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
	if (no_memory) {
		json_decref(o);
		return err_set(e, ENOMEM, "out of memory");
	}
	if (!o)
		return err_set(e, EPROTO, "JSON: line %d, byte %d: %s",
			       why.line, why.position, why.text);
	if (!json_is_object(o)) {
		json_decref(o);
		return err_set(e, EPROTO, "JSON: not an object");
	}
	*ret = o;
	return 0;
}

int jget_parse(const char *text, size_t n, json_t **ret, struct err *e)
{
	return jget_parse_bounded(text, n, STAGEFS_JSON_MAX_WEIGHT, ret, e);
}

static int missing(const char *name, struct err *e)
{
	return err_set(e, EPROTO, "member '%s' is missing", name);
}

int jget_u64_opt(const json_t *o, const char *name, uint64_t max,
		 uint64_t *ret, struct err *e)
{
	const json_t *v = json_object_get(o, name);
	json_int_t i;

	if (!v)
		return 0;
	if (!json_is_integer(v))
		return err_set(e, EPROTO, "member '%s' is not an integer",
			       name);
	i = json_integer_value(v);
	if (i < 0 || (uint64_t)i > max)
		return err_set(e, EPROTO,
			       "member '%s' is %lld, outside of 0 to %llu",
			       name, (long long)i, (unsigned long long)max);
	*ret = (uint64_t)i;
	return 0;
}

int jget_u64(const json_t *o, const char *name, uint64_t max, uint64_t *ret,
	     struct err *e)
{
	if (!json_object_get(o, name))
		return missing(name, e);
	return jget_u64_opt(o, name, max, ret, e);
}

int jget_i64_opt(const json_t *o, const char *name, int64_t *ret,
		 struct err *e)
{
	const json_t *v = json_object_get(o, name);

	if (!v)
		return 0;
	if (!json_is_integer(v))
		return err_set(e, EPROTO, "member '%s' is not an integer",
			       name);
	*ret = json_integer_value(v);
	return 0;
}

int jget_bool_opt(const json_t *o, const char *name, bool *ret, struct err *e)
{
	const json_t *v = json_object_get(o, name);

	if (!v)
		return 0;
	if (!json_is_boolean(v))
		return err_set(e, EPROTO, "member '%s' is not true or false",
			       name);
	*ret = json_is_true(v);
	return 0;
}

int jget_text_opt(const json_t *o, const char *name, size_t max_bytes,
		  const char **ret, struct err *e)
{
	const json_t *v = json_object_get(o, name);
	const char *text;
	size_t n;

	if (!v)
		return 0;
	if (!json_is_string(v))
		return err_set(e, EPROTO, "member '%s' is not a string", name);
	text = json_string_value(v);
	n = json_string_length(v);
	if (n > max_bytes)
		return err_set(e, EPROTO,
			       "member '%s' is longer than %zu bytes", name,
			       max_bytes);
	for (size_t i = 0; i < n;) {
		uint32_t code;
		size_t len = utf8_decode(text + i, n - i, &code);

		if (len == 0 || utf8_is_control(code))
			return err_set(e, EPROTO,
				       "member '%s' has a control character",
				       name);
		i += len;
	}
	*ret = text;
	return 0;
}

int jget_text(const json_t *o, const char *name, size_t max_bytes,
	      const char **ret, struct err *e)
{
	if (!json_object_get(o, name))
		return missing(name, e);
	return jget_text_opt(o, name, max_bytes, ret, e);
}

int jget_list_opt(const json_t *o, const char *name, size_t max_items,
		  json_t **ret, struct err *e)
{
	json_t *v = json_object_get(o, name);

	if (!v)
		return 0;
	if (!json_is_array(v))
		return err_set(e, EPROTO, "member '%s' is not a list", name);
	if (json_array_size(v) > max_items)
		return err_set(e, EPROTO,
			       "member '%s' has more than %zu items", name,
			       max_items);
	*ret = v;
	return 0;
}
