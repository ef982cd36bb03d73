/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rates.c - a table of rates is looked up by the wall clock of its zone, and
 * nothing else: on the night clocks change, "02:30" simply never comes, or
 * comes twice. rates_next_change steps from one candidate to the next (a time
 * of the table, or a change of the zone's offset) until the rate differs.
 */
#include "origin/schedule/rates.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "origin/plan/zone.h"

#define DAY_S 86400
#define TEXT_MAX 2048
#define PART_MAX 64

#define GOOD "write it like \"200M/s\" or \"08:00 200M/s, 20:00 unlimited\""

_Static_assert(sizeof(((struct rates *)0)->zone) >= ZONE_MAX, "zone names fit");

/* "08:00 " before a rate. 1: it was there. */
static int take_clock(const char **at, uint32_t *ret, struct err *e)
{
	const char *s = *at;
	int h, m;

	if (!isdigit((unsigned char)s[0]) || !isdigit((unsigned char)s[1]) ||
	    s[2] != ':')
		return 0;
	if (!isdigit((unsigned char)s[3]) || !isdigit((unsigned char)s[4]) ||
	    s[5] != ' ')
		return err_set(e, EINVAL, "'%s' does not begin with a time: "
			       GOOD, s);
	h = (s[0] - '0') * 10 + s[1] - '0';
	m = (s[3] - '0') * 10 + s[4] - '0';
	if (h > 23 || m > 59)
		return err_set(e, EINVAL, "there is no %02d:%02d on a clock",
			       h, m);
	*ret = (uint32_t)(h * 60 + m);
	*at = s + 6;
	return 1;
}

static int take_rate(const char *s, uint64_t *ret, struct err *e)
{
	int r;

	if (strcmp(s, "none") == 0 || strcmp(s, "0") == 0) {
		*ret = 0;
		return 0;
	}
	r = units_parse_rate(s, ret, e);
	return r ? err_prefix(e, -r, "in a table of rates (%s)", GOOD) : 0;
}

/* One part between commas, blanks around it cut off. */
static int add_step(struct rates *r, char *part, bool *ret_clock,
		    struct err *e)
{
	const char *at = part;
	uint32_t minute = 0;
	uint64_t bps;
	int rc;

	rc = take_clock(&at, &minute, e);
	if (rc < 0)
		return rc;
	*ret_clock = rc == 1;
	at += strspn(at, " ");
	rc = take_rate(at, &bps, e);
	if (rc)
		return rc;
	if (r->n == RATES_MAX)
		return err_set(e, EINVAL, "a table of rates has at most %d "
			       "times", RATES_MAX);
	for (unsigned i = 0; i < r->n; i++)
		if (r->step[i].minute == minute)
			return err_set(e, EINVAL, "%02u:%02u is there twice",
				       minute / 60, minute % 60);
	r->step[r->n].minute = minute;
	r->step[r->n].bps = bps;
	r->n++;
	return 0;
}

static int by_minute(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static char *trim(char *s)
{
	size_t n;

	s += strspn(s, " ");
	n = strlen(s);
	while (n && s[n - 1] == ' ')
		s[--n] = '\0';
	return s;
}

static int parse_steps(char *text, struct rates *r, struct err *e)
{
	char *part, *rest = text;
	bool clock, all = true;
	int rc;

	while ((part = strsep(&rest, ","))) {
		rc = add_step(r, trim(part), &clock, e);
		if (rc)
			return rc;
		all = all && clock;
	}
	if (!all && r->n > 1)
		return err_set(e, EINVAL, "each of several rates needs its "
			       "time: " GOOD);
	qsort(r->step, r->n, sizeof(r->step[0]), by_minute);
	return 0;
}

int rates_parse(const char *text, const char *zone, struct rates *ret,
		struct err *e)
{
	struct rates r = {0};
	char copy[TEXT_MAX];
	int rc;

	zone = zone ? zone : "";
	rc = zone_check(zone, e);
	if (rc)
		return rc;
	snprintf(r.zone, sizeof(r.zone), "%s", zone);
	if (text && strlen(text) >= sizeof(copy))
		return err_set(e, EINVAL, "this table of rates is too long");
	if (text && *text) {
		snprintf(copy, sizeof(copy), "%s", text);
		rc = parse_steps(copy, &r, e);
		if (rc)
			return rc;
	}
	*ret = r;
	return 0;
}

int rates_of_server(const char *text, const char *zone, struct rates *ret)
{
	if (!text || *text == '\0')
		return -EINVAL;
	if (zone && zone_check(zone, NULL))
		zone = "";
	return rates_parse(text, zone, ret, NULL);
}

/* The step in force at this second of the day. */
static uint64_t at_wall(const struct rates *r, int64_t second)
{
	unsigned i = r->n;

	while (i-- > 0)
		if ((int64_t)r->step[i].minute * 60 <= second)
			return r->step[i].bps;
	return r->step[r->n - 1].bps; /* since yesterday */
}

static int64_t second_of_day(int64_t local_s)
{
	int64_t s = local_s % DAY_S;

	return s < 0 ? s + DAY_S : s;
}

uint64_t rates_at(const struct rates *r, int64_t unix_s)
{
	if (r->n == 0)
		return RATE_UNLIMITED;
	if (r->n == 1)
		return r->step[0].bps;
	return at_wall(r, second_of_day(unix_s + zone_offset(r->zone, unix_s)));
}

static bool never_changes(const struct rates *r)
{
	for (unsigned i = 1; i < r->n; i++)
		if (r->step[i].bps != r->step[0].bps)
			return false;
	return true;
}

/* The first second in (from, to] with another offset than `from` has. */
static int64_t offset_change(const char *zone, int64_t from, int64_t to)
{
	int32_t offset = zone_offset(zone, from);

	while (to - from > 1) {
		int64_t mid = from + (to - from) / 2;

		if (zone_offset(zone, mid) == offset)
			from = mid;
		else
			to = mid;
	}
	return to;
}

/* The next time of the table, or the next change of clocks if that is before:
 * the table's times are then not where this offset has them. */
static int64_t next_candidate(const struct rates *r, int64_t t)
{
	int32_t offset = zone_offset(r->zone, t);
	int64_t second = second_of_day(t + offset), best = 2 * DAY_S;

	for (unsigned i = 0; i < r->n; i++) {
		int64_t ahead = (int64_t)r->step[i].minute * 60 - second;

		if (ahead <= 0)
			ahead += DAY_S;
		best = ahead < best ? ahead : best;
	}
	if (zone_offset(r->zone, t + best) != offset)
		return offset_change(r->zone, t, t + best);
	return t + best;
}

int64_t rates_next_change(const struct rates *r, int64_t unix_s)
{
	uint64_t bps;
	int64_t t = unix_s;

	if (never_changes(r))
		return INT64_MAX;
	bps = rates_at(r, t);
	do {
		t = next_candidate(r, t);
	} while (rates_at(r, t) == bps);
	return t;
}
