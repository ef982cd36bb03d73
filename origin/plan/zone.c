/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone.c - one question is asked of libical: the offset of a zone at a moment.
 * All else follows from it. A wall time is tried with the offsets of the day
 * before and of the day after; those that lead back to the same wall time are
 * its moments: none in a gap, two where clocks went back. (libical's own
 * conversion of wall times picks one silently.)
 *
 * The C library knows zones as well, but only one at a time, through TZ, for
 * the whole process.
 *
 * libical's tables grow while they are read: everything runs under one lock,
 * which is held over reading a zone's file of a few KiB the first time it is
 * used. Those who wait for it would have to read it themselves.
 */
#include "origin/plan/zone.h"

#include <errno.h>
#include <libical/ical.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/lock.h"
#include "origin/locks.h"

#define OFFSET_MAX_S (18 * 3600)
#define DAY_S 86400

static struct lock zones = {PTHREAD_MUTEX_INITIALIZER, LOCK_ZONES};

/* Under `zones`. A plan uses few zones; libical searches hundreds. */
static struct {
	char name[ZONE_MAX];
	icaltimezone *zone;
} known[16];
static unsigned n_known;

/* ---- names ------------------------------------------------------------- */

/* The part after ".../zoneinfo/" of a path. */
static const char *after_zoneinfo(const char *path)
{
	const char *at = strstr(path, "/zoneinfo/");

	return at ? at + strlen("/zoneinfo/") : NULL;
}

/* What becomes part of a path in libical: nothing but a plain name. */
static bool plain_name(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n >= ZONE_MAX || strstr(s, "..") || *s == '/')
		return false;
	return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			 "0123456789_+-/") == n;
}

/* "+02:00"; at most 18 hours, as RFC 3339 and everybody else has it. */
static bool parse_offset(const char *s, int32_t *ret)
{
	static const char shape[] = "+00:00";
	int h, m;

	if ((*s != '+' && *s != '-') || strlen(s) != strlen(shape))
		return false;
	for (size_t i = 1; shape[i]; i++)
		if (shape[i] == ':' ? s[i] != ':' : s[i] < '0' || s[i] > '9')
			return false;
	h = (s[1] - '0') * 10 + s[2] - '0';
	m = (s[4] - '0') * 10 + s[5] - '0';
	if (m > 59 || h * 3600 + m * 60 > OFFSET_MAX_S)
		return false;
	*ret = (h * 3600 + m * 60) * (*s == '-' ? -1 : 1);
	return true;
}

const char *zone_offset_text(int32_t offset_s, char out[ZONE_MAX])
{
	int32_t m = abs(offset_s) / 60;

	snprintf(out, ZONE_MAX, "%c%02d:%02d", offset_s < 0 ? '-' : '+',
		 (int)(m / 60), (int)(m % 60));
	return out;
}

static icaltimezone *find_locked(const char *name)
{
	icaltimezone *z;
	struct icaltimetype t = {.year = 2000, .month = 1, .day = 1};

	lock_assert_held(&zones);
	for (unsigned i = 0; i < n_known; i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].zone;
	icalerror_set_errors_are_fatal(0);
	z = icaltimezone_get_builtin_timezone(name);
	/* It may know the name and have no file: then it counts as UTC. */
	if (!z || !icaltimezone_get_component(z))
		return NULL;
	icaltimezone_get_utc_offset_of_utc_time(z, &t, NULL);
	if (n_known < sizeof(known) / sizeof(known[0])) {
		snprintf(known[n_known].name, ZONE_MAX, "%s", name);
		known[n_known++].zone = z;
	}
	return z;
}

static bool is_utc(const char *zone)
{
	return strcmp(zone, "UTC") == 0 || strcmp(zone, "Etc/UTC") == 0 ||
	       strcmp(zone, "Z") == 0;
}

int zone_check(const char *zone, struct err *e)
{
	int32_t offset;
	bool found;

	if (*zone == '\0' || is_utc(zone) || parse_offset(zone, &offset))
		return 0;
	if (!plain_name(zone))
		return err_set(e, EINVAL,
			       "'%s' is not a time zone: write one like "
			       "Europe/Berlin, UTC or +02:00",
			       zone);
	lock_take(&zones);
	found = find_locked(zone) != NULL;
	lock_give(&zones);
	if (found)
		return 0;
	if (access("/usr/share/zoneinfo/zone.tab", R_OK))
		return err_set(e, EINVAL,
			       "time zone '%s': there is no tz database on "
			       "this machine: install tzdata, or write UTC or "
			       "an offset like +02:00",
			       zone);
	return err_set(e, EINVAL,
		       "there is no time zone '%s': write one like "
		       "Europe/Berlin, UTC or +02:00 (`timedatectl "
		       "list-timezones` lists them)",
		       zone);
}

const char *zone_local(char out[ZONE_MAX])
{
	char path[256];
	const char *tz = getenv("TZ"), *name = NULL;
	ssize_t n;

	if (tz && *tz) {
		tz += *tz == ':';
		name = *tz == '/' ? after_zoneinfo(tz) : tz;
	} else {
		n = readlink("/etc/localtime", path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		name = after_zoneinfo(path);
	}
	if (!name || !*name || zone_check(name, NULL))
		name = "UTC";
	if (is_utc(name))
		name = "UTC";
	snprintf(out, ZONE_MAX, "%s", name);
	return out;
}

/* ---- offsets ----------------------------------------------------------- */

int32_t zone_offset(const char *zone, int64_t unix_s)
{
	char local[ZONE_MAX];
	struct tm tm;
	time_t t = unix_s;
	struct icaltimetype it = {0};
	int32_t offset = 0;
	icaltimezone *z;

	if (*zone == '\0')
		zone = zone_local(local);
	if (is_utc(zone) || parse_offset(zone, &offset))
		return offset;
	if (!plain_name(zone) || !gmtime_r(&t, &tm))
		return 0;
	it.year = tm.tm_year + 1900;
	if (it.year < ZONE_YEAR_MIN - 1 || it.year > ZONE_YEAR_MAX + 1)
		it.year = it.year < ZONE_YEAR_MIN ? ZONE_YEAR_MIN
						  : ZONE_YEAR_MAX;
	it.month = tm.tm_mon + 1;
	it.day = tm.tm_mday;
	it.hour = tm.tm_hour;
	it.minute = tm.tm_min;
	it.second = tm.tm_sec;

	LOCK_SCOPE(&zones);
	z = find_locked(zone);
	if (z)
		offset = icaltimezone_get_utc_offset_of_utc_time(z, &it, NULL);
	return offset;
}

void zone_wall(const char *zone, int64_t unix_s, struct tm *ret)
{
	time_t t = unix_s + zone_offset(zone, unix_s);

	memset(ret, 0, sizeof(*ret));
	gmtime_r(&t, ret);
}

enum zone_fold zone_unwall(const char *zone, const struct tm *wall,
			   int64_t ret[2])
{
	struct tm tm = *wall;
	int64_t utc = timegm(&tm); /* as if the wall clock were UTC's */
	int32_t before = zone_offset(zone, utc - DAY_S);
	int32_t after = zone_offset(zone, utc + DAY_S);
	int64_t t[2] = {utc - before, utc - after};
	bool good[2] = {zone_offset(zone, t[0]) == before,
			zone_offset(zone, t[1]) == after};

	if (good[0] && good[1] && t[0] != t[1]) {
		ret[0] = t[0];
		ret[1] = t[1];
		return ZONE_TWICE;
	}
	ret[0] = ret[1] = good[0] || !good[1] ? t[0] : t[1];
	return good[0] || good[1] ? ZONE_ONCE : ZONE_GAP;
}
