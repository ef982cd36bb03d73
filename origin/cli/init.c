/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "origin/cli/verbs.h"

static int run_init(struct cli_context *c)
{
	const char *dir = verb_store_dir(c);
	CLEAN_STORE struct store *s = NULL;
	char key[SIGN_KEY_TEXT];
	struct err e;

	if (store_init(dir, &e) || store_open(dir, &s, &e))
		return cli_fail(c, "%s", e.text);
	printf("%s: new store %s\nkey: %s (in %s/key.pub)\n", dir, s->uuid,
	       sign_public_text(&s->key.pub, key), dir);
	return 0;
}

const struct cli_verb verb_init = {
	.name = "init",
	.summary = "make a new store",
	.run = run_init,
	.details =
		"Makes the folder if it is missing, the database, and the pair "
		"of keys that signs the catalog. Copy key.pub to the "
		"production servers and mount with key=FILE, or let each "
		"trust the first key it sees.",
};
