/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: what fits, what is ignored, what needs a full one; and a random
 * run against a model that keeps everything in arrays.
 */
#include "storetest.h"

#include <inttypes.h>

#include "origin/servers/servers.h"

#define BOOT_A "11111111-1111-4111-8111-111111111111"
#define BOOT_B "22222222-2222-4222-8222-222222222222"

static struct wire_descriptor describe(const struct storetest *t,
				       const char *boot, uint64_t seq,
				       uint64_t base)
{
	struct wire_descriptor d = {.seq = seq,
				    .base = base,
				    .time_s = NOW + 7,
				    .capacity_bytes = 100 * MIB,
				    .free_bytes = 40 * MIB,
				    .bad_blocks = 3,
				    .repaired_blocks = 2};

	strcpy(d.store, t->s->uuid);
	strcpy(d.name, "line3");
	strcpy(d.boot, boot);
	strcpy(d.version, "0.1.0");
	strcpy(d.time_zone, "Europe/Berlin");
	return d;
}

static struct wire_image image(uint64_t id, uint64_t seq, uint64_t stored)
{
	static char name[] = "win11/base.wim";
	struct wire_image i = {.id = id,
			       .name = name,
			       .size_bytes = 10 * MIB,
			       .stored_bytes = stored,
			       .state = IMAGE_PARTIAL,
			       .stored_seq = seq,
			       .stored_at_s = NOW - 5};

	memset(i.digest.b, (int)id, sizeof(i.digest.b));
	return i;
}

static int put(struct storetest *t, const struct wire_descriptor *d)
{
	return servers_put(t->db, t->s->uuid, d, "10.0.0.3", NOW, &t->e);
}

static size_t count_images(struct storetest *t)
{
	struct wire_image *list;
	size_t n;

	assert_int_equal(servers_images(t->db, "line3", &list, &n, &t->e), 0);
	for (size_t i = 0; i < n; i++)
		wire_image_clear(&list[i]);
	free(list);
	return n;
}

static void test_keeps_what_it_is_told(void **state)
{
	struct wire_image img[] = {image(9, 2, 5), image(4, 1, MIB)};
	struct wire_descriptor d;
	struct wire_image *list;
	struct storetest t;
	struct server s;
	size_t n;

	(void)state;
	storetest_begin(&t);
	d = describe(&t, BOOT_A, 1, 0);
	d.image = img;
	d.n_images = 2;
	img[1].open = true;
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), 0);
	assert_string_equal(s.address, "10.0.0.3");
	assert_string_equal(s.time_zone, "Europe/Berlin");
	assert_int_equal(s.clock_skew_s, 7);
	assert_int_equal(s.first_seen_s, NOW);
	assert_true(s.capacity_bytes == 100 * MIB);
	assert_true(s.free_bytes == 40 * MIB);
	assert_int_equal(s.bad_blocks, 3);
	assert_int_equal(s.repaired_blocks, 2);
	/* In stored order. */
	assert_int_equal(servers_images(t.db, "line3", &list, &n, &t.e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].id, 4);
	assert_true(list[0].open && !list[1].open);
	assert_memory_equal(list[1].digest.b, img[0].digest.b, DIGEST_BYTES);
	assert_string_equal(list[0].name, "win11/base.wim");
	for (size_t i = 0; i < n; i++)
		wire_image_clear(&list[i]);
	free(list);
	assert_int_equal(servers_get(t.db, "line4", &s, &t.e), -ENOENT);
	assert_non_null(strstr(t.e.text, "server list"));
	storetest_end(&t);
}

static void test_changes_need_their_base(void **state)
{
	struct wire_image img = image(9, 1, 5);
	uint64_t gone = 9;
	struct wire_descriptor d;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	/* Of a server that is not known. */
	d = describe(&t, BOOT_A, 2, 1);
	assert_int_equal(put(&t, &d), -ESTALE);
	d = describe(&t, BOOT_A, 3, 0);
	d.image = &img;
	d.n_images = 1;
	assert_int_equal(put(&t, &d), 0);
	/* Of another base, of another boot. */
	d = describe(&t, BOOT_A, 5, 4);
	assert_int_equal(put(&t, &d), -ESTALE);
	d = describe(&t, BOOT_B, 5, 3);
	assert_int_equal(put(&t, &d), -ESTALE);
	assert_int_equal(count_images(&t), 1);
	/* The right one; again after a lost answer; late ones. */
	d = describe(&t, BOOT_A, 4, 3);
	d.gone = &gone;
	d.n_gone = 1;
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(count_images(&t), 0);
	d.image = &img;
	d.n_images = 1;
	assert_int_equal(put(&t, &d), 0);
	d = describe(&t, BOOT_A, 2, 0);
	d.image = &img;
	d.n_images = 1;
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(count_images(&t), 0); /* ignored */
	/* A new boot begins at any number, with a full one. */
	d = describe(&t, BOOT_B, 1, 0);
	d.image = &img;
	d.n_images = 1;
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(count_images(&t), 1);
	storetest_end(&t);
}

static void test_another_store_is_refused(void **state)
{
	struct wire_descriptor d;
	struct storetest t;
	struct server s;

	(void)state;
	storetest_begin(&t);
	d = describe(&t, BOOT_A, 1, 0);
	strcpy(d.store, BOOT_B);
	assert_int_equal(put(&t, &d), -EXDEV);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), -ENOENT);
	storetest_end(&t);
}

static void test_no_more_servers_than_the_limit(void **state)
{
	struct wire_descriptor d;
	struct storetest t;

	(void)state;
	storetest_begin(&t);
	d = describe(&t, BOOT_A, 1, 0);
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(db_run(t.db, &t.e,
				"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL"
				" SELECT i+1 FROM n WHERE i<?)"
				" INSERT INTO server(name,first_seen_s,"
				"last_seen_s) SELECT 's'||i,0,0 FROM n",
				"i", (int64_t)STAGEFS_SERVERS_MAX),
			 0);
	strcpy(d.name, "one-more");
	assert_int_equal(put(&t, &d), -E2BIG);
	assert_non_null(strstr(t.e.text, "server remove"));
	/* Those that are known go on. */
	strcpy(d.name, "line3");
	d.seq = 2;
	assert_int_equal(put(&t, &d), 0);
	storetest_end(&t);
}

/* In the middle of it the disk fails: nothing of it is kept. */
static void test_all_or_nothing(void **state)
{
	struct wire_image img[] = {image(9, 1, 5), image(10, 2, 5)};
	struct wire_descriptor d;
	struct storetest t;
	struct server s;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(db_run(t.db, &t.e,
				"CREATE TRIGGER fault BEFORE INSERT ON"
				" server_image WHEN new.id=10 BEGIN"
				" SELECT raise(abort,'fault'); END", ""),
			 0);
	d = describe(&t, BOOT_A, 1, 0);
	d.image = img;
	d.n_images = 2;
	assert_int_not_equal(put(&t, &d), 0);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), -ENOENT);
	assert_int_equal(count_images(&t), 0);
	storetest_end(&t);
}

static void test_seen(void **state)
{
	struct wire_descriptor d;
	int64_t before, after;
	struct storetest t, *other = &t;
	struct server s;
	struct db *db;

	(void)state;
	storetest_begin(&t);
	assert_int_equal(servers_seen(t.db, "line3", NOW), 0); /* no row */
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), -ENOENT);
	d = describe(&t, BOOT_A, 1, 0);
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(servers_seen(t.db, "line3", NOW + 60), 0);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), 0);
	assert_int_equal(s.last_seen_s, NOW + 60);
	/* Not a commit each time: others would wake for it. */
	assert_int_equal(origindb_open(other->store_dir, &db, &t.e), 0);
	assert_int_equal(db_data_version(db, &before), 0);
	assert_int_equal(servers_seen(t.db, "line3", NOW + 61), 0);
	assert_int_equal(db_data_version(db, &after), 0);
	assert_int_equal(before, after);
	/* A clock that was set back. */
	assert_int_equal(servers_seen(t.db, "line3", NOW - 600), 0);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), 0);
	assert_int_equal(s.last_seen_s, NOW - 600);
	db_close(db);
	storetest_end(&t);
}

static void test_remove_and_rate(void **state)
{
	struct wire_order o = {.kind = ORDER_RECLAIM, .bytes = 5};
	struct wire_image img = image(9, 1, 5);
	struct wire_descriptor d;
	struct storetest t;
	struct order order;
	struct server s;
	int64_t cancelled;
	char many[400];

	(void)state;
	storetest_begin(&t);
	d = describe(&t, BOOT_A, 1, 0);
	d.image = &img;
	d.n_images = 1;
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(servers_set_rate(t.db, "line3", "20M/s", &t.e), 0);
	assert_int_equal(servers_set_rate(t.db, "line4", "", &t.e), -ENOENT);
	memset(many, '1', sizeof(many));
	many[sizeof(many) - 1] = '\0';
	assert_int_equal(servers_set_rate(t.db, "line3", many, &t.e),
			 -EINVAL);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), 0);
	assert_string_equal(s.prefetch_rate, "20M/s");
	/* A descriptor does not take the rate away. */
	d.seq = 2;
	assert_int_equal(put(&t, &d), 0);
	assert_int_equal(servers_get(t.db, "line3", &s, &t.e), 0);
	assert_string_equal(s.prefetch_rate, "20M/s");

	assert_int_equal(orders_add(t.db, "line3", &o, NOW, &t.e), 0);
	assert_int_equal(servers_remove(t.db, "line3", NOW + 8, &t.e), 0);
	assert_int_equal(servers_remove(t.db, "line3", NOW, &t.e), -ENOENT);
	assert_int_equal(db_get_int(t.db, &t.e, &cancelled,
				    "SELECT updated_s FROM orders WHERE"
				    " number=?", "u", o.number), 0);
	assert_int_equal(cancelled, NOW + 8);
	assert_int_equal(db_get_int(t.db, &t.e, &cancelled,
				    "SELECT text LIKE '1 open order%' FROM log"
				    " WHERE event='server-removed' AND time_s=?"
				    " AND server='line3'",
				    "i", (int64_t)(NOW + 8)), 0);
	assert_int_equal(cancelled, 1);
	assert_int_equal(count_images(&t), 0);
	assert_int_equal(orders_get(t.db, o.number, &order, &t.e), 0);
	assert_int_equal(order.state, ORDER_CANCELLED);
	order_clear(&order);
	storetest_end(&t);
}

/* ---- against a model --------------------------------------------------- */

#define IDS 12

struct model {
	bool known;
	char boot[UUID_TEXT];
	uint64_t seq;
	uint64_t stored[IDS]; /* 0: not there */
};

static void expect_same(struct storetest *t, const struct model *m)
{
	struct wire_image *list = NULL;
	uint64_t stored[IDS] = {0};
	size_t n = 0;

	assert_int_equal(servers_images(t->db, "line3", &list, &n, &t->e), 0);
	for (size_t i = 0; i < n; i++) {
		assert_true(list[i].id < IDS);
		assert_true(i == 0 || list[i].stored_seq >=
					      list[i - 1].stored_seq);
		stored[list[i].id] = list[i].stored_bytes;
		wire_image_clear(&list[i]);
	}
	free(list);
	assert_memory_equal(stored, m->stored, sizeof(stored));
}

static int model_put(struct model *m, const struct wire_descriptor *d)
{
	bool same = m->known && strcmp(m->boot, d->boot) == 0;

	if (same && d->seq <= m->seq)
		return 0;
	if (d->base && (!same || d->base != m->seq))
		return -ESTALE;
	if (!d->base)
		memset(m->stored, 0, sizeof(m->stored));
	for (size_t i = 0; i < d->n_gone; i++)
		m->stored[d->gone[i]] = 0;
	for (size_t i = 0; i < d->n_images; i++)
		m->stored[d->image[i].id] = d->image[i].stored_bytes;
	m->known = true;
	strcpy(m->boot, d->boot);
	m->seq = d->seq;
	return 0;
}

static void test_random_descriptors(void **state)
{
	struct model m = {0};
	struct storetest t;
	unsigned seed = 3;

	(void)state;
	storetest_begin(&t);
	/* Durability is not what is tried here. */
	assert_int_equal(db_run(t.db, &t.e, "PRAGMA synchronous=OFF", ""), 0);
	for (int round = 0; round < 3000; round++) {
		struct wire_image img[IDS];
		uint64_t gone[IDS], seq = m.seq, base = 0;
		struct wire_descriptor d;

		seq += (uint64_t)(rand_r(&seed) % 4);
		if (rand_r(&seed) % 3)
			base = rand_r(&seed) % 8 ? m.seq : m.seq + 1;
		d = describe(&t,
			     rand_r(&seed) % 40 ? (m.known ? m.boot : BOOT_A)
						: BOOT_B,
			     seq ? seq : 1, base);
		d.image = img;
		d.gone = gone;
		for (uint64_t id = 1; id < IDS; id++) {
			int what = rand_r(&seed) % 4;

			if (what == 0)
				img[d.n_images++] = image(
					id, (uint64_t)rand_r(&seed) % 100,
					1 + (uint64_t)rand_r(&seed) % 1000);
			else if (what == 1 && base)
				gone[d.n_gone++] = id;
		}
		assert_int_equal(put(&t, &d), model_put(&m, &d));
		expect_same(&t, &m);
	}
	storetest_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_what_it_is_told),
		cmocka_unit_test(test_changes_need_their_base),
		cmocka_unit_test(test_another_store_is_refused),
		cmocka_unit_test(test_no_more_servers_than_the_limit),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_seen),
		cmocka_unit_test(test_remove_and_rate),
		cmocka_unit_test(test_random_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
