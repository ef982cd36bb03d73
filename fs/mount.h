/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.h - `stagefs mount`, which is also mount.stagefs: from arguments as
 * mount(8) gives them to its helpers, to a supervisor.
 *
 *	mount.stagefs SOURCE DIR [-sfnvF] [-N ns] [-t type] [-o a,b=c]
 */
#ifndef STAGEFS_FS_MOUNT_H
#define STAGEFS_FS_MOUNT_H

#include <limits.h>
#include <stdbool.h>

#include "common/err.h"
#include "fs/options.h"

/* Exit status as mount(8) has it. */
#define MOUNT_EXIT_USAGE 1
#define MOUNT_EXIT_SYSTEM 2
/* As the verb `stagefs mount`, like all verbs (common/cli.h). */
#define VERB_EXIT_USAGE 2

/* argv[0] is the program or the verb. Returns the exit status, or becomes the
 * supervisor. */
int mount_main(int argc, char **argv);

/* ---- between mount.c and mount_start.c ---- */

struct mount_call {
	const char *source;   /* as given: URLs */
	char point[PATH_MAX]; /* absolute, no symlinks */
	char *text;	      /* -o, joined */
	struct mount_options o;
	const char *resume; /* state of the supervisor before us, or NULL */
	unsigned minor;	    /* of the mount, if it is made already; else 0 */
	bool foreground;
	bool fake;  /* only check */
	bool over;  /* done already: --help and the like */
	bool wrong; /* typed wrongly */
};

/* Becomes the supervisor's program, to have it say whether it is of this
 * version. Returns if there is none that runs. */
void mount_ask_supervisor(void);
/* Both return the exit status, or become the supervisor. */
int mount_start(struct mount_call *c);
int mount_resume(struct mount_call *c);

#endif
