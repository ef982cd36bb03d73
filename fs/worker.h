/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.h - the process that serves a mount, from its start by the
 * supervisor (fs/supervisor/wire.h) to the umount.
 */
#ifndef STAGEFS_FS_WORKER_H
#define STAGEFS_FS_WORKER_H

#include "common/cli.h"

/* `stagefs worker`: hidden, started by mount.stagefs only. */
extern const struct cli_verb verb_worker;

#endif
