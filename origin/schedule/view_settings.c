/* SPDX-License-Identifier: Apache-2.0 */
/* view_settings.c - what the schedule reckons with (see view.h). */
#include <stdlib.h>

#include "origin/db/settings.h"
#include "origin/schedule/view_impl.h"

int view_read_settings(struct db *db, struct view *v, struct err *e)
{
	char *text;
	int r;

	r = setting_span(db, "lead", "24h", SETTING_SPAN_MAX_S,
			 &v->in.lead_s, e);
	if (!r)
		r = setting_span(db, "margin_time", "5m", SETTING_SPAN_MAX_S,
				 &v->in.margin_s, e);
	if (!r)
		r = setting_span(db, "hold", SETTING_HOLD_DEFAULT,
				 SETTING_SPAN_MAX_S, &v->hold_s, e);
	if (!r)
		r = setting_part(db, "margin", "20%", &v->in.margin, e);
	if (!r)
		r = setting_rate(db, "link", "", &v->in.link_bps, e);
	if (!r)
		r = setting_rate(db, "assumed_rate", "100M/s",
				 &v->in.assumed_bps, e);
	if (!r)
		r = setting_text(db, "prefetch_rate", "", &text, e);
	if (r)
		return r;
	r = rates_parse(text, "", &v->data->rates, e);
	free(text);
	v->in.rates = &v->data->rates;
	return r ? err_prefix(e, -r, "setting prefetch_rate") : 0;
}
