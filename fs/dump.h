/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump.h - what a worker that hangs is doing: its threads, their stacks, a few
 * figures, into its log. By `kill -USR1`, at any time.
 */
#ifndef STAGEFS_FS_DUMP_H
#define STAGEFS_FS_DUMP_H

#include <stdbool.h>
#include <stdint.h>

/* In the worker: SIGUSR1 writes every thread's stack to stderr. Before there
 * are threads. */
void dump_prepare(void);
/* One more figure for it; read without a lock. Both for good. */
void dump_figure(const char *name, const uint64_t *value);

/* Does any thread of this process sit in the kernel and waits for a disk? (It
 * cannot be killed then either.) */
bool dump_at_disk(void);

/* From another process (root): what the kernel knows of each thread of `pid`;
 * then has it tell its own part. Ends after about a second. */
int dump_process(int pid);

#endif
