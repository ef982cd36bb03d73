/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include "origin/cli/verbs.h"

int main(int argc, char **argv)
{
	/* A client or a pager that goes away is an error of one write. */
	signal(SIGPIPE, SIG_IGN);
	return cli_main("stagefs-origin",
			"Publishes images to production servers and plans "
			"which server needs which image when",
			origin_options, origin_verbs(), NULL, argc, argv);
}
