/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_settings.c - the settings of the schedule. Verbs check what they set; a
 * value that is wrong all the same stops the schedule with its name, for no
 * guess would be what was meant.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "origin/db/origindb.h"
#include "origin/schedule/view_impl.h"

#define DAY_S 86400

/* The daemon notes what it was not given as "". */
static int setting(struct db *db, const char *name, const char *fallback,
		   char **ret, struct err *e)
{
	int r = origindb_setting(db, name, ret);

	if (r == 0 && **ret == '\0') {
		free(*ret);
		r = -ENOENT;
	}
	if (r == -ENOENT) {
		*ret = strdup(fallback);
		r = *ret ? 0 : -ENOMEM;
	}
	return r ? err_set(e, -r, "setting %s: cannot be read", name) : 0;
}

static int setting_span(struct db *db, const char *name, const char *fallback,
			int64_t *ret_s, struct err *e)
{
	char *text;
	uint64_t ms = 0;
	int r = setting(db, name, fallback, &text, e);

	if (r)
		return r;
	r = units_parse_span(text, &ms, e);
	free(text);
	if (!r && ms / 1000 > 366 * (uint64_t)DAY_S)
		r = err_set(e, ERANGE, "more than a year");
	if (r)
		return err_prefix(e, -r, "setting %s", name);
	*ret_s = (int64_t)(ms / 1000);
	return 0;
}

static int setting_rate(struct db *db, const char *name, const char *fallback,
			uint64_t *ret, struct err *e)
{
	char *text, *rate;
	int r = setting(db, name, fallback, &text, e);

	if (r)
		return r;
	rate = strrchr(text, '='); /* eth0=10Gbit/s */
	rate = rate ? rate + 1 : text;
	*ret = 0;
	if (*rate)
		r = units_parse_rate(rate, ret, e);
	if (*ret == RATE_UNLIMITED)
		*ret = 0;
	free(text);
	return r ? err_prefix(e, -r, "setting %s", name) : 0;
}

/* "20%" */
static int setting_part(struct db *db, const char *name, const char *fallback,
			double *ret, struct err *e)
{
	char *text, *end;
	double v;
	int r = setting(db, name, fallback, &text, e);

	if (r)
		return r;
	v = strtod(text, &end);
	if (end == text || (*end && strcmp(end, "%") != 0) || !(v >= 0) ||
	    v > 1000)
		r = err_set(e, EINVAL, "setting %s: '%s' is not like 20%%",
			    name, text);
	else
		*ret = v / 100;
	free(text);
	return r;
}

int view_read_settings(struct db *db, struct view *v, struct err *e)
{
	char *text;
	int r;

	r = setting_span(db, "lead", "24h", &v->in.lead_s, e);
	if (!r)
		r = setting_span(db, "margin_time", "5m", &v->in.margin_s, e);
	if (!r)
		r = setting_span(db, "hold", "24h", &v->hold_s, e);
	if (!r)
		r = setting_part(db, "margin", "20%", &v->in.margin, e);
	if (!r)
		r = setting_rate(db, "link", "", &v->in.link_bps, e);
	if (!r)
		r = setting_rate(db, "assumed_rate", "100M/s",
				 &v->in.assumed_bps, e);
	if (!r)
		r = setting(db, "prefetch_rate", "", &text, e);
	if (r)
		return r;
	r = rates_parse(text, "", &v->data->rates, e);
	free(text);
	v->in.rates = &v->data->rates;
	return r ? err_prefix(e, -r, "setting prefetch_rate") : 0;
}
