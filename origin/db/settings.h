/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - values of the table `setting` as what they are. Each takes the
 * default as text, for a setting that is not there or "" (so the daemon notes
 * what it was not given). Who writes a setting checks it first; one that is
 * wrong all the same is an error with its name, for no guess would be what was
 * meant.
 */
#ifndef STAGEFS_ORIGIN_DB_SETTINGS_H
#define STAGEFS_ORIGIN_DB_SETTINGS_H

#include "common/db.h"

/* The longest of spans: of the plan, and of how long history is kept. */
#define SETTING_SPAN_MAX_S (INT64_C(366) * 86400)
#define SETTING_HOLD_DEFAULT "24h"
#define SETTING_HISTORY_DEFAULT "90d"
#define SETTING_HISTORY_MIN_S (INT64_C(86400))
#define SETTING_HISTORY_MAX_S (INT64_C(3660) * 86400)

/* malloc'd */
int setting_text(struct db *db, const char *name, const char *fallback,
		 char **ret, struct err *e);
/* -ERANGE above `max_s`. */
int setting_span(struct db *db, const char *name, const char *fallback,
		 int64_t max_s, int64_t *ret_s, struct err *e);
/* Also of the form "eth0=10Gbit/s". 0: unlimited, or "". */
int setting_rate(struct db *db, const char *name, const char *fallback,
		 uint64_t *ret, struct err *e);
/* "20%" as 0.2 */
int setting_part(struct db *db, const char *name, const char *fallback,
		 double *ret, struct err *e);

#endif
