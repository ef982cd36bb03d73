/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put.h - figures into the JSON answers of status.c and why.c.
 */
#ifndef STAGEFS_FS_STATUS_PUT_H
#define STAGEFS_FS_STATUS_PUT_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/err.h"

static inline void put(json_t *o, const char *name, uint64_t v)
{
	json_object_set_new(o, name, json_integer((json_int_t)v));
}

static inline void put_bool(json_t *o, const char *name, bool v)
{
	json_object_set_new(o, name, json_boolean(v));
}

/* Text that may be anything: nothing but UTF-8 gets into JSON. */
static inline void put_text(json_t *o, const char *name, const char *text)
{
	struct err clean;

	err_set(&clean, EIO, "%s", text);
	json_object_set_new(o, name, json_string(clean.text));
}

/* How long ago that was; 0: never. */
static inline void put_age_ms(json_t *o, const char *name, uint64_t ns)
{
	uint64_t now = clock_mono_ns();

	put(o, name, ns && now > ns ? (now - ns) / NS_PER_MS : 0);
}

#endif
