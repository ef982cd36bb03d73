/* SPDX-License-Identifier: Apache-2.0 */
/*
 * when.c - a small grammar read from left to right: [date] time [offset]
 * [zone]. strptime and getdate guess, take the machine's zone, and say
 * nothing of a time that does not exist; a person who plans a line wants to be
 * told. So a wall time that clocks skip or show twice is an error here, with
 * the ways to write it; only recurrences (repeat.c) choose by themselves.
 */
#include "origin/plan/when.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/units.h"

#define DAY_S 86400
#define SPAN_MAX_S (10 * 366 * (int64_t)DAY_S)

const char when_help[] =
	"Times: \"2026-12-01 06:00\", with seconds, with a zone at the end\n"
	"(\"2026-12-01 06:00 Europe/Berlin\", \"2026-12-01T06:00:00Z\",\n"
	"\"2026-12-01 06:00 +02:00\"), \"06:00\" (the next), \"today 06:00\",\n"
	"\"tomorrow 06:00\", \"now\", \"+10s\", \"+2h\". Without a zone a\n"
	"time is local to the server, if it told its zone, else to this\n"
	"machine. A time that clocks skip or show twice on that day is\n"
	"refused; of two, say which with its offset:\n"
	"\"2026-10-25 02:30 +01:00 Europe/Berlin\".\n"
	"Occurrences of --repeat keep their wall time: one that is skipped\n"
	"moves by the gap (02:30 to 03:30), of two the first counts.";

/* What has been read so far. */
struct scan {
	const char *at;
	const char *text; /* all of it, for messages */
};

static int bad(const struct scan *s, struct err *e, const char *why)
{
	return err_set(e, EINVAL,
		       "'%s' is not a time: %s; write it like \"2026-12-01 "
		       "06:00\", \"2026-12-01 06:00 Europe/Berlin\", "
		       "\"tomorrow 06:00\" or \"+2h\"",
		       s->text, why);
}

static void skip_blanks(struct scan *s)
{
	while (*s->at == ' ')
		s->at++;
}

/* Exactly n digits. */
static bool digits(struct scan *s, int n, int *ret)
{
	int v = 0;

	for (int i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s->at[i]))
			return false;
		v = v * 10 + (s->at[i] - '0');
	}
	if (isdigit((unsigned char)s->at[n]))
		return false;
	s->at += n;
	*ret = v;
	return true;
}

static bool word(struct scan *s, const char *w)
{
	size_t n = strlen(w);

	if (strncasecmp(s->at, w, n) || isalnum((unsigned char)s->at[n]))
		return false;
	s->at += n;
	return true;
}

static int days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30,
				   31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

static int read_date(struct scan *s, struct tm *tm, struct err *e)
{
	int y, m, d;

	if (!digits(s, 4, &y) || *s->at++ != '-' || !digits(s, 2, &m) ||
	    *s->at++ != '-' || !digits(s, 2, &d))
		return bad(s, e, "its date has another form");
	if (m < 1 || m > 12 || d < 1 || d > days_of(y, m))
		return err_set(e, EINVAL, "'%s': there is no %04d-%02d-%02d",
			       s->text, y, m, d);
	if (y < ZONE_YEAR_MIN || y > ZONE_YEAR_MAX)
		return err_set(e, ERANGE,
			       "'%s': the year has to be between %d and %d",
			       s->text, ZONE_YEAR_MIN, ZONE_YEAR_MAX);
	tm->tm_year = y - 1900;
	tm->tm_mon = m - 1;
	tm->tm_mday = d;
	return 0;
}

static int read_clock(struct scan *s, struct tm *tm, struct err *e)
{
	int h, m, sec = 0;

	if (!isdigit((unsigned char)*s->at))
		return bad(s, e, "the time of day is missing");
	if (!digits(s, 2, &h) || *s->at++ != ':' || !digits(s, 2, &m))
		return bad(s, e, "its time of day has another form");
	if (*s->at == ':') {
		s->at++;
		if (!digits(s, 2, &sec))
			return bad(s, e, "its seconds have another form");
	}
	if (h > 23 || m > 59 || sec > 59)
		return err_set(e, EINVAL,
			       "'%s': there is no %02d:%02d:%02d on a clock",
			       s->text, h, m, sec);
	tm->tm_hour = h;
	tm->tm_min = m;
	tm->tm_sec = sec;
	return 0;
}

/* "Z", "+02:00", "+0200", "+02". 1: read, 0: none there. */
static int read_offset(struct scan *s, char zone[ZONE_MAX], struct err *e)
{
	int h, m = 0, sign;

	if (*s->at == 'Z' && !isalnum((unsigned char)s->at[1])) {
		s->at++;
		strcpy(zone, "UTC");
		return 1;
	}
	if (*s->at != '+' && *s->at != '-')
		return 0;
	sign = *s->at++ == '-' ? -1 : 1;
	if (digits(s, 4, &m)) {
		h = m / 100;
		m %= 100;
	} else if (!digits(s, 2, &h) ||
		   (*s->at == ':' && (s->at++, !digits(s, 2, &m)))) {
		return bad(s, e, "its offset has another form than +02:00");
	}
	if (m > 59 || h * 60 + m > 18 * 60)
		return bad(s, e, "no zone has that offset");
	zone_offset_text(sign * (h * 3600 + m * 60), zone);
	return 1;
}

/* "Europe/Berlin" or, as RFC 9557 has it, "[Europe/Berlin]". */
static int read_zone(struct scan *s, char zone[ZONE_MAX], struct err *e)
{
	bool bracket = *s->at == '[';
	size_t n;
	int r;

	s->at += bracket;
	n = strcspn(s->at, " ]");
	if (n == 0 || n >= ZONE_MAX)
		return bad(s, e, "its time zone has another form");
	memcpy(zone, s->at, n);
	zone[n] = '\0';
	s->at += n;
	if (bracket && *s->at++ != ']')
		return bad(s, e, "a ']' is missing");
	r = zone_check(zone, e);
	if (r)
		return err_prefix(e, -r, "'%s'", s->text);
	return 0;
}

/* The day `days` from today, there. */
static void day_from_now(struct tm *tm, const char *zone, int64_t now_s,
			 int days)
{
	struct tm day;
	time_t t;

	zone_wall(zone, now_s, &day);
	day.tm_hour = day.tm_min = day.tm_sec = 0;
	t = timegm(&day) + (time_t)days * DAY_S;
	gmtime_r(&t, &day);
	tm->tm_year = day.tm_year;
	tm->tm_mon = day.tm_mon;
	tm->tm_mday = day.tm_mday;
}

/* A wall time and nothing else that says which moment it is. */
static int resolve(const struct scan *s, const struct tm *tm, const char *zone,
		   int64_t *ret_s, struct err *e)
{
	int64_t t[2];
	char first[ZONE_MAX], second[ZONE_MAX], name[ZONE_MAX];
	struct tm moved;

	if (*zone == '\0')
		zone = zone_local(name);
	switch (zone_unwall(zone, tm, t)) {
	case ZONE_GAP:
		zone_wall(zone, t[0], &moved);
		return err_set(e, EINVAL,
			       "'%s' does not exist in %s: clocks go forward "
			       "over it; write %02d:%02d instead",
			       s->text, zone, moved.tm_hour, moved.tm_min);
	case ZONE_TWICE:
		zone_offset_text(zone_offset(zone, t[0]), first);
		zone_offset_text(zone_offset(zone, t[1]), second);
		return err_set(e, EINVAL,
			       "'%s' occurs twice in %s: write it with %s (the "
			       "first) or %s (the second)",
			       s->text, zone, first, second);
	case ZONE_ONCE:
		break;
	}
	*ret_s = t[0];
	return 0;
}

/* "+2h" after now. */
static int read_span(const struct scan *s, int64_t now_s, int64_t *ret_s,
		     struct err *e)
{
	uint64_t ms;
	int r = units_parse_span(s->at + 1, &ms, e);

	if (r)
		return err_prefix(e, -r, "'%s' is not a time", s->text);
	if (ms / 1000 > SPAN_MAX_S)
		return err_set(e, ERANGE, "'%s' is more than ten years ahead",
			       s->text);
	*ret_s = now_s + (int64_t)((ms + 999) / 1000);
	return 0;
}

/* What follows the time of day: offset, zone, both or none. */
static int read_place(struct scan *s, char offset[ZONE_MAX],
		      char zone[ZONE_MAX], struct err *e)
{
	int r;

	skip_blanks(s);
	r = read_offset(s, offset, e);
	if (r < 0)
		return r;
	skip_blanks(s);
	if (*s->at) {
		r = read_zone(s, zone, e);
		if (r)
			return r;
		skip_blanks(s);
	}
	return *s->at ? bad(s, e, "there is more after its end") : 0;
}

static int apply_offset(const struct scan *s, const struct tm *tm,
			const char *offset, const char *zone, int64_t *ret_s,
			struct err *e)
{
	int64_t t[2];
	char is[ZONE_MAX];

	zone_unwall(offset, tm, t);
	if (*zone && zone_offset(zone, t[0]) != zone_offset(offset, t[0]))
		return err_set(e, EINVAL, "'%s': %s is at %s then", s->text,
			       zone,
			       zone_offset_text(zone_offset(zone, t[0]), is));
	*ret_s = t[0];
	return 0;
}

enum day { DAY_GIVEN, DAY_TODAY, DAY_TOMORROW, DAY_NEXT };

static int read_day(struct scan *s, struct tm *tm, enum day *ret, struct err *e)
{
	int r;

	if (word(s, "today")) {
		*ret = DAY_TODAY;
	} else if (word(s, "tomorrow")) {
		*ret = DAY_TOMORROW;
	} else if (strlen(s->at) > 2 && s->at[2] == ':') {
		*ret = DAY_NEXT;
	} else {
		r = read_date(s, tm, e);
		if (r)
			return r;
		if (*s->at == 'T' || *s->at == 't')
			s->at++;
		*ret = DAY_GIVEN;
	}
	skip_blanks(s);
	return 0;
}

static int read_wall(struct scan *s, const char *zone, int64_t now_s,
		     int64_t *ret_s, char ret_zone[ZONE_MAX], struct err *e)
{
	struct tm tm = {0};
	char offset[ZONE_MAX] = "", named[ZONE_MAX] = "";
	enum day day;
	int64_t t = 0;
	int r;

	r = read_day(s, &tm, &day, e);
	if (!r)
		r = read_clock(s, &tm, e);
	if (!r)
		r = read_place(s, offset, named, e);
	if (r)
		return r;
	if (*named || *offset)
		zone = *named ? named : offset;
	for (int days = day == DAY_TOMORROW; ; days++) {
		if (day != DAY_GIVEN)
			day_from_now(&tm, zone, now_s, days);
		if (*offset)
			r = apply_offset(s, &tm, offset, named, &t, e);
		else
			r = resolve(s, &tm, zone, &t, e);
		if (r)
			return r;
		if (day != DAY_NEXT || t > now_s || days > 1)
			break;
	}
	*ret_s = t;
	snprintf(ret_zone, ZONE_MAX, "%s", zone);
	return 0;
}

int when_parse(const char *text, const char *zone, int64_t now_s,
	       int64_t *ret_s, char ret_zone[ZONE_MAX], struct err *e)
{
	struct scan s = {text, text};
	char in[ZONE_MAX];
	int64_t t = 0;
	int r;

	if (strlen(text) > WHEN_TEXT_MAX)
		return err_set(e, EINVAL,
			       "a time of more than %d characters is none",
			       WHEN_TEXT_MAX);
	r = zone_check(zone, e);
	if (r)
		return r;
	snprintf(in, sizeof(in), "%s", zone);
	skip_blanks(&s);
	if (strcmp(s.at, "now") == 0)
		t = now_s;
	else if (*s.at == '+')
		r = read_span(&s, now_s, &t, e);
	else
		r = read_wall(&s, zone, now_s, &t, in, e);
	if (r)
		return r;
	*ret_s = t;
	if (*in)
		snprintf(ret_zone, ZONE_MAX, "%s", in);
	else
		zone_local(ret_zone);
	return 0;
}

/* ---- the other way ----------------------------------------------------- */

const char *when_text(int64_t unix_s, const char *zone, char out[WHEN_TEXT])
{
	struct tm tm;
	char second[8] = "", offset[ZONE_MAX];
	int32_t off = zone_offset(zone, unix_s);

	if (unix_s == 0) {
		strcpy(out, "-");
		return out;
	}
	zone_wall(zone, unix_s, &tm);
	if (tm.tm_sec)
		snprintf(second, sizeof(second), ":%02d", tm.tm_sec % 60);
	snprintf(out, WHEN_TEXT, "%04d-%02d-%02d %02d:%02d%s %s",
		 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		 tm.tm_min, second,
		 off ? zone_offset_text(off, offset) : "UTC");
	return out;
}

const char *when_rfc3339(int64_t unix_s, const char *zone, char out[WHEN_TEXT])
{
	struct tm tm;
	char offset[ZONE_MAX];

	zone_wall(zone, unix_s, &tm);
	snprintf(out, WHEN_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d%s",
		 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		 tm.tm_min, tm.tm_sec,
		 zone_offset_text(zone_offset(zone, unix_s), offset));
	return out;
}
