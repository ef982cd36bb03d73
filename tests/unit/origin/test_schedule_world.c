/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schedule in whole worlds: a few servers that carry its orders out tick
 * by tick, and refuse what a real one would refuse. No order may be refused for
 * want of room, nothing held or open may be planned away, "staged" is what is
 * there, and a second run orders nothing.
 */
#include "schedule_input.h"

#define W_SERVERS 2
#define W_NAMES 6
#define W_IMAGES 64
#define W_ORDERS 4096
#define W_WANTS 16

/* What a real server would have, and what it was told. */
struct box {
	uint64_t capacity;
	struct sched_image image[W_IMAGES];
	size_t n;
	uint64_t next_seq;
};

struct world {
	int64_t now;
	struct box box[W_SERVERS];
	uint64_t version[W_NAMES], next_id, size_of[W_IMAGES * 4];
	struct sched_want want[W_WANTS];
	unsigned name_of[W_WANTS];
	size_t n_wants;
	struct sched_order order[W_ORDERS];
	size_t n_orders;
	struct rates rates;
};

static const char *const names[W_NAMES] = {"a", "b", "c", "d", "e", "f"};

static uint64_t used(const struct box *b)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < b->n; i++)
		sum += b->image[i].stored_bytes;
	return sum;
}

static struct sched_image *stored(struct box *b, uint64_t id)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->image[i].id == id)
			return &b->image[i];
	return NULL;
}

static void drop(struct box *b, struct sched_image *m)
{
	*m = b->image[--b->n];
}

static bool being_fetched(const struct world *w, size_t s, uint64_t id)
{
	for (size_t i = 0; i < w->n_orders; i++)
		if (w->order[i].kind == ORDER_PREFETCH &&
		    w->order[i].server == s && w->order[i].id == id &&
		    w->order[i].state == SCHED_OPEN)
			return true;
	return false;
}

static void publish(struct world *w, unsigned name)
{
	w->version[name] = w->next_id;
	w->size_of[w->next_id++] = 1 + below(8);
}

static void world_make(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now = T0;
	w->next_id = 2;
	w->rates = constant(1 + below(3));
	for (unsigned i = 0; i < W_NAMES; i++)
		publish(w, i);
	for (int s = 0; s < W_SERVERS; s++) {
		struct box *b = &w->box[s];

		b->capacity = 10 + below(15);
		b->next_seq = 1;
		for (unsigned i = 0; i < W_NAMES; i++) {
			uint64_t id = w->version[i], size = w->size_of[id];

			if (below(2) || used(b) + size > b->capacity)
				continue;
			b->image[b->n++] = (struct sched_image){
				.id = id, .name = names[i], .size_bytes = size,
				.stored_bytes = size, .complete = true,
				.stored_seq = b->next_seq++,
				.open = below(8) == 0,
				.held_until_s =
					below(4) ? 0 : T0 + 1 + below(60)};
		}
	}
	w->n_wants = 1 + below(8);
	for (size_t i = 0; i < w->n_wants; i++) {
		struct sched_want *k = &w->want[i];

		w->name_of[i] = below(W_NAMES);
		*k = (struct sched_want){
			.entry = (int64_t)i + 1, .job = i + 1,
			.priority = below(2), .server = below(W_SERVERS),
			.image = names[w->name_of[i]],
			.at_s = T0 + below(150)};
		k->until_s = k->at_s + 1 + below(60);
	}
}

static struct sched_input input_of(struct world *w, struct sched_server *srv,
				   struct sched_want *want)
{
	struct sched_input in = world_input(&w->rates);
	size_t n = 0;

	in.now_s = w->now;
	in.lead_s = 40;
	for (int s = 0; s < W_SERVERS; s++) {
		struct box *b = &w->box[s];

		srv[s] = (struct sched_server){
			.name = s ? "s1" : "s0", .known = true,
			.seen_s = w->now, .capacity_bytes = b->capacity,
			.free_bytes = b->capacity - used(b),
			.image = b->image, .n_images = b->n};
	}
	for (size_t i = 0; i < w->n_wants; i++) {
		if (w->want[i].until_s <= w->now)
			continue;
		want[n] = w->want[i];
		want[n].id = w->version[w->name_of[i]];
		want[n].size_bytes = w->size_of[want[n].id];
		n++;
	}
	in.server = srv;
	in.n_servers = W_SERVERS;
	in.want = want;
	in.n_wants = n;
	in.order = w->order;
	in.n_orders = w->n_orders;
	return in;
}

/* Wanted on this server by a job that has begun. */
static bool is_needed(const struct sched_input *in, size_t s, uint64_t id)
{
	for (size_t i = 0; i < in->n_wants; i++)
		if (in->want[i].server == s && in->want[i].id == id &&
		    in->want[i].at_s - in->lead_s <= in->now_s)
			return true;
	return false;
}

static void check_jobs(struct world *w, const struct sched_input *in,
		       const struct schedule *out)
{
	for (size_t i = 0; i < in->n_wants; i++) {
		const struct sched_want *k = &in->want[i];
		const struct sched_job *j = &out->job[i];
		struct sched_image *m = stored(&w->box[k->server], k->id);
		bool begun = k->at_s - in->lead_s <= w->now;

		/* Staged is what is there, and nothing else. */
		if (j->state == JOB_STAGED)
			assert_true(m && m->complete);
		if (m && m->complete && begun)
			assert_int_equal(j->state, JOB_STAGED);
		if (j->state != JOB_STAGED && j->state != JOB_FAILED)
			assert_int_equal(j->state == JOB_LATE,
					 k->at_s <= w->now);
		if (k->size_bytes > in->server[k->server].capacity_bytes)
			assert_false(j->fits);
		/* Who goes now may go now. */
		for (size_t v = 0; v < j->n_victims && j->start_s <= w->now;
		     v++) {
			uint64_t id = out->victim[j->victim + v].id;
			struct sched_image *x =
				stored(&w->box[k->server], id);

			assert_non_null(x);
			assert_false(x->open);
			assert_true(x->held_until_s <= w->now);
			assert_false(is_needed(in, k->server, id));
		}
	}
}

/* What will be there at the time when want `at` begins: each version once. */
static uint64_t planned(const struct sched_input *in,
			const struct schedule *out, size_t at)
{
	int64_t t = out->job[at].start_s;
	uint64_t sum = 0, seen[W_WANTS];
	size_t n = 0;

	for (size_t i = 0; i < in->n_wants; i++) {
		const struct sched_want *k = &in->want[i];
		bool known = false;

		if (k->server != in->want[at].server || !out->job[i].fits ||
		    out->job[i].start_s > t || k->until_s <= t)
			continue;
		for (size_t q = 0; q < n; q++)
			known = known || seen[q] == k->id;
		if (known)
			continue;
		seen[n++] = k->id;
		sum += k->size_bytes;
	}
	return sum;
}

/* Nothing is planned above the capacity, now or ahead. */
static void check_plan(const struct sched_input *in,
		       const struct schedule *out)
{
	for (size_t i = 0; i < in->n_wants; i++)
		if (out->job[i].fits)
			assert_true(planned(in, out, i) <=
				    in->server[in->want[i].server]
					    .capacity_bytes);
}

/* Prefetches of one server in one run come by deadline. */
static void check_actions(const struct schedule *out)
{
	int64_t last[W_SERVERS] = {0};

	for (size_t i = 0; i < out->n_actions; i++) {
		const struct sched_action *a = &out->action[i];

		if (a->kind != ORDER_PREFETCH)
			continue;
		assert_true(a->deadline_s >= last[a->server]);
		last[a->server] = a->deadline_s;
		assert_true(a->hold_until_s > 0);
	}
}

static void take_orders(struct world *w, const struct sched_input *in,
			const struct schedule *out)
{
	for (size_t i = 0; i < out->n_actions; i++) {
		const struct sched_action *a = &out->action[i];
		struct sched_order *o;

		if (a->kind == ORDER_CANCEL) {
			o = &w->order[a->cancels - 1];
			assert_int_equal(o->state, SCHED_OPEN);
			o->state = SCHED_CANCELLED;
			o->updated_s = w->now;
			continue;
		}
		assert_true(w->n_orders < W_ORDERS);
		o = &w->order[w->n_orders++];
		*o = (struct sched_order){
			.number = w->n_orders, .server = a->server,
			.kind = a->kind, .id = a->id, .sent = true,
			.job = a->want == SIZE_MAX ? 99
						   : in->want[a->want].job,
			.hold_until_s = a->hold_until_s, .bytes = a->bytes,
			.created_s = w->now, .updated_s = w->now,
			.message = ""};
	}
}

static void run_schedule(struct world *w)
{
	struct sched_server srv[W_SERVERS];
	struct sched_want want[W_WANTS];
	struct sched_input in = input_of(w, srv, want);
	struct schedule out;

	assert_int_equal(schedule(&in, &out), 0);
	assert_true(out.next_s > w->now);
	check_jobs(w, &in, &out);
	check_actions(&out);
	check_plan(&in, &out);
	take_orders(w, &in, &out);
	schedule_clear(&out);
	/* Once more, with these orders given: nothing new. */
	in = input_of(w, srv, want);
	assert_int_equal(schedule(&in, &out), 0);
	assert_int_equal(out.n_actions, 0);
	schedule_clear(&out);
}

static void finish(struct world *w, struct sched_order *o, int how,
		   uint64_t bytes)
{
	o->state = how;
	o->stored_bytes = bytes;
	o->updated_s = w->now;
}

/* In stored order, never held, open or being fetched; a target for what is
 * free. */
static void box_reclaim(struct world *w, size_t s, struct sched_order *o)
{
	struct box *b = &w->box[s];
	uint64_t freed = 0;

	while (b->capacity - used(b) < o->bytes) {
		struct sched_image *first = NULL;

		for (size_t i = 0; i < b->n; i++) {
			struct sched_image *m = &b->image[i];

			if (!m->open && m->held_until_s <= w->now &&
			    !being_fetched(w, s, m->id) &&
			    (!first || m->stored_seq < first->stored_seq))
				first = m;
		}
		if (!first)
			break;
		freed += first->stored_bytes;
		drop(b, first);
	}
	finish(w, o, b->capacity - used(b) >= o->bytes ? SCHED_DONE
						       : SCHED_FAILED, freed);
}

/* One byte. There has to be room: the origin saw to it. */
static bool box_fetch(struct world *w, size_t s, struct sched_order *o)
{
	struct box *b = &w->box[s];
	struct sched_image *m = stored(b, o->id);

	if (!m) {
		m = &b->image[b->n++];
		*m = (struct sched_image){.id = o->id, .name = "x",
					  .size_bytes = w->size_of[o->id],
					  .stored_seq = b->next_seq++};
	}
	if (!m->complete) {
		if (used(b) >= b->capacity)
			return false;
		m->stored_bytes++;
		m->complete = m->stored_bytes == m->size_bytes;
	}
	m->held_until_s = o->hold_until_s;
	m->held_by_plan = true;
	o->stored_bytes = m->stored_bytes;
	if (m->complete)
		finish(w, o, SCHED_DONE, m->stored_bytes);
	return true;
}

static void box_hold(struct world *w, size_t s, struct sched_order *o)
{
	struct sched_image *m = stored(&w->box[s], o->id);

	if (m) {
		m->held_until_s = o->hold_until_s;
		m->held_by_plan = true;
	}
	finish(w, o, m ? SCHED_DONE : SCHED_FAILED, 0);
}

/* `refused`: how often there was no room for what had been ordered. */
static void boxes_work(struct world *w, unsigned *refused)
{
	uint64_t line = w->rates.step[0].bps;

	for (size_t i = 0; i < w->n_orders; i++) {
		struct sched_order *o = &w->order[i];

		if (o->state != SCHED_OPEN)
			continue;
		if (o->kind == ORDER_RECLAIM)
			box_reclaim(w, o->server, o);
		else if (o->kind == ORDER_HOLD || o->kind == ORDER_RELEASE)
			box_hold(w, o->server, o);
		while (o->kind == ORDER_PREFETCH && o->state == SCHED_OPEN &&
		       line > 0) {
			line--;
			if (!box_fetch(w, o->server, o)) {
				finish(w, o, SCHED_FAILED, 0);
				++*refused;
			}
		}
	}
}

static void surprise(struct world *w)
{
	struct box *b = &w->box[below(W_SERVERS)];
	struct sched_image *m = b->n ? &b->image[below((unsigned)b->n)] : NULL;

	switch (below(40)) {
	case 0:
		if (w->next_id < W_IMAGES)
			publish(w, below(W_NAMES));
		break;
	case 1: /* an entry is removed */
		if (w->n_wants > 1)
			w->n_wants--;
		break;
	case 2:
		if (m)
			m->open = !m->open;
		break;
	default:
		break;
	}
}

static void test_worlds(void **state)
{
	unsigned refused = 0, staged = 0, reclaims = 0;

	(void)state;
	for (int round = 0; round < 400; round++) {
		struct world *w = malloc(sizeof(*w));
		bool quiet = round % 2;

		assert_non_null(w);
		seed = 2463534242u + (unsigned)round * 15485863u;
		below(2);
		world_make(w);
		for (int tick = 0; tick < 260; tick++) {
			unsigned no = 0;

			if (!quiet)
				surprise(w);
			run_schedule(w);
			boxes_work(w, &no);
			/* Nobody else stores anything: room that the origin
			 * made is there. */
			if (no)
				print_message("round %d tick %d: refused\n",
					      round, tick);
			refused += no;
			w->now++;
		}
		for (size_t i = 0; i < w->n_orders; i++) {
			staged += w->order[i].kind == ORDER_PREFETCH &&
				  w->order[i].state == SCHED_DONE;
			reclaims += w->order[i].kind == ORDER_RECLAIM;
		}
		free(w);
	}
	print_message("%u staged, %u reclaims, %u refused\n", staged, reclaims,
		      refused);
	assert_int_equal(refused, 0);
	assert_true(staged > 400 && reclaims > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worlds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
