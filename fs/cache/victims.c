/* SPDX-License-Identifier: Apache-2.0 */
/*
 * victims.c - one walk for those that are free to go, a second for held ones.
 * The smallest set or the best fit was rejected: which image goes next has to
 * be foreseeable by whoever plans, and "the oldest" is.
 */
#include "fs/cache/victims.h"

#include <stddef.h>

bool victims_passed_over(const struct place *p, const struct victim_rules *r)
{
	uint64_t read_ns = __atomic_load_n(&p->read_ns, __ATOMIC_RELAXED);

	if (read_ns && r->now_ns < read_ns + r->just_read_ns)
		return true;
	return r->busy && r->busy(p);
}

bool victims_held(const struct place *p, const struct victim_rules *r)
{
	return p->held_until_s > r->now_s;
}

uint64_t victims_total(const struct place *order, const struct victim_rules *r)
{
	uint64_t sum = 0;

	for (const struct place *p = order; p; p = p->next)
		if (!victims_passed_over(p, r) &&
		    (r->take_held || !victims_held(p, r)))
			sum += p->bytes;
	return sum;
}

/* Appends to the chain at `*tail` until `sum` reaches the shortage. */
static uint64_t take(struct place *order, bool held, uint64_t sum,
		     uint64_t shortage, const struct victim_rules *r,
		     struct place ***tail)
{
	for (struct place *p = order; p && sum < shortage; p = p->next) {
		if (victims_held(p, r) != held || victims_passed_over(p, r))
			continue;
		p->next_victim = NULL;
		**tail = p;
		*tail = &p->next_victim;
		sum += p->bytes;
	}
	return sum;
}

struct place *victims_choose(struct place *order, uint64_t shortage,
			     const struct victim_rules *r)
{
	struct place *first = NULL, **tail = &first;
	uint64_t sum = take(order, false, 0, shortage, r, &tail);

	if (sum < shortage && r->take_held)
		sum = take(order, true, sum, shortage, r, &tail);
	if (sum < shortage && !r->partly)
		return NULL;
	return first;
}
