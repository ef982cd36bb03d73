/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - what the verbs of `server` share. */
#ifndef STAGEFS_ORIGIN_CLI_SERVER_H
#define STAGEFS_ORIGIN_CLI_SERVER_H

#include "common/cli.h"
#include "origin/servers/servers.h"

#define SERVER_STATE_TEXT 48

bool server_is_silent(const struct server *s);
/* "online", "silent 3d4h" */
const char *server_state_text(const struct server *s,
			      char out[SERVER_STATE_TEXT]);

extern const struct table_column server_show_columns[];
int server_show_run(struct cli_context *c);

#endif
