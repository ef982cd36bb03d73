/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - `stagefs`: mount (also as mount.stagefs, for mount(8)), umount,
 * the verbs that ask a mount, and, hidden, the worker.
 *
 * `stagefs umount` is umount(2) that also waits for the end of the processes,
 * so that the cache is free when it returns.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/cli.h"
#include "common/clock.h"
#include "fs/mount.h"
#include "fs/status/ask.h"
#include "fs/status/cli.h"
#include "fs/status/control.h"
#include "fs/worker.h"

#define END_MS 15000 /* the supervisor gives its worker 5 s */

static const char about[] = "images of a stagefs origin, mounted";

/* For --help only: see main. */
static int run_mount(struct cli_context *c)
{
	return cli_usage(c, "takes an origin's URL and a mount point");
}

/* Absolute, without asking the mount itself: its parent is asked. */
static int mount_path(const char *dir, char out[PATH_MAX])
{
	CLEAN_FREE char *copy = strdup(dir);
	char parent[PATH_MAX], *slash;
	size_t n;

	if (!copy)
		return -ENOMEM;
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = 0;
	slash = strrchr(copy, '/');
	if (slash)
		*slash = 0;
	if (!realpath(slash ? (slash == copy ? "/" : copy) : ".", parent))
		return -errno;
	if ((size_t)snprintf(out, PATH_MAX, "%s/%s",
			     strcmp(parent, "/") ? parent : "",
			     slash ? slash + 1 : copy) >= PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

static int run_umount(struct cli_context *c)
{
	int flags = UMOUNT_NOFOLLOW | (cli_flag(c, "lazy") ? MNT_DETACH : 0);
	char path[PATH_MAX], found[PATH_MAX], socket[CONTROL_PATH_MAX];
	uint64_t until;
	struct stat st;
	struct err e;
	int r = mount_path(c->arg[0], path);

	if (r < 0)
		return cli_fail(c, "%s: %s", c->arg[0], strerror(-r));
	/* Exactly there: a folder below must not take the mount away. */
	if (ask_find_mount(path, NULL, found, sizeof(found), &e) < 0 ||
	    strcmp(found, path))
		return cli_fail(c, "%s: no stagefs is mounted there", path);
	if (umount2(path, flags) < 0)
		return cli_fail(c, "%s: %s", path,
				errno == EBUSY ? "files are open: close them, "
						 "or use --lazy"
					       : strerror(errno));
	if (flags & MNT_DETACH)
		return 0; /* it ends when the last file is closed */
	until = clock_mono_ns() + END_MS * NS_PER_MS;
	/* The supervisor takes its socket away as the last thing. */
	while (lstat(control_path(path, socket), &st) == 0) {
		if (ask_is_dead(path)) {
			unlink(socket); /* it was killed */
			break;
		}
		if (clock_mono_ns() > until)
			return cli_fail(c, "%s: unmounted, but its processes "
					"are still at work", path);
		nanosleep(&(struct timespec){.tv_nsec = 10 * NS_PER_MS}, NULL);
	}
	return 0;
}

static const struct cli_option mount_options[] = {
	{"options", 'o', "OPTIONS", "mount options, see stagefs(8)"},
	{"foreground", 'F', NULL, "stay in the foreground, log to stderr"},
	{0},
};

static const struct cli_option umount_options[] = {
	{"lazy", 'l', NULL, "detach now, end when the last file is closed"},
	{0},
};

static const struct cli_verb own_verbs[] = {
	{.name = "mount",
	 .args = "URL[,URL...] DIR [-o OPTION[,OPTION...]]",
	 .summary = "Mount the images of an origin",
	 .option = mount_options,
	 .run = run_mount,
	 .max_args = -1},
	{.name = "umount",
	 .args = "DIR",
	 .summary = "Unmount, and wait until the cache is free",
	 .option = umount_options,
	 .run = run_umount,
	 .min_args = 1,
	 .max_args = 1},
};

#define VERBS_MAX 24

int main(int argc, char **argv)
{
	static struct cli_verb verbs[VERBS_MAX + 1];
	size_t n = 0;

	if (argc > 0 && !strcmp(basename(argv[0]), "mount.stagefs"))
		return mount_main(argc, argv);
	if (argc > 2 && !strcmp(argv[1], "mount") &&
	    strcmp(argv[2], "--help") && strcmp(argv[2], "-h"))
		return mount_main(argc - 1, argv + 1);
	for (size_t i = 0; i < sizeof(own_verbs) / sizeof(own_verbs[0]); i++)
		verbs[n++] = own_verbs[i];
	for (size_t i = 0; verbs_status[i].name && n < VERBS_MAX - 1; i++)
		verbs[n++] = verbs_status[i];
	verbs[n++] = verb_worker;
	return cli_main("stagefs", about, NULL, verbs, NULL, argc, argv);
}
