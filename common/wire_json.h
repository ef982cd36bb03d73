/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_json.h - what the wire_*.c files share; of no use to others.
 *
 * put_*: add a member, false if out of memory (also when `o` is NULL, so a
 * chain of && needs no other check). Numbers are cut to what can be decoded
 * again: INT64_MAX, and the years -9999 to 9999.
 */
#ifndef STAGEFS_COMMON_WIRE_JSON_H
#define STAGEFS_COMMON_WIRE_JSON_H

#include <jansson.h>

#include "common/crypto.h"
#include "common/err.h"
#include "common/jget.h"

bool put_u64(json_t *o, const char *name, uint64_t v);
bool put_time(json_t *o, const char *name, int64_t unix_s);
bool put_bool(json_t *o, const char *name, bool v);
/* NULL is "". What is no UTF-8, and control characters, become '?'. */
bool put_text(json_t *o, const char *name, const char *text);
bool put_digest(json_t *o, const char *name, const struct digest *d);
/* Adds an empty list and returns it (it belongs to `o`), NULL if it cannot. */
json_t *put_list(json_t *o, const char *name);

/* A new object with "format": 1 and the kind. */
json_t *wire_head(const char *kind);
/* Takes over `o` (may be NULL). `ok`: all members are in. */
int wire_print(json_t *o, bool ok, char **ret, size_t *ret_n);

/* Parses a document of at most `max_bytes` and checks its head. */
int wire_open(const char *json, size_t n, size_t max_bytes, size_t max_weight,
	      const char *kind, json_t **ret, struct err *e);

int get_digest(const json_t *o, const char *name, struct digest *ret,
	       struct err *e);
int get_uuid(const json_t *o, const char *name, char ret[UUID_TEXT],
	     struct err *e);
int get_server(const json_t *o, const char *name, char ret[64], struct err *e);
/* Leaves *ret if there is none. Between the years -9999 and 9999. */
int get_time_opt(const json_t *o, const char *name, int64_t *ret,
		 struct err *e);
/* An image's whole name, malloc'd; "" if there is none. */
int get_image_name_opt(const json_t *o, const char *name, char **ret,
		       struct err *e);
/* Text for a buffer of `size` bytes, which it leaves if there is none. */
int get_buffer_opt(const json_t *o, const char *name, char *ret, size_t size,
		   struct err *e);

/* -EPROTO if a number is there twice. Sorts `id`. */
int check_unique(uint64_t *id, size_t n, const char *what, struct err *e);

static inline void cleanup_json(json_t **o)
{
	json_decref(*o);
}
#define CLEAN_JSON CLEAN(cleanup_json)

#endif
