/* SPDX-License-Identifier: Apache-2.0 */
#include "origin/cli/verbs.h"

const struct cli_verb verbs_image[] = {{0}};
