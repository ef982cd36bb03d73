/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - one table: name, kind, range, where the value goes, help.
 *
 * Options that mount(8) and fstab(5) have for every file system are accepted
 * and ignored (the supervisor always mounts ro,nosuid,nodev), everything else
 * that is not in the table is an error: a misspelt capacity must not mean
 * "all of the disk".
 */
#include "fs/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/names.h"
#include "common/units.h"
#include "fs/device.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define DAY_MS (UINT64_C(24) * 3600 * 1000)
#define YEAR_MS (366 * DAY_MS)

enum kind {
	KIND_SIZE,
	KIND_SIZE_OR_NEVER, /* "never" is UINT64_MAX */
	KIND_SPAN,	    /* ms */
	KIND_COUNT,
	KIND_SPAN_OR_OFF,   /* "off" is UINT64_MAX */
	KIND_PATH,	    /* absolute */
	KIND_TEXT,
	KIND_NAME,
	KIND_SERVE,
	KIND_SWITCH,
	KIND_PARTS
};

struct option {
	const char *name;
	enum kind kind;
	size_t offset, size; /* of the field */
	uint64_t min, max;   /* of numbers */
	const char *arg, *help;
};

#define FIELD(f) offsetof(struct mount_options, f), \
	sizeof(((struct mount_options *)0)->f)

static const struct option table[] = {
	{"name", KIND_NAME, FIELD(name), 0, 0, "NAME",
	 "name of this server at the origin (default: host name)"},
	{"cache", KIND_PATH, FIELD(cache), 0, 0, "FOLDER",
	 "where images are stored (default: " OPTIONS_CACHE_DEFAULT ")"},
	{"capacity", KIND_SIZE, FIELD(capacity_bytes), MIB, UINT64_MAX,
	 "SIZE", "most that the cache may take (default: its file system)"},
	{"min-free", KIND_SIZE, FIELD(min_free_bytes), 0, UINT64_MAX - 1,
	 "SIZE", "kept free on the cache's file system (default: 1G, at most "
		 "5% of it)"},
	{"key", KIND_PATH, FIELD(key), 0, 0, "FILE",
	 "public key of the origin, PEM (default: trust the first one)"},
	{"ca", KIND_PATH, FIELD(ca), 0, 0, "FILE",
	 "certificates for https (default: the system's)"},
	{"fill-after", KIND_SIZE_OR_NEVER, FIELD(fill_after_bytes), 0,
	 UINT64_MAX, "SIZE",
	 "read bytes after which all of an image is fetched, or never "
	 "(default: 32M)"},
	{"look-ahead", KIND_SIZE, FIELD(look_ahead_bytes), MIB, 4 * GIB,
	 "SIZE", "fetched ahead of a reader (default: 32M)"},
	{"io-timeout", KIND_SPAN, FIELD(io_timeout_ms), 100, 3600 * 1000,
	 "TIME", "longest wait of a read while the origin is away (default: "
		 "30s)"},
	{"scrub", KIND_SPAN_OR_OFF, FIELD(scrub_ms), 1000, YEAR_MS,
	 "TIME|off", "read and compare all that is stored once in this time "
		     "(default: 30d)"},
	{"serve", KIND_SERVE, FIELD(serve_complete), 0, 0, "stream|complete",
	 "answer reads at once, or when the image is complete (default: "
	 "stream)"},
	{"passthrough", KIND_SWITCH, FIELD(passthrough), 0, 0, "on|off",
	 "let the kernel read complete images by itself (default: on)"},
	{"device", KIND_COUNT, FIELD(device), 1, DEVICE_MINOR_MAX, "NUMBER",
	 "minor device number of the mount, for NFS-Ganesha (default: any)"},
	{"memory", KIND_SIZE, FIELD(memory_bytes), 32 * MIB, TIB, "SIZE",
	 "for blocks in flight (default: 256M)"},
	{"user", KIND_TEXT, FIELD(user), 0, 0, "USER",
	 "user of the worker (default: " OPTIONS_USER_DEFAULT
	 " if it exists, else root)"},
	{"log", KIND_PATH, FIELD(log), 0, 0, "FILE",
	 "where to log (default: the system's log)"},
	{"debug", KIND_PARTS, FIELD(debug), 0, 0, "COMPONENT[+...]|all",
	 "log more of these: fetch, reader, cache, ..."},
};
#define TABLE_N (sizeof(table) / sizeof(table[0]))

static bool generic(const char *name)
{
	static const char *const names[] = {
		"rw",	    "ro",      "nosuid",   "suid",   "nodev",
		"dev",	    "noexec",  "exec",	   "noatime", "atime",
		"relatime", "norelatime", "nodiratime", "auto", "noauto",
		"nouser",   "users",   "defaults", "_netdev", "nofail",
		"user",	    "owner",   "group",	   "sync",   "async",
		"diratime", "dirsync", "strictatime", "nostrictatime",
		"lazytime", "nolazytime", "iversion", "noiversion",
		"mand",	    "nomand",  "silent",   "loud",   "nosymfollow",
		"symfollow", "nousers", "noowner", "nogroup",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* "x-systemd.automount", "comment=..." have any value. */
static bool generic_prefix(const char *name)
{
	return !strncmp(name, "x-", 2) || !strncmp(name, "X-", 2) ||
	       !strcmp(name, "comment");
}

static int set_text(const struct option *o, char *field, const char *value,
		    struct err *e)
{
	size_t n = strlen(value);

	if (n >= o->size)
		return err_set(e, ENAMETOOLONG,
			       "option %s: longer than %zu bytes", o->name,
			       o->size - 1);
	if (o->kind == KIND_PATH && value[0] != '/')
		return err_set(e, EINVAL,
			       "option %s=%s: give an absolute path", o->name,
			       value);
	memcpy(field, value, n + 1);
	return 0;
}

static int set_count(const struct option *o, uint64_t *field,
		     const char *value, struct err *e)
{
	char *end;
	unsigned long v = strtoul(value, &end, 10);

	if (*end || value[0] < '0' || value[0] > '9' || v < o->min ||
	    v > o->max)
		return err_set(e, ERANGE, "option %s=%s: takes %llu to %llu",
			       o->name, value, (unsigned long long)o->min,
			       (unsigned long long)o->max);
	*field = v;
	return 0;
}

static bool is_span(const struct option *o)
{
	return o->kind == KIND_SPAN || o->kind == KIND_SPAN_OR_OFF;
}

static int set_number(const struct option *o, uint64_t *field,
		      const char *value, struct err *e)
{
	char least[UNITS_TEXT], most[UNITS_TEXT];
	uint64_t v;
	int r;

	if (o->kind == KIND_SIZE_OR_NEVER && !strcmp(value, "never")) {
		*field = UINT64_MAX;
		return 0;
	}
	if (o->kind == KIND_SPAN_OR_OFF && !strcmp(value, "off")) {
		*field = UINT64_MAX;
		return 0;
	}
	if (is_span(o))
		r = units_parse_span(value, &v, e);
	else
		r = units_parse_size(value, &v, e);
	if (r < 0)
		return err_prefix(e, -r, "option %s=%s", o->name, value);
	if (v < o->min || v > o->max) {
		bool span = is_span(o);

		return err_set(e, ERANGE,
			       "option %s=%s: takes %s to %s", o->name, value,
			       span ? units_span(o->min, least)
				    : units_size(o->min, least),
			       span ? units_span(o->max, most)
				    : units_size(o->max, most));
	}
	*field = v;
	return 0;
}

static int set_serve(const struct option *o, bool *field, const char *value,
		     struct err *e)
{
	if (strcmp(value, "stream") && strcmp(value, "complete"))
		return err_set(e, EINVAL,
			       "option %s=%s: takes stream or complete",
			       o->name, value);
	*field = !strcmp(value, "complete");
	return 0;
}

static int set_switch(const struct option *o, bool *field,
		      const char *value, struct err *e)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return err_set(e, EINVAL, "option %s=%s: takes on or off",
			       o->name, value);
	*field = !strcmp(value, "on");
	return 0;
}

/* "fetch+cache": commas separate mount options. */
static int set_parts(const struct option *o, char *field, const char *value,
		     struct err *e)
{
	static const char *const parts[] = {
		"all",	 "agent",  "cache", "catalog", "control",
		"fetch", "kernel", "read",  "worker"};
	const size_t n_parts = sizeof(parts) / sizeof(parts[0]);
	size_t n, i;

	for (const char *p = value;; p += n + 1) {
		n = strcspn(p, "+");
		for (i = 0; i < n_parts; i++)
			if (strlen(parts[i]) == n && !memcmp(parts[i], p, n))
				break;
		if (i == n_parts)
			return err_set(e, EINVAL,
				       "option %s=%s: '%.*s' is none of agent, "
				       "cache, catalog, control, fetch, "
				       "kernel, read, worker, all", o->name,
				       value, (int)n, p);
		if (!p[n])
			break;
	}
	return set_text(o, field, value, e);
}

static int set(const struct option *o, struct mount_options *m,
	       const char *value, struct err *e)
{
	void *field = (char *)m + o->offset;
	int r;

	switch (o->kind) {
	case KIND_SIZE:
	case KIND_SIZE_OR_NEVER:
	case KIND_SPAN:
	case KIND_SPAN_OR_OFF:
		return set_number(o, field, value, e);
	case KIND_COUNT:
		return set_count(o, field, value, e);
	case KIND_SERVE:
		return set_serve(o, field, value, e);
	case KIND_SWITCH:
		return set_switch(o, field, value, e);
	case KIND_NAME:
		r = name_check_server(value, e);
		if (r < 0)
			return err_prefix(e, -r, "option name");
		return set_text(o, field, value, e);
	case KIND_PATH:
	case KIND_TEXT:
		return set_text(o, field, value, e);
	case KIND_PARTS:
		return set_parts(o, field, value, e);
	}
	return -EINVAL;
}

static int apply(struct mount_options *m, const char *name, const char *value,
		 struct err *e)
{
	for (size_t i = 0; i < TABLE_N; i++) {
		if (strcmp(table[i].name, name))
			continue;
		if (value && value[0])
			return set(&table[i], m, value, e);
		/* fstab's "user" (who may mount) is another thing. */
		if (!value && generic(name))
			return 0;
		return err_set(e, EINVAL, "option %s needs a value: %s=%s",
			       name, name, table[i].arg);
	}
	if (generic_prefix(name) || (!value && generic(name)))
		return 0;
	if (!value && !strcmp(name, "remount"))
		return err_set(e, EINVAL, "a mount keeps the options that it "
			       "was made with: umount and mount it instead of "
			       "remount");
	return err_set(e, EINVAL,
		       "unknown option %s: see stagefs(8) for those there are",
		       name);
}

static void set_defaults(struct mount_options *m)
{
	*m = (struct mount_options){
		.cache = OPTIONS_CACHE_DEFAULT,
		.min_free_bytes = OPTIONS_MIN_FREE_AUTO,
		/* `file` of Debian 12 reads 7 MiB of a file's beginning and 7
		 * of its end, the kernel some more, in whole blocks: 17 MiB
		 * for one look. */
		.fill_after_bytes = 32 * MIB,
		.look_ahead_bytes = 32 * MIB,
		.memory_bytes = 256 * MIB,
		.io_timeout_ms = 30 * 1000,
		.scrub_ms = 30 * DAY_MS,
		.passthrough = true,
	};
}

int mount_options_parse(const char *text, struct mount_options *ret,
			struct err *e)
{
	CLEAN_FREE struct mount_options *m = malloc(sizeof(*m));
	CLEAN_FREE char *copy = strdup(text);
	char *rest = copy, *word;
	int r;

	if (!m || !copy)
		return err_set(e, ENOMEM, "out of memory");
	set_defaults(m);
	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');

		if (!word[0])
			continue;
		if (value)
			*value++ = 0;
		r = apply(m, word, value, e);
		if (r < 0)
			return r;
	}
	/* Commas separate mount options, so components are given with '+'. */
	for (char *p = m->debug; *p; p++)
		if (*p == '+')
			*p = ',';
	*ret = *m;
	return 0;
}

bool mount_options_help(size_t i, const char **name, const char **arg,
			const char **help)
{
	if (i >= TABLE_N)
		return false;
	*name = table[i].name;
	*arg = table[i].arg;
	*help = table[i].help;
	return true;
}
