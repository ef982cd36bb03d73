/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - the mount options (-o) of stagefs, parsed and validated.
 *
 * Pure: touches no file. Every error is one line that names the option and
 * shows a good value.
 */
#ifndef STAGEFS_FS_OPTIONS_H
#define STAGEFS_FS_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/limits.h"

#define OPTIONS_CACHE_DEFAULT "/var/cache/stagefs"
#define OPTIONS_USER_DEFAULT "stagefs" /* if there is one, else root */

struct mount_options {
	char name[STAGEFS_SERVER_NAME_MAX_BYTES + 1]; /* "": host name */
	char cache[PATH_MAX];
	char key[PATH_MAX]; /* "": trust on first use */
	char ca[PATH_MAX];  /* "": the system's */
	char user[64];	    /* "": OPTIONS_USER_DEFAULT */
	char debug[256];
	char log[PATH_MAX]; /* opened by the supervisor */
	uint64_t capacity_bytes; /* 0: the whole file system */
	uint64_t min_free_bytes; /* OPTIONS_MIN_FREE_AUTO: worked out */
	uint64_t fill_after_bytes; /* UINT64_MAX: never */
	uint64_t look_ahead_bytes;
	uint64_t memory_bytes;
	uint64_t io_timeout_ms;
	uint64_t device; /* minor number, 0: any */
	uint64_t scrub_ms; /* UINT64_MAX: off */
	bool serve_complete;
	bool passthrough;
};

#define OPTIONS_MIN_FREE_AUTO UINT64_MAX

/* `text` as after -o: "a,b=c,...". Sets the defaults first. 0, -EINVAL,
 * -ERANGE, -ENAMETOOLONG. */
int mount_options_parse(const char *text, struct mount_options *ret,
			struct err *e);

/* Name, metavariable and a line of help of option `i`, for the man page's
 * check and for --help; false behind the last. */
bool mount_options_help(size_t i, const char **name, const char **arg,
			const char **help);

#endif
