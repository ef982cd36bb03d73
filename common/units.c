/* SPDX-License-Identifier: Apache-2.0 */
/*
 * units.c - hand-written, because strtod reads "inf", "0x1p3" and the
 * locale's decimal sign, and loses bytes above 2^53. A number is read as an
 * integer part and up to nine decimals, in 128 bits, so that "1.5T" is exact.
 */
#include "common/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define SIZE_EXAMPLE "write it like 500G, 1.5T, 64k or a number of bytes"
#define RATE_EXAMPLE "write it like 200M/s, 10Gbit/s or unlimited"
#define SPAN_EXAMPLE "write it like 30s, 5m, 2h, 1d, 500ms or 1h30m"

/* whole + part / scale */
struct number {
	unsigned __int128 whole, part, scale;
};

/* Digits, optionally a point and 1 to 9 more. The end of it, or NULL. */
static const char *read_number(const char *s, struct number *ret)
{
	struct number n = {0, 0, 1};
	int digits = 0, decimals = 0;

	for (; *s >= '0' && *s <= '9'; s++) {
		if (++digits > 20)
			return NULL;
		n.whole = n.whole * 10 + (unsigned)(*s - '0');
	}
	if (digits == 0)
		return NULL;
	if (*s == '.') {
		for (s++; *s >= '0' && *s <= '9'; s++) {
			if (++decimals > 9)
				return NULL;
			n.part = n.part * 10 + (unsigned)(*s - '0');
			n.scale *= 10;
		}
		if (decimals == 0)
			return NULL;
	}
	*ret = n;
	return s;
}

/* number * factor, rounded down; false if it does not fit below 2^64 - 1
 * (the largest is RATE_UNLIMITED). */
static bool multiply(const struct number *n, uint64_t factor, uint64_t *ret)
{
	unsigned __int128 v = n->whole * factor + n->part * factor / n->scale;

	if (v >= UINT64_MAX)
		return false;
	*ret = (uint64_t)v;
	return true;
}

/* "", "B", "K", "KB", "KiB", ... The end of it, or NULL. */
static const char *read_binary_unit(const char *s, uint64_t *ret_factor)
{
	static const char letter[] = "KMGTPE";
	uint64_t factor = 1;
	const char *at = NULL;

	if (*s)
		at = strchr(letter, *s == 'k' ? 'K' : *s);
	if (at) {
		factor = UINT64_C(1) << (10 * (at - letter + 1));
		s++;
		if (s[0] == 'i' && s[1] == 'B')
			s++;
	}
	if (*s == 'B')
		s++;
	*ret_factor = factor;
	return s;
}

static int parse_size(const char *s, size_t n, uint64_t *ret)
{
	struct number num;
	uint64_t factor, v;
	const char *p = read_number(s, &num);

	if (!p)
		return -EINVAL;
	p = read_binary_unit(p, &factor);
	if (p != s + n)
		return -EINVAL;
	if (factor == 1 && num.scale != 1)
		return -EINVAL; /* half a byte */
	if (!multiply(&num, factor, &v))
		return -ERANGE;
	*ret = v;
	return 0;
}

int units_parse_size(const char *s, uint64_t *ret_bytes, struct err *e)
{
	int r = parse_size(s, strlen(s), ret_bytes);

	if (r == -ERANGE)
		return err_set(e, ERANGE, "size '%s' is too large", s);
	if (r)
		return err_set(e, -r, "'%s' is not a size: " SIZE_EXAMPLE, s);
	return 0;
}

static const char *strip(const char *s, const char *end, const char *tail)
{
	size_t n = strlen(tail);

	if ((size_t)(end - s) < n || strncmp(end - n, tail, n) != 0)
		return NULL;
	return end - n;
}

/* Bits, decimal: "10Gbit/s", "10Gbps". -ENOENT: not of this form. */
static int parse_bits(const char *s, uint64_t *ret)
{
	static const char letter[] = "kMGT";
	static const uint64_t thousand[] = {1000, 1000000, 1000000000,
					    1000000000000};
	const char *end = s + strlen(s), *stop, *p, *at;
	struct number num;
	uint64_t factor = 1, bits;

	stop = strip(s, end, "bit/s");
	if (!stop)
		stop = strip(s, end, "bps");
	if (!stop)
		return -ENOENT;
	p = read_number(s, &num);
	if (!p)
		return -EINVAL;
	if (p < stop) {
		at = strchr(letter, *p == 'K' ? 'k' : *p);
		if (!at)
			return -EINVAL;
		factor = thousand[at - letter];
		p++;
	}
	if (p != stop)
		return -EINVAL;
	if (!multiply(&num, factor, &bits))
		return -ERANGE;
	*ret = bits / 8;
	return 0;
}

int units_parse_rate(const char *s, uint64_t *ret_bps, struct err *e)
{
	const char *end = s + strlen(s), *stop;
	int r;

	if (strcmp(s, "unlimited") == 0) {
		*ret_bps = RATE_UNLIMITED;
		return 0;
	}
	r = parse_bits(s, ret_bps);
	if (r == -ENOENT) {
		stop = strip(s, end, "/s");
		r = stop ? parse_size(s, (size_t)(stop - s), ret_bps)
			 : -EINVAL;
	}
	if (r == -ERANGE)
		return err_set(e, ERANGE, "rate '%s' is too large", s);
	if (r)
		return err_set(e, -r, "'%s' is not a rate: " RATE_EXAMPLE, s);
	return 0;
}

static const struct {
	const char *name;
	uint64_t ms;
} span_unit[] = {
	/* Largest first: a later part must be of a smaller unit. */
	{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
#define N_SPAN_UNITS (sizeof(span_unit) / sizeof(span_unit[0]))

static size_t find_span_unit(const char *s, size_t n)
{
	size_t i = 0;

	while (i < N_SPAN_UNITS && (strlen(span_unit[i].name) != n ||
				    strncmp(span_unit[i].name, s, n) != 0))
		i++;
	return i;
}

static int parse_span(const char *s, uint64_t *ret)
{
	uint64_t total = 0, v;
	size_t from = 0, unit;
	const char *p = s;

	do {
		struct number num;
		size_t n;

		p = read_number(p, &num);
		if (!p)
			return -EINVAL;
		n = strcspn(p, "0123456789");
		if (n == 0 && from == 0 && *p == 0)
			unit = 3; /* a bare number: seconds */
		else
			unit = find_span_unit(p, n);
		if (unit < from || unit >= N_SPAN_UNITS)
			return -EINVAL;
		from = unit + 1;
		p += n;
		if (!multiply(&num, span_unit[unit].ms, &v) ||
		    __builtin_add_overflow(total, v, &total))
			return -ERANGE;
	} while (*p);
	*ret = total;
	return 0;
}

int units_parse_span(const char *s, uint64_t *ret_ms, struct err *e)
{
	int r = parse_span(s, ret_ms);

	if (r == -ERANGE)
		return err_set(e, ERANGE, "time span '%s' is too large", s);
	if (r)
		return err_set(e, -r, "'%s' is not a time span: " SPAN_EXAMPLE,
			       s);
	return 0;
}

/* ---- text -------------------------------------------------------------- */

const char *units_size(uint64_t bytes, char out[UNITS_TEXT])
{
	static const char letter[] = "BKMGTPE";
	unsigned unit = 0;
	uint64_t tenths;

	/* 1023.95K would be shown as "1024K": go on to the next unit. */
	while (unit < 6 &&
	       bytes >= (UINT64_C(1) << (10 * (unit + 1))) -
				(unit ? (UINT64_C(1) << (10 * unit)) / 20 : 0))
		unit++;
	if (unit == 0) {
		snprintf(out, UNITS_TEXT, "%" PRIu64 "B", bytes);
		return out;
	}
	tenths = (uint64_t)(((unsigned __int128)bytes * 10 +
			     (UINT64_C(1) << (10 * unit)) / 2) >>
			    (10 * unit));
	if (tenths % 10)
		snprintf(out, UNITS_TEXT, "%" PRIu64 ".%u%c", tenths / 10,
			 (unsigned)(tenths % 10), letter[unit]);
	else
		snprintf(out, UNITS_TEXT, "%" PRIu64 "%c", tenths / 10,
			 letter[unit]);
	return out;
}

const char *units_rate(uint64_t bps, char out[UNITS_TEXT])
{
	if (bps == RATE_UNLIMITED) {
		snprintf(out, UNITS_TEXT, "unlimited");
		return out;
	}
	units_size(bps, out);
	strcat(out, "/s"); /* a size is at most 7 bytes long */
	return out;
}

const char *units_span(uint64_t ms, char out[UNITS_TEXT])
{
	uint64_t s = ms / 1000;

	if (ms < 1000)
		snprintf(out, UNITS_TEXT, "%" PRIu64 "%s", ms, ms ? "ms" : "s");
	else if (s < 60)
		snprintf(out, UNITS_TEXT, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(out, UNITS_TEXT, "%" PRIu64 "m%02us", s / 60,
			 (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(out, UNITS_TEXT, "%" PRIu64 "h%02um", s / 3600,
			 (unsigned)(s / 60 % 60));
	else
		snprintf(out, UNITS_TEXT, "%" PRIu64 "d%uh", s / 86400,
			 (unsigned)(s / 3600 % 24));
	return out;
}

const char *units_time(int64_t unix_s, char out[UNITS_TIME_TEXT])
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	if (unix_s == 0 || !localtime_r(&t, &tm) ||
	    strftime(out, UNITS_TIME_TEXT, "%Y-%m-%d %H:%M:%S %Z", &tm) == 0)
		snprintf(out, UNITS_TIME_TEXT, "-");
	return out;
}
