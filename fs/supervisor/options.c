/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - arguments as mount(8) gives them to its helpers:
 *
 *	mount.stagefs SOURCE DIR [-sfnv] [-N ns] [-t type] [-o a,b=c]
 *
 * Options are validated by the worker, which has the parsers of units, keys
 * and names; a table here too would be a second truth. The supervisor picks
 * out the two that it needs itself: where its log goes, and whether something
 * of ours would lie below our own mount point, where every access to it
 * would wait for ourselves.
 *
 * mount(8) uses -f for "fake", so the foreground is -F.
 */
#include "fs/supervisor/supervisor.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static char *join(char *all, const char *more)
{
	char *text;

	if (!all)
		return strdup(more);
	if (asprintf(&text, "%s,%s", all, more) < 0)
		text = NULL;
	free(all);
	return text;
}

/* The last value of `name` in -o text, malloc'd; NULL if it is not there. */
static char *value_of(const char *text, const char *name)
{
	size_t n = strlen(name);
	char *value = NULL;

	while (text && *text) {
		size_t len = strcspn(text, ",");

		if (len > n && !strncmp(text, name, n) && text[n] == '=') {
			free(value);
			value = strndup(text + n + 1, len - n - 1);
		}
		text += len + (text[len] == ',');
	}
	return value;
}

/* Is `path`, or the part of it that exists, `dir` or below it? */
static bool lies_below(const char *path, const char *dir)
{
	char part[PATH_MAX], real[PATH_MAX];
	size_t n = strlen(dir);

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return false;
	while (!realpath(part, real)) {
		char *slash = strrchr(part, '/');

		if (!slash || errno != ENOENT)
			return false;
		slash[slash == part] = 0;
	}
	return !strncmp(real, dir, n) &&
	       (real[n] == '/' || real[n] == 0 || n == 1);
}

static int check_paths(const struct options *o, char why[LINE_MAX_BYTES])
{
	if (o->cache && lies_below(o->cache, o->mountpoint))
		return refuse(why, EXIT_USAGE,
			      "cache=%s lies below the mount point: choose a "
			      "folder outside of it",
			      o->cache);
	if (!o->log)
		return 0;
	if (o->log[0] != '/')
		return refuse(why, EXIT_USAGE,
			      "log=%s: give an absolute path", o->log);
	if (lies_below(o->log, o->mountpoint))
		return refuse(why, EXIT_USAGE,
			      "log=%s lies below the mount point: choose a "
			      "file outside of it",
			      o->log);
	return 0;
}

static int parse_letters(struct options *o, int argc, char **argv,
			 char why[LINE_MAX_BYTES])
{
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, 'F'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0}};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "o:N:t:fFnsvhV", longs, NULL)) !=
	       -1) {
		switch (c) {
		case 'o':
			o->text = join(o->text, optarg);
			if (!o->text)
				return refuse(why, EXIT_SYSTEM, "%s",
					      strerror(ENOMEM));
			break;
		case 'F':
			o->foreground = true;
			break;
		case 'f':
			o->fake = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			puts("mount.stagefs " STAGEFS_VERSION);
			exit(0);
		case '?':
			return refuse(why, EXIT_USAGE,
				      "unknown argument %s; see "
				      "mount.stagefs --help",
				      argv[optind - 1]);
		default: /* -n -s -v -N -t: mount(8) has done what they ask */
			break;
		}
	}
	return 0;
}

int options_parse(struct options *o, int argc, char **argv,
		  char why[LINE_MAX_BYTES])
{
	int r;

	memset(o, 0, sizeof(*o));
	r = parse_letters(o, argc, argv, why);
	if (r)
		return r;
	if (argc - optind != 2)
		return refuse(why, EXIT_USAGE,
			      "takes an origin's URL and a mount point; see "
			      "mount.stagefs --help");
	o->source = argv[optind];
	if (!o->text)
		o->text = strdup("");
	r = mount_check_point(argv[optind + 1], o->mountpoint, why);
	if (r)
		return r;
	o->log = value_of(o->text, "log");
	o->cache = value_of(o->text, "cache");
	return check_paths(o, why);
}
