/* SPDX-License-Identifier: Apache-2.0 */
/* order.h - `order list`, for the table of the verbs of `order`. */
#ifndef STAGEFS_ORIGIN_CLI_ORDER_H
#define STAGEFS_ORIGIN_CLI_ORDER_H

#include "common/cli.h"

extern const struct table_column order_list_columns[];
extern const struct cli_option order_list_options[];
int order_list_run(struct cli_context *c);

#endif
