/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - the log of both daemons: lines on stderr, "component: text".
 *
 * With JOURNAL_STREAM in the environment each line starts with "<N>" (see
 * sd-daemon(3)); else with a time and a level. Thread safe, one write(2) per
 * line. State changes are logged once, events are counted (metrics).
 *
 * debug lines of a component are printed if it is named in log_set_debug()
 * ("fetch,cache" or "all").
 */
#ifndef STAGEFS_COMMON_LOG_H
#define STAGEFS_COMMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_LVL_ERR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

/* Set once before threads start. `components` may be NULL. */
void log_set_debug(const char *components);
/* Send lines to this descriptor instead of stderr (the worker's log). */
void log_set_fd(int fd);
bool log_debug_on(const char *component);

void log_write(enum log_level level, const char *component, const char *fmt,
	       ...) __attribute__((format(printf, 3, 4)));

#define log_err(c, ...) log_write(LOG_LVL_ERR, c, __VA_ARGS__)
#define log_warn(c, ...) log_write(LOG_LVL_WARN, c, __VA_ARGS__)
#define log_info(c, ...) log_write(LOG_LVL_INFO, c, __VA_ARGS__)
#define log_debug(c, ...)                                            \
	do {                                                         \
		if (log_debug_on(c))                                 \
			log_write(LOG_LVL_DEBUG, c, __VA_ARGS__);    \
	} while (0)

#endif
