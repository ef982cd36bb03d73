/* SPDX-License-Identifier: Apache-2.0 */
#include "origin/db/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"
#include "origin/db/origindb.h"

int setting_text(struct db *db, const char *name, const char *fallback,
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

int setting_span(struct db *db, const char *name, const char *fallback,
		 int64_t max_s, int64_t *ret_s, struct err *e)
{
	char *text;
	uint64_t ms = 0;
	int r = setting_text(db, name, fallback, &text, e);

	if (r)
		return r;
	r = units_parse_span(text, &ms, e);
	free(text);
	if (!r && ms / 1000 > (uint64_t)max_s)
		r = err_set(e, ERANGE, "more than %lld days",
			    (long long)(max_s / 86400));
	if (r)
		return err_prefix(e, -r, "setting %s", name);
	*ret_s = (int64_t)(ms / 1000);
	return 0;
}

int setting_rate(struct db *db, const char *name, const char *fallback,
		 uint64_t *ret, struct err *e)
{
	char *text, *rate;
	int r = setting_text(db, name, fallback, &text, e);

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

int setting_part(struct db *db, const char *name, const char *fallback,
		 double *ret, struct err *e)
{
	char *text, *end;
	double v;
	int r = setting_text(db, name, fallback, &text, e);

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
