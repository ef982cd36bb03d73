/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the verbs of `stagefs` that talk to a mount's control socket. */
#ifndef STAGEFS_FS_STATUS_CLI_H
#define STAGEFS_FS_STATUS_CLI_H

#include "common/cli.h"

/* status, list, fetch, evict, verify, why, upgrade; ends with a {0}. */
extern const struct cli_verb verbs_status[];

#endif
