/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_input.h - what the tests of the pure schedule begin with: a moment,
 * a rate that does not change, chance.
 */
#ifndef STAGEFS_TESTS_SCHEDULE_INPUT_H
#define STAGEFS_TESTS_SCHEDULE_INPUT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "origin/schedule/schedule.h"
#include "tests/unit/xorshift.h"

#define T0 INT64_C(1795420800) /* 2026-11-23 08:00 UTC */

static uint64_t seed;

static inline unsigned below(unsigned n)
{
	return (unsigned)(xorshift(&seed) % n);
}

static inline struct rates constant(uint64_t bps)
{
	struct rates r = {.n = 1, .zone = "UTC"};

	r.step[0].bps = bps;
	return r;
}

static inline struct sched_input world_input(const struct rates *r)
{
	return (struct sched_input){.now_s = T0, .rates = r, .lead_s = 86400,
				    .assumed_bps = 1000};
}

#endif
