/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/status/cli.h"

#include "fs/status/verbs.h"

const struct cli_verb verbs_status[] = {
	{
		.name = "status",
		.args = "DIR",
		.summary = "Show how a mount is doing",
		.option = status_options,
		.run = status_run,
		.min_args = 1,
		.max_args = 1,
	},
	{
		.name = "list",
		.args = "DIR",
		.summary = "List the images that are stored here",
		.run = list_run,
		.min_args = 1,
		.max_args = 1,
		.table = list_columns,
		.details = "In stored order, which is the order of eviction.",
	},
	{
		.name = "fetch",
		.args = "DIR NAME",
		.summary = "Fetch an image whole, and wait for it",
		.run = fetch_run,
		.min_args = 2,
		.max_args = 2,
		.details = "NAME as in the catalog, \"win11/base.wim\". Ends "
			   "when every block is stored and\nverified. "
			   "Interrupted, it keeps what is stored.",
	},
	{
		.name = "evict",
		.args = "DIR NAME",
		.summary = "Delete the stored bytes of an image",
		.option = evict_options,
		.run = evict_run,
		.min_args = 2,
		.max_args = 2,
		.details = "The image stays in the catalog; the next reader "
			   "fetches it again.",
	},
	{
		.name = "verify",
		.args = "DIR [NAME]",
		.summary = "Read what is stored from the disk, compare, mend",
		.run = verify_run,
		.min_args = 1,
		.max_args = 2,
		.table = verify_columns,
		.details = "Bad blocks are forgotten and fetched again. Exit "
			   "status 1 if that failed.",
	},
	{
		.name = "why",
		.args = "DIR NAME",
		.summary = "Say why an image is here, or is not",
		.option = why_options,
		.run = why_run,
		.min_args = 2,
		.max_args = 2,
		.details = "Whether it is published, what is stored of it, who "
			   "wants it, what it waits for,\nwhether it fits, "
			   "where it stands in the order of eviction, and why "
			   "it went last.",
	},
	{
		.name = "upgrade",
		.args = "DIR",
		.summary = "Go on with the version that is installed now",
		.run = upgrade_run,
		.min_args = 1,
		.max_args = 1,
		.details = "Without unmounting: open files stay open, readers "
			   "see a short pause. If the new\nversion does not "
			   "run, the old one goes on.",
	},
	{0},
};
