/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jget.h - strict members of a JSON object, with bounds; over jansson.
 *
 * Each takes the object, the member's name and a bound; the error names the
 * member. 0, -EPROTO. `_opt` forms leave *ret as it was if there is no such
 * member.
 */
#ifndef STAGEFS_COMMON_JGET_H
#define STAGEFS_COMMON_JGET_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Rejects duplicate members, nesting over 16, and anything after the end. */
int jget_parse(const char *text, size_t n, json_t **ret, struct err *e);
/*
 * The same, with an own bound on what the parsed form may weigh: a value
 * counts 1, an object or a list 4 more. Checked before anything is allocated:
 * 64 MiB of "[],[],..." would become 4 GiB. jget_parse allows
 * STAGEFS_JSON_MAX_WEIGHT.
 */
int jget_parse_bounded(const char *text, size_t n, size_t max_weight,
		       json_t **ret, struct err *e);
/* Who gives jansson another malloc (a test) has to call it on a failure. */
void jget_note_no_memory(void);

int jget_u64(const json_t *o, const char *name, uint64_t max, uint64_t *ret,
	     struct err *e);
int jget_u64_opt(const json_t *o, const char *name, uint64_t max,
		 uint64_t *ret, struct err *e);
int jget_i64_opt(const json_t *o, const char *name, int64_t *ret,
		 struct err *e);
int jget_bool_opt(const json_t *o, const char *name, bool *ret, struct err *e);
/* *ret belongs to the object. No control characters inside. */
int jget_text(const json_t *o, const char *name, size_t max_bytes,
	      const char **ret, struct err *e);
int jget_text_opt(const json_t *o, const char *name, size_t max_bytes,
		  const char **ret, struct err *e);
int jget_list_opt(const json_t *o, const char *name, size_t max_items,
		  json_t **ret, struct err *e);

#endif
