/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h - one line on a terminal: bar, bytes, rate, time left. Quiet if
 * stderr is not a terminal. Redrawn at most ten times a second. progress_set
 * may be called from any thread.
 *
 *	win11.wim  [#########-------]  57%  5.4G/9.5G  812M/s  5s left
 */
#ifndef STAGEFS_COMMON_PROGRESS_H
#define STAGEFS_COMMON_PROGRESS_H

#include <stdint.h>

struct progress;

struct progress *progress_new(const char *label, uint64_t total_bytes);
void progress_set(struct progress *p, uint64_t done_bytes);
void progress_add(struct progress *p, uint64_t bytes);
/* Clears the line, frees. NULL is fine. */
void progress_free(struct progress *p);

#endif
