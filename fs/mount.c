/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.c - arguments and checks of a mount, as root and once. The options are
 * checked a second time by the worker, which is started with them again and
 * again; checked here, a typing error costs no log file and no socket.
 *
 * mount(8) uses -f for "fake", so the foreground is -F.
 */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cage.h"
#include "fs/status/ask.h"
#include "fs/supervisor/wire.h"

static const char usage[] =
	"usage: mount.stagefs URL[,URL...] DIR [-F] [-o OPTION[,OPTION...]]\n"
	"\n"
	"Mounts the images of a stagefs origin at DIR; called by mount(8) for\n"
	"\"mount -t stagefs URL DIR\". See stagefs(8) for the options.\n"
	"\n"
	"  -o OPTIONS         mount options, separated by commas\n"
	"  -F, --foreground   stay in the foreground, log to stderr\n"
	"  -f                 check the arguments only (mount -f)\n"
	"  -n, -s, -v         accepted for mount(8), without effect\n"
	"  -h, --help         show this\n"
	"  -V, --version      show the version\n";

/* ---- arguments ----------------------------------------------------------- */

static int join(char **all, const char *more, struct err *e)
{
	char *text;

	if (asprintf(&text, "%s%s%s", *all ? *all : "", *all ? "," : "",
		     more) < 0)
		return err_set(e, ENOMEM, "out of memory");
	free(*all);
	*all = text;
	return 0;
}

static int letter(struct mount_call *c, int opt, struct err *e)
{
	switch (opt) {
	case 'o':
		return join(&c->text, optarg, e);
	case 'F':
		c->foreground = true;
		return 0;
	case 'f':
		c->fake = true;
		return 0;
	case 'R':
		c->resume = optarg;
		return 0;
	case 'C':
		if (strcmp(optarg, SUPERVISOR_COMPAT) == 0)
			mount_ask_supervisor();
		return err_set(e, EPROTO, "cannot take over from %s", optarg);
	case 'h':
		c->over = true;
		fputs(usage, stdout);
		return 0;
	case 'V':
		c->over = true;
		puts("mount.stagefs " STAGEFS_VERSION);
		return 0;
	default: /* -n -s -v -N -t: mount(8) has done what they ask */
		return 0;
	}
}

static int parse(struct mount_call *c, int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, 'F'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{"resume", required_argument, NULL, 'R'},
		{"can-resume", required_argument, NULL, 'C'},
		{0}};
	int opt, r = 0;

	opterr = 0;
	while (!r && !c->over &&
	       (opt = getopt_long(argc, argv, "o:N:t:fFnsvhV", longs, NULL)) !=
		       -1) {
		if (opt == '?')
			return err_set(e, EINVAL,
				       "unknown argument %s; see "
				       "mount.stagefs --help",
				       argv[optind - 1]);
		r = letter(c, opt, e);
	}
	if (r || c->over)
		return r;
	if (argc - optind != 2)
		return err_set(e, EINVAL,
			       "takes an origin's URL and a mount point; see "
			       "mount.stagefs --help");
	c->source = argv[optind];
	if (snprintf(c->point, sizeof(c->point), "%s", argv[optind + 1]) >=
	    PATH_MAX)
		return err_set(e, ENAMETOOLONG, "mount point %s: %s",
			       argv[optind + 1], strerror(ENAMETOOLONG));
	return c->text ? 0 : join(&c->text, "", e);
}

/* ---- checks -------------------------------------------------------------- */

/* Type of what is mounted there last; the mount itself is not asked. */
static bool find_mount(const char *point, char type[64])
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (f && (m = getmntent(f))) {
		if (strcmp(m->mnt_dir, point) != 0)
			continue;
		snprintf(type, 64, "%s", m->mnt_type);
		found = true;
	}
	if (f)
		endmntent(f);
	return found;
}

static int check_point(struct mount_call *c, struct err *e)
{
	char given[PATH_MAX], type[64];
	struct statx x;

	memcpy(given, c->point, sizeof(given));
	if (!realpath(given, c->point))
		return err_set(e, errno, "mount point %s: %s", given,
			       errno == ENOTCONN
				       ? "a mount whose server has gone: "
					 "umount it"
				       : strerror(errno));
	/* Of one whose supervisor was killed only the name is left. */
	if (find_mount(c->point, type) && !strcmp(type, "fuse.stagefs") &&
	    ask_is_dead(c->point))
		umount2(c->point, MNT_DETACH | UMOUNT_NOFOLLOW);
	/* autofs is where systemd waits for us to mount. */
	if (find_mount(c->point, type) && strcmp(type, "autofs") != 0)
		return err_set(e, EBUSY,
			       "%s is a mount point in use (%s): umount it "
			       "first", c->point, type);
	if (statx(AT_FDCWD, c->point, AT_NO_AUTOMOUNT, STATX_TYPE, &x) < 0)
		return err_set(e, errno, "mount point %s: %s", c->point,
			       strerror(errno));
	if (!S_ISDIR(x.stx_mode))
		return err_set(e, ENOTDIR, "mount point %s is not a folder",
			       c->point);
	return 0;
}

/* Is `path`, or the part of it that exists, the mount point or below it? */
static bool lies_below(const char *path, const char *point)
{
	char part[PATH_MAX], real[PATH_MAX];
	size_t n = strlen(point);

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return false;
	while (!realpath(part, real)) {
		char *slash = strrchr(part, '/');

		if (!slash || errno != ENOENT)
			return false;
		slash[slash == part] = 0;
	}
	return !strncmp(real, point, n) &&
	       (real[n] == '/' || real[n] == 0 || n == 1);
}

static int check(struct mount_call *c, struct err *e)
{
	const char *reached;
	int r = check_point(c, e);

	if (r < 0)
		return r;
	if (lies_below(c->o.cache, c->point))
		return err_set(e, EINVAL,
			       "cache=%s lies below the mount point: choose a "
			       "folder outside of it", c->o.cache);
	if (c->o.log[0] && lies_below(c->o.log, c->point))
		return err_set(e, EINVAL,
			       "log=%s lies below the mount point: choose a "
			       "file outside of it", c->o.log);
	if (geteuid() != 0)
		return err_set(e, EPERM, "only root can mount");
	reached = cage_covers(c->point, c->o.cache);
	if (reached)
		return err_set(e, EINVAL,
			       "mount point %s lies below %s, which its own "
			       "worker may read: choose one outside of it",
			       c->point, reached);
	return 0;
}

/* ---- the whole ----------------------------------------------------------- */

static int run(struct mount_call *c, int argc, char **argv, struct err *e)
{
	int r = parse(c, argc, argv, e);

	if (r == 0 && !c->over && !c->resume)
		r = mount_options_parse(c->text, &c->o, e);
	c->wrong = r < 0;
	if (r < 0 || c->over || c->resume)
		return r;
	return check(c, e);
}

int mount_main(int argc, char **argv)
{
	static struct mount_call c; /* the supervisor's arguments are in it */
	struct err e;

	if (run(&c, argc, argv, &e) < 0) {
		fprintf(stderr, "mount.stagefs: %s\n", e.text);
		/* As a verb, `stagefs mount`, it is one like the others. */
		return c.wrong && !strcmp(argv[0], "mount") ? VERB_EXIT_USAGE
							    : MOUNT_EXIT_USAGE;
	}
	if (c.over || c.fake)
		return 0;
	return c.resume ? mount_resume(&c) : mount_start(&c);
}
