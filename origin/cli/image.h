/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - the verbs of `image` that have a file of their own. */
#ifndef STAGEFS_ORIGIN_CLI_IMAGE_H
#define STAGEFS_ORIGIN_CLI_IMAGE_H

#include <signal.h>

#include "common/cli.h"

extern const struct cli_option image_add_options[], image_verify_options[];
extern const struct table_column image_show_columns[], image_verify_columns[];
int image_add_run(struct cli_context *c);
int image_show_run(struct cli_context *c);
int image_verify_run(struct cli_context *c);

/* From now on SIGINT, SIGTERM and SIGHUP set the flag, so that long work can
 * clean up; a second one ends the process. */
const volatile sig_atomic_t *interrupt_arm(void);

#endif
