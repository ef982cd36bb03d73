/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repeat.c - libical walks the rule in wall time, zone.c makes moments of it.
 * Given a zone libical would convert by itself, but takes skipped hours
 * otherwise than RFC 5545 says, and its iterator is quick only on plain times.
 *
 * Each walk starts near `from`, not at the first date: an entry that has
 * repeated for years costs the same as a new one. Only COUNT needs the walk
 * from the start, and is bounded for that.
 */
#include "origin/plan/repeat.h"

#include <errno.h>
#include <libical/ical.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "origin/plan/zone.h"

#define DAY_S 86400
#define COUNT_MAX 10000 /* of RRULE's COUNT */
#define STEPS_MAX 20000 /* of one walk */

static struct icaltimetype wall_of(const char *zone, int64_t unix_s)
{
	struct tm tm;
	struct icaltimetype t = {0};

	zone_wall(zone, unix_s, &tm);
	t.year = tm.tm_year + 1900;
	t.month = tm.tm_mon + 1;
	t.day = tm.tm_mday;
	t.hour = tm.tm_hour;
	t.minute = tm.tm_min;
	t.second = tm.tm_sec;
	return t;
}

static struct tm tm_of(const struct icaltimetype *t)
{
	return (struct tm){.tm_year = t->year - 1900,
			   .tm_mon = t->month - 1,
			   .tm_mday = t->day,
			   .tm_hour = t->hour,
			   .tm_min = t->minute,
			   .tm_sec = t->second};
}

/* Seconds of wall clock from one moment to another. */
static int64_t wall_span(const char *zone, int64_t from_s, int64_t to_s)
{
	return to_s + zone_offset(zone, to_s) - from_s -
	       zone_offset(zone, from_s);
}

static int64_t wall_add(const char *zone, int64_t from_s, int64_t span_s)
{
	time_t t = from_s + zone_offset(zone, from_s) + span_s;
	struct tm tm;
	int64_t ret[2];

	gmtime_r(&t, &tm);
	zone_unwall(zone, &tm, ret);
	return ret[0];
}

int64_t repeat_until(const struct repeat *r, int64_t at_s)
{
	if (r->until_s == 0 || at_s == r->at_s)
		return r->until_s;
	return wall_add(r->zone, at_s, wall_span(r->zone, r->at_s, r->until_s));
}

static bool parse_rule(const char *rule, const char *zone,
		       struct icalrecurrencetype *ret)
{
	icalerror_set_errors_are_fatal(0);
	*ret = icalrecurrencetype_from_string(rule);
	icalerror_clear_errno();
	if (ret->freq == ICAL_NO_RECURRENCE ||
	    ret->freq == ICAL_SECONDLY_RECURRENCE ||
	    ret->freq == ICAL_MINUTELY_RECURRENCE || ret->count > COUNT_MAX)
		return false;
	/* UNTIL is UTC; the walk is in wall time. */
	if (!icaltime_is_null_time(ret->until) && ret->until.zone) {
		struct tm tm = tm_of(&ret->until);

		ret->until = wall_of(zone, timegm(&tm));
	}
	return true;
}

static size_t walk(const struct repeat *r, int64_t from_s, int64_t to_s,
		   struct occurrence *ret, size_t max)
{
	struct icalrecurrencetype rule;
	struct icaltimetype t;
	icalrecur_iterator *it;
	int64_t at[2];
	size_t n = 0;

	if (!parse_rule(r->rule, r->zone, &rule))
		return 0;
	it = icalrecur_iterator_new(rule, wall_of(r->zone, r->at_s));
	if (!it) {
		icalerror_clear_errno();
		return 0;
	}
	/* A day early: the wall clock may have been set back since. */
	if (from_s - DAY_S > r->at_s && rule.count == 0)
		icalrecur_iterator_set_start(it,
					     wall_of(r->zone, from_s - DAY_S));
	for (int steps = 0; n < max && steps < STEPS_MAX; steps++) {
		struct tm tm;

		t = icalrecur_iterator_next(it);
		if (icaltime_is_null_time(t) || t.year > ZONE_YEAR_MAX)
			break;
		tm = tm_of(&t);
		/* No zone is two days away: the cheap test first. */
		if (timegm(&tm) < from_s - 2 * DAY_S)
			continue;
		zone_unwall(r->zone, &tm, at);
		if (at[0] < from_s || at[0] < r->at_s)
			continue;
		ret[n].at_s = at[0];
		ret[n].until_s = repeat_until(r, at[0]);
		n++;
		if (at[0] > to_s)
			break;
	}
	icalrecur_iterator_free(it);
	return n;
}

size_t repeat_list(const struct repeat *r, int64_t from_s, int64_t to_s,
		   struct occurrence *ret, size_t max)
{
	if (*r->rule)
		return walk(r, from_s, to_s, ret, max);
	if (r->at_s < from_s || max == 0)
		return 0;
	ret[0] = (struct occurrence){r->at_s, r->until_s};
	return 1;
}

int repeat_check(const struct repeat *r, struct err *e)
{
	struct icalrecurrencetype rule;
	struct occurrence first;

	if (*r->rule == '\0')
		return 0;
	if (strlen(r->rule) > REPEAT_TEXT_MAX ||
	    !parse_rule(r->rule, r->zone, &rule))
		return err_set(e, EINVAL,
			       "'%s' is not a recurrence: write an RFC 5545 "
			       "rule like \"FREQ=WEEKLY;BYDAY=MO,TU\" or "
			       "\"FREQ=DAILY;COUNT=10\" (hourly at most, COUNT "
			       "up to %d)",
			       r->rule, COUNT_MAX);
	if (walk(r, r->at_s, r->at_s, &first, 1) == 0)
		return err_set(e, EINVAL,
			       "'%s' never comes true after that time",
			       r->rule);
	return 0;
}
