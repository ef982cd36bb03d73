/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents of the protocol: what is written is read back the same (random
 * documents), and each rule of wire.h refuses what breaks it. The refusals
 * start from a document that is right and change one thing, so that it is
 * that rule which refuses.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire_random.h"

#define ROUNDS 300

static void test_random_catalogs(void **state)
{
	struct random r = {1};

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_catalog c, again;
		struct err e;
		char *json;
		size_t n;

		random_catalog(&r, 20, &c);
		assert_int_equal(wire_catalog_encode(&c, &json, &n), 0);
		assert_int_equal(strlen(json), n);
		if (wire_catalog_decode(json, n, &again, &e) < 0)
			fail_msg("%s: %s", json, e.text);
		assert_true(same_catalog(&c, &again));
		wire_catalog_free(&c);
		assert_null(c.entry);
		wire_catalog_free(&again);
		free(json);
	}
}

static void test_random_orders(void **state)
{
	struct random r = {2};

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_orders s, again;
		struct err e;
		char *json;
		size_t n;

		random_orders(&r, 20, &s);
		assert_int_equal(wire_orders_encode(&s, &json, &n), 0);
		if (wire_orders_decode(json, n, &again, &e) < 0)
			fail_msg("%s: %s", json, e.text);
		assert_true(same_orders(&s, &again));
		wire_orders_free(&s);
		wire_orders_free(&again);
		free(json);
	}
}

static void test_random_reports(void **state)
{
	struct random r = {3};

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_report w, again;
		struct err e;
		char *json;
		size_t n;

		random_report(&r, &w);
		assert_int_equal(wire_report_encode(&w, &json, &n), 0);
		if (wire_report_decode(json, n, &again, &e) < 0)
			fail_msg("%s: %s", json, e.text);
		assert_true(same_report(&w, &again));
		free(json);
	}
}

static void test_random_descriptors(void **state)
{
	struct random r = {4};

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		struct wire_descriptor d, again;
		struct err e;
		char *json;
		size_t n;

		random_descriptor(&r, 20, &d);
		assert_int_equal(wire_descriptor_encode(&d, &json, &n), 0);
		if (wire_descriptor_decode(json, n, &again, &e) < 0)
			fail_msg("%s: %s", json, e.text);
		assert_true(same_descriptor(&d, &again));
		wire_descriptor_free(&d);
		wire_descriptor_free(&again);
		free(json);
	}
}

/* ---- the limits hold, and the largest right documents pass --------------- */

static void test_full_page(void **state)
{
	struct wire_catalog c = {.revision = 1}, again;
	char name[256];
	struct err e;
	char *json;
	size_t n;

	(void)state;
	uuid_make(c.store);
	memset(name, 'n', 255);
	name[255] = 0;
	c.n_entries = STAGEFS_CATALOG_PAGE_ENTRIES + 1;
	c.entry = calloc(c.n_entries, sizeof(*c.entry));
	for (size_t i = 0; i < c.n_entries; i++)
		c.entry[i] = (struct wire_entry){.id = i + 2,
						 .parent = 1,
						 .name = name,
						 .block_bytes = 1 << 20};
	assert_int_equal(wire_catalog_encode(&c, &json, &n), 0);
	assert_int_equal(wire_catalog_decode(json, n, &again, &e), -EPROTO);
	assert_non_null(strstr(e.text, "more than 5000"));
	free(json);
	c.n_entries--;
	assert_int_equal(wire_catalog_encode(&c, &json, &n), 0);
	assert_int_equal(wire_catalog_decode(json, n, &again, &e), 0);
	wire_catalog_free(&again);
	free(json);
	free(c.entry);
}

static void test_full_descriptor(void **state)
{
	struct wire_descriptor d = {.seq = 1}, again;
	struct err e;
	char *json;
	size_t n;

	(void)state;
	uuid_make(d.store);
	uuid_make(d.boot);
	strcpy(d.name, "line3");
	d.n_images = STAGEFS_DESCRIPTOR_MAX_IMAGES;
	d.image = calloc(d.n_images, sizeof(*d.image));
	for (size_t i = 0; i < d.n_images; i++)
		d.image[i] = (struct wire_image){.id = i + 2,
						 .held_until_s = 1,
						 .open = true};
	assert_int_equal(wire_descriptor_encode(&d, &json, &n), 0);
	assert_true(n <= STAGEFS_DESCRIPTOR_MAX_BYTES);
	if (wire_descriptor_decode(json, n, &again, &e) < 0)
		fail_msg("%s", e.text);
	wire_descriptor_free(&again);
	free(json);
	free(d.image);
}

/*
 * Refused by their size alone: the text is not there to be parsed (the
 * address sanitizer would see a read).
 */
static void test_too_many_bytes(void **state)
{
	struct wire_catalog c;
	struct wire_orders s;
	struct wire_report w;
	struct wire_descriptor d;
	char *none = malloc(1);

	(void)state;
	*none = '{';
	assert_int_equal(wire_catalog_decode(none,
					     STAGEFS_CATALOG_PAGE_MAX_BYTES + 1,
					     &c, NULL),
			 -EPROTO);
	assert_int_equal(wire_orders_decode(none, STAGEFS_ORDERS_MAX_BYTES + 1,
					    &s, NULL),
			 -EPROTO);
	assert_int_equal(wire_report_decode(none, STAGEFS_REPORT_MAX_BYTES + 1,
					    &w, NULL),
			 -EPROTO);
	assert_int_equal(wire_descriptor_decode(
				 none, STAGEFS_DESCRIPTOR_MAX_BYTES + 1, &d,
				 NULL),
			 -EPROTO);
	free(none);
}

/* A million entries within the limit of bytes: refused before the tree. */
static void test_million_entries(void **state)
{
	size_t n = 0, room = 4 << 20;
	char *json = malloc(room);
	struct wire_catalog c;
	struct err e;

	(void)state;
	n += (size_t)sprintf(json, "{\"format\":1,\"kind\":\"catalog\","
				   "\"entries\":[{}");
	for (int i = 1; i < 1000000; i++) {
		memcpy(json + n, ",{}", 3);
		n += 3;
	}
	n += (size_t)sprintf(json + n, "]}");
	assert_int_equal(wire_catalog_decode(json, n, &c, &e), -EPROTO);
	assert_non_null(strstr(e.text, "too many values"));
	free(json);
}

/* ---- each rule ----------------------------------------------------------- */

#define UUID "00000000-0000-4000-8000-000000000001"
#define HEX                                \
	"0123456789abcdef0123456789abcdef" \
	"0123456789abcdef0123456789abcdef"

/* `with` in place of `what` in `text`, malloc'd. */
static char *replaced(const char *text, const char *what, const char *with)
{
	const char *at = strstr(text, what);
	size_t n = strlen(text) + strlen(with) + 1;
	char *out = malloc(n);

	if (!at)
		fail_msg("no %s in the document", what);
	snprintf(out, n, "%.*s%s%s", (int)(at - text), text, with,
		 at + strlen(what));
	return out;
}

/* The one refusal that has an error of its own. */
#define NEWER "made by a newer stagefs"

struct change {
	const char *what, *with;
	const char *says; /* NULL: it is taken */
};

typedef int (*decode_fn)(const char *json, struct err *e);

static int decode_catalog(const char *json, struct err *e)
{
	struct wire_catalog c = {.revision = 99};
	int r = wire_catalog_decode(json, strlen(json), &c, e);

	if (r < 0)
		assert_true(c.revision == 99 && !c.entry); /* untouched */
	wire_catalog_free(&c);
	return r;
}

static int decode_orders(const char *json, struct err *e)
{
	struct wire_orders s = {.catalog_revision = 99};
	int r = wire_orders_decode(json, strlen(json), &s, e);

	if (r < 0)
		assert_true(s.catalog_revision == 99 && !s.order);
	wire_orders_free(&s);
	return r;
}

static int decode_report(const char *json, struct err *e)
{
	struct wire_report w = {.number = 99};
	int r = wire_report_decode(json, strlen(json), &w, e);

	if (r < 0)
		assert_int_equal(w.number, 99);
	return r;
}

static int decode_descriptor(const char *json, struct err *e)
{
	struct wire_descriptor d = {.seq = 99};
	int r = wire_descriptor_decode(json, strlen(json), &d, e);

	if (r < 0)
		assert_true(d.seq == 99 && !d.image);
	wire_descriptor_free(&d);
	return r;
}

static void check_changes(const char *good, decode_fn decode,
			  const struct change *c, size_t n)
{
	struct err e = {{0}};

	if (decode(good, &e) < 0)
		fail_msg("the document itself: %s", e.text);
	for (size_t i = 0; i < n; i++) {
		char *json = replaced(good, c[i].what, c[i].with);
		int want = c[i].says && strcmp(c[i].says, NEWER) == 0
				   ? -EPROTONOSUPPORT
				   : -EPROTO;
		int r = decode(json, &e);

		if (!c[i].says && r < 0)
			fail_msg("%s: %s", json, e.text);
		if (c[i].says && r != want)
			fail_msg("%s gave %d", json, r);
		if (c[i].says && !strstr(e.text, c[i].says))
			fail_msg("%s says: %s", json, e.text);
		free(json);
	}
}

#define CHECK(good, decode, changes) \
	check_changes(good, decode, changes, sizeof(changes) / sizeof(*changes))

static void test_catalog_rules(void **state)
{
	static const char good[] =
		"{\"format\":1,\"kind\":\"catalog\",\"store\":\"" UUID "\","
		"\"since\":3,\"revision\":7,\"more\":true,\"entries\":["
		"{\"id\":2,\"parent\":1,\"name\":\"dir\",\"dir\":true},"
		"{\"id\":3,\"parent\":2,\"name\":\"image\",\"mtime\":5,"
		"\"size\":100,\"block\":65536,\"digest\":\"" HEX "\"}],"
		"\"removed\":[{\"id\":4,\"parent\":1,\"name\":\"gone\"}]}";
	static const struct change changes[] = {
		{"\"format\":1", "\"format\":2", NEWER},
		{"\"format\":1", "\"format\":0", "format"},
		{"\"format\":1", "\"format\":\"1\"", "format"},
		{"\"format\":1,", "", "'format' is missing"},
		{"\"catalog\"", "\"orders\"", "kind"},
		{"{\"format", "{\"later\":{\"x\":[1]},\"format", NULL},
		{UUID, "00000000-0000-4000-8000-00000000000G", "store"},
		{UUID, "", "store"},
		{"\"since\":3", "\"since\":8", "before"},
		{"\"since\":3", "\"since\":7", "nowhere"},
		{"\"since\":3", "\"since\":-1", "since"},
		{"\"since\":3", "\"since\":0", "from nothing"},
		{"\"more\":true", "\"more\":1", "more"},
		{"\"more\":true,", "", NULL},
		{"\"entries\":[", "\"entries\":[1,", "entry 0"},
		{"\"entries\":[", "\"entries\":[[],", "entry 0"},
		{"\"id\":2", "\"id\":1", "id 1"},
		{"\"id\":2", "\"id\":0", "id 0"},
		{"\"id\":2", "\"id\":3", "twice"},
		{"\"id\":2", "\"id\":9223372036854775808", "JSON"},
		{"\"parent\":1", "\"parent\":0", "folder 0"},
		{"\"parent\":2", "\"parent\":3", "folder 3"},
		{"\"dir\"", "\"..\"", "must not be"},
		{"\"dir\"", "\"a/b\"", "entry 0"},
		{"\"dir\"", "\"\"", "empty"},
		{"\"dir\"", "\"a\\u0000\"", "JSON"},
		{"\"dir\"", "\"a\\u0001\"", "control"},
		{"\"dir\"", "7", "name"},
		{"\"dir\":true", "\"dir\":false", "size"},
		{"\"mtime\":5", "\"mtime\":253402300800", "time"},
		{"\"mtime\":5", "\"mtime\":-5", NULL},
		{"\"mtime\":5,", "", NULL},
		{"\"size\":100", "\"size\":17592186044417", "size"},
		{"\"size\":100", "\"size\":68719476736", NULL},
		{"\"size\":100", "\"size\":68719476737", "block size"},
		{"\"block\":65536", "\"block\":65537", "block size"},
		{"\"block\":65536", "\"block\":0", "block size"},
		{"\"block\":65536", "\"block\":33554432", "block"},
		{HEX, "0123", "digest"},
		{HEX, "", "digest"},
		{"\"name\":\"gone\"", "\"name\":\".\"", "removed 0"},
		{"\"removed\":[", "\"removed\":[{},", "removed 0"},
		{"\"removed\":", "\"others\":", NULL},
	};

	(void)state;
	CHECK(good, decode_catalog, changes);
}

static void test_orders_rules(void **state)
{
	static const char good[] =
		"{\"format\":1,\"kind\":\"orders\",\"store\":\"" UUID "\","
		"\"server\":\"line3\",\"catalog_revision\":7,\"orders\":["
		"{\"number\":5,\"kind\":\"prefetch\",\"id\":3,\"digest\":\"" HEX
		"\",\"size\":100,\"name\":\"a/b\"},"
		"{\"number\":6,\"kind\":\"reclaim\",\"bytes\":10},"
		"{\"number\":7,\"kind\":\"cancel\",\"cancels\":5},"
		"{\"number\":8,\"kind\":\"hold\",\"id\":3,\"digest\":\"" HEX
		"\",\"hold_until\":9},"
		"{\"number\":9,\"kind\":\"delete\",\"id\":4,\"digest\":\"" HEX
		"\"}]}";
	static const struct change changes[] = {
		{"\"orders\"", "\"catalog\"", "kind"},
		{"line3", "../x", "server"},
		{"line3", "", "server"},
		{"\"number\":5", "\"number\":0", "number 0"},
		{"\"number\":5", "\"number\":6", "6 after 6"},
		{"\"number\":9", "\"number\":1", "1 after 8"},
		{"\"prefetch\"", "\"explode\"", "'explode'"},
		{"\"id\":3", "\"id\":1", "'id'"},
		{"\"id\":3,", "", "'id'"},
		{"\"id\":4,", "", "'id'"},
		{"\"size\":100,", "", "'size'"},
		{"\"size\":100", "\"size\":0", NULL},
		{"\"digest\":\"" HEX "\",", "", "digest"},
		{"a/b", "/etc/passwd", "relative"},
		{"\"name\":\"a/b\"", "\"name\":\"\"", NULL},
		{"\"bytes\":10", "\"bytes\":0", "'bytes'"},
		{"\"bytes\":10", "\"b\":10", "'bytes'"},
		{"\"cancels\":5", "\"c\":5", "'cancels'"},
		{"\"hold_until\":9", "\"h\":9", "'hold_until'"},
		{"\"orders\":[", "\"orders\":{\"a\":[", "JSON"},
	};

	(void)state;
	CHECK(good, decode_orders, changes);
}

static void test_report_rules(void **state)
{
	static const char good[] =
		"{\"format\":1,\"kind\":\"report\",\"number\":5,"
		"\"state\":\"running\",\"stored\":1,\"size\":2,"
		"\"message\":\"x\"}";
	static const struct change changes[] = {
		{"\"number\":5", "\"number\":0", "order 0"},
		{"\"number\":5,", "", "number"},
		{"running", "resting", "'resting'"},
		{"\"stored\":1", "\"stored\":-1", "stored"},
		{"\"message\":\"x\"", "\"message\":\"x\\ny\"", "message"},
		{",\"message\":\"x\"", "", NULL},
		{"\"size\":2", "\"size\":[]", "size"},
	};
	char message[600], *json;
	struct err e;

	(void)state;
	CHECK(good, decode_report, changes);
	memset(message, 'm', sizeof(message));
	memcpy(message, "\"message\":\"", 11);
	message[11 + 512] = '"';
	message[11 + 513] = 0;
	json = replaced(good, "\"message\":\"x\"", message);
	assert_int_equal(decode_report(json, &e), 0);
	free(json);
	message[11 + 512] = 'm';
	message[11 + 513] = '"';
	message[11 + 514] = 0;
	json = replaced(good, "\"message\":\"x\"", message);
	assert_int_equal(decode_report(json, &e), -EPROTO);
	free(json);
}

static void test_descriptor_rules(void **state)
{
	static const char good[] =
		"{\"format\":1,\"kind\":\"descriptor\",\"store\":\"" UUID
		"\",\"name\":\"line3\",\"boot\":\"" UUID "\","
		"\"version\":\"1\",\"time_zone\":\"UTC\",\"seq\":4,\"base\":3,"
		"\"time\":5,\"catalog_revision\":1,\"capacity\":100,"
		"\"used\":9,\"reserved\":8,\"free\":7,\"evictable\":6,"
		"\"images\":[{\"id\":2,\"name\":\"a/b\",\"digest\":\"" HEX
		"\",\"size\":10,\"stored\":10,\"state\":\"complete\","
		"\"stored_seq\":1,\"stored_at\":2,\"held_until\":3},"
		"{\"id\":3,\"digest\":\"" HEX "\",\"size\":10,\"stored\":4,"
		"\"state\":\"fetching\",\"open\":true}],\"gone\":[5,6]}";
	static const struct change changes[] = {
		{"line3", "li ne", "'name'"},
		{"\"boot\":\"" UUID, "\"boot\":\"x", "boot"},
		{"\"version\":\"1\"", "\"version\":\""
		 "12345678901234567890123456789012\"", "version"},
		{"\"version\":\"1\",", "", NULL},
		{"\"seq\":4", "\"seq\":0", "seq 0"},
		{"\"seq\":4", "\"seq\":3", "seq 3"},
		{"\"base\":3", "\"base\":0", "'gone'"},
		{"\"capacity\":100,", "", "capacity"},
		{"\"used\":9", "\"used\":\"9\"", "used"},
		/* Older servers do not count them. */
		{"\"used\":9", "\"used\":9,\"bad_blocks\":3", NULL},
		{"\"used\":9", "\"used\":9,\"bad_blocks\":-1", "bad_blocks"},
		{"\"used\":9", "\"used\":9,\"repaired_blocks\":\"1\"",
		 "repaired_blocks"},
		{"\"id\":3", "\"id\":2", "twice"},
		{"\"id\":2", "\"id\":1", "id 1"},
		{"\"stored\":10", "\"stored\":11", "stored"},
		{"\"stored\":10", "\"stored\":9", "missing"},
		{"\"complete\"", "\"done\"", "'done'"},
		{"a/b", "a/..", "must not be"},
		{HEX, "zz", "digest"},
		{"[5,6]", "[5,1]", "gone 1"},
		{"[5,6]", "[\"5\"]", "gone 0"},
		{"[5,6]", "{}", "gone"},
		{"\"open\":true", "\"open\":null", "open"},
	};

	(void)state;
	CHECK(good, decode_descriptor, changes);
}

/* What the encoder is given by other modules never breaks the document. */
static void test_encoder_cuts(void **state)
{
	struct wire_report w = {.number = 1, .state = REPORT_FAILED,
				.stored_bytes = UINT64_MAX}, got;
	struct wire_order order = {.number = 1,
				   .kind = ORDER_HOLD,
				   .id = 2,
				   .name = NULL,
				   .hold_until_s = INT64_MAX,
				   .deadline_s = INT64_MIN};
	struct wire_orders s = {.order = &order, .n_orders = 1}, again;
	char *json;
	size_t n;

	(void)state;
	strcpy(w.message, "line\nbreak \xff");
	memset(w.message + 12, 'z', 498);
	memcpy(w.message + 510, "\xe2\x82", 3); /* a cut character */
	assert_int_equal(wire_report_encode(&w, &json, &n), 0);
	assert_int_equal(wire_report_decode(json, n, &got, NULL), 0);
	assert_int_equal(got.stored_bytes, INT64_MAX);
	assert_memory_equal(got.message, "line?break ?zz", 14);
	assert_string_equal(got.message + 508, "zz??");
	free(json);

	uuid_make(s.store);
	strcpy(s.server, "line3");
	assert_int_equal(wire_orders_encode(&s, &json, &n), 0);
	assert_int_equal(wire_orders_decode(json, n, &again, NULL), 0);
	assert_string_equal(again.order[0].name, "");
	assert_true(again.order[0].hold_until_s == STAGEFS_TIME_MAX_S);
	assert_true(again.order[0].deadline_s == -STAGEFS_TIME_MAX_S);
	wire_orders_free(&again);
	free(json);
}

static void test_names_of_enums(void **state)
{
	enum wire_class c;
	enum wire_order_kind k;

	(void)state;
	for (int i = 0; i < CLASS_COUNT; i++) {
		assert_int_equal(wire_class_parse(
					 wire_class_name((enum wire_class)i),
					 &c),
				 0);
		assert_int_equal(c, i);
	}
	assert_int_equal(wire_class_parse("", &c), -EINVAL);
	assert_int_equal(wire_class_parse("Demand", &c), -EINVAL);
	assert_string_equal(wire_class_name(CLASS_COUNT), "unknown");
	for (int i = 0; i < ORDER_KIND_COUNT; i++) {
		assert_int_equal(wire_order_kind_parse(
					 wire_order_kind_name(
						 (enum wire_order_kind)i),
					 &k),
				 0);
		assert_int_equal(k, i);
	}
	assert_int_equal(wire_order_kind_parse("x", &k), -EINVAL);
	assert_string_equal(wire_order_kind_name(ORDER_KIND_COUNT), "unknown");
	assert_string_equal(wire_report_state_name(REPORT_DONE), "done");
	assert_string_equal(wire_image_state_name(IMAGE_FETCHING), "fetching");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_catalogs),
		cmocka_unit_test(test_random_orders),
		cmocka_unit_test(test_random_reports),
		cmocka_unit_test(test_random_descriptors),
		cmocka_unit_test(test_full_page),
		cmocka_unit_test(test_full_descriptor),
		cmocka_unit_test(test_too_many_bytes),
		cmocka_unit_test(test_million_entries),
		cmocka_unit_test(test_catalog_rules),
		cmocka_unit_test(test_orders_rules),
		cmocka_unit_test(test_report_rules),
		cmocka_unit_test(test_descriptor_rules),
		cmocka_unit_test(test_encoder_cuts),
		cmocka_unit_test(test_names_of_enums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
