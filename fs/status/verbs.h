/* SPDX-License-Identifier: Apache-2.0 */
/* verbs.h - the parts of verbs_status (cli.h), a file each. */
#ifndef STAGEFS_FS_STATUS_VERBS_H
#define STAGEFS_FS_STATUS_VERBS_H

#include <jansson.h>

#include "common/cli.h"

extern const struct cli_option status_options[];
int status_run(struct cli_context *c);
void metrics_print(const json_t *status);

extern const struct table_column list_columns[];
int list_run(struct cli_context *c);

int fetch_run(struct cli_context *c);
extern const struct cli_option evict_options[];
int evict_run(struct cli_context *c);
extern const struct table_column verify_columns[];
int verify_run(struct cli_context *c);
extern const struct cli_option why_options[];
int why_run(struct cli_context *c);
int upgrade_run(struct cli_context *c);

#endif
