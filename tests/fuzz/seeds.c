/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seeds.c - writes the corpora of the documents: right ones by our own
 * encoders (good-*), and ones that are wrong in one place (bad-*). Run it in
 * tests/fuzz/corpus/ after a change of the format; the same program writes
 * the same files.
 *
 *	fuzz_seeds FOLDER
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/envelope.h"
#include "common/fdio.h"
#include "common/manifest.h"
#include "tests/unit/common/wire_random.h"

static const char *top;

static void save(const char *what, const char *name, const void *data, size_t n)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, what);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", top, what, name);
	if (file_replace_at(AT_FDCWD, path, data, n, 0644) < 0) {
		perror(path);
		exit(1);
	}
}

static void save_text(const char *what, const char *name, const char *text)
{
	save(what, name, text, strlen(text));
}

/* The i-th right one. */
static void save_good(const char *what, size_t i, const char *suffix,
		      const void *data, size_t n)
{
	char name[32];

	snprintf(name, sizeof(name), "good-%zu%s", i, suffix);
	save(what, name, data, n);
}

/* The right document with `with` in place of the first `old`. */
struct edit {
	const char *name, *old, *with;
};

static void save_edited(const char *what, const char *json,
			const struct edit *list)
{
	for (const struct edit *e = list; e->name; e++) {
		const char *at = strstr(json, e->old);
		char *text;

		if (!at || asprintf(&text, "%.*s%s%s", (int)(at - json), json,
				    e->with, at + strlen(e->old)) < 0) {
			fprintf(stderr, "%s/%s: no %s\n", what, e->name,
				e->old);
			exit(1);
		}
		save_text(what, e->name, text);
		free(text);
	}
}

static void make_catalogs(void)
{
	static const struct edit bad[] = {
		{"bad-id.json", "\"id\":", "\"id\":0,\"x\":"},
		{"bad-twice.json", "\"id\":", "\"id\":7,\"id\":"},
		{"bad-kind.json", "catalog", "orders"},
		{"bad-format.json", "\"format\":1", "\"format\":2"},
		{"bad-store.json", "\"store\":\"", "\"store\":\"x"},
		{"bad-name.json", "\"name\":\"", "\"name\":\"../"},
		{"bad-nul.json", "\"name\":\"", "\"name\":\"\\u0000"},
		{"bad-revision.json", "\"revision\":", "\"revision\":-"},
		{"bad-deep.json", "[", "[[[[[[[[[[[[[[[[[[[["},
		{0}};
	struct random r = {11};
	struct wire_catalog c;
	char *json = NULL;
	size_t n;

	for (size_t i = 0; i < 4; i++) {
		free(json);
		random_catalog(&r, i * 4, &c);
		while (c.n_entries < i) {
			wire_catalog_free(&c);
			random_catalog(&r, i * 4, &c);
		}
		c.more = i == 3;
		wire_catalog_encode(&c, &json, &n);
		save_good("catalog", i, ".json", json, n);
		wire_catalog_free(&c);
	}
	save_edited("catalog", json, bad);
	save("catalog", "bad-cut.json", json, n - 7);
	free(json);
}

static void make_orders(void)
{
	static const struct edit bad[] = {
		{"bad-number.json", "\"number\":", "\"number\":0,\"x\":"},
		{"bad-server.json", "\"server\":\"", "\"server\":\"/"},
		{"bad-kind.json", "\"orders\":[",
		 "\"orders\":[{\"number\":1,\"kind\":\"format\"},"},
		{"bad-list.json", "\"orders\":[", "\"orders\":[[],"},
		{"bad-digest.json", "\"digest\":\"", "\"digest\":\"0"},
		{0}};
	struct random r = {12};
	struct wire_orders s;
	char *json = NULL;
	size_t n;

	for (size_t i = 0; i < 3; i++) {
		free(json);
		random_orders(&r, i * 8, &s);
		while (s.n_orders < i * 4) {
			wire_orders_free(&s);
			random_orders(&r, i * 8, &s);
		}
		wire_orders_encode(&s, &json, &n);
		save_good("orders", i, ".json", json, n);
		wire_orders_free(&s);
	}
	save_edited("orders", json, bad);
	save("orders", "bad-cut.json", json, n / 2);
	free(json);
	/* A member that this kind of order does not have means nothing. */
	save_text("orders", "good-stray-id.json",
		  "{\"format\":1,\"kind\":\"orders\",\"store\":"
		  "\"6973cea1-5f9e-42db-835d-1fcf25d16494\","
		  "\"server\":\"line3\",\"catalog_revision\":0,\"orders\":["
		  "{\"number\":4,\"kind\":\"reclaim\",\"bytes\":7,\"id\":4}]}");
}

static void make_reports(void)
{
	static const struct edit bad[] = {
		{"bad-state.json", "failed", "fine"},
		{"bad-number.json", "\"number\":", "\"number\":-"},
		{"bad-message.json", "\"message\":\"",
		 "\"message\":\"a\\nb"},
		{0}};
	struct random r = {13};
	struct wire_report w;
	char *json = NULL;
	size_t n;

	for (size_t i = 0; i < 3; i++) {
		free(json);
		random_report(&r, &w);
		w.state = (enum wire_report_state)i;
		wire_report_encode(&w, &json, &n);
		save_good("report", i, ".json", json, n);
	}
	save_edited("report", json, bad);
	save("report", "bad-cut.json", json, n - 1);
	free(json);
}

static void make_descriptors(void)
{
	static const struct edit bad[] = {
		{"bad-seq.json", "\"seq\":", "\"seq\":0,\"x\":"},
		{"bad-full.json", "\"base\":", "\"base\":0,\"x\":"},
		{"bad-gone.json", "\"gone\":[", "\"gone\":[1,"},
		{"bad-stored.json", "\"stored\":", "\"stored\":9"},
		{"bad-boot.json", "\"boot\":\"", "\"boot\":\"-"},
		{0}};
	struct random r = {14};
	struct wire_descriptor d;
	char *json = NULL;
	size_t n;

	for (size_t i = 0; i < 4; i++) {
		free(json);
		random_descriptor(&r, i * 3, &d);
		while (d.n_images < i || (i == 3 && !d.n_gone)) {
			wire_descriptor_free(&d);
			random_descriptor(&r, i * 3, &d);
		}
		wire_descriptor_encode(&d, &json, &n);
		save_good("descriptor", i, ".json", json, n);
		wire_descriptor_free(&d);
	}
	save_edited("descriptor", json, bad);
	save("descriptor", "bad-cut.json", json, n - 30);
	free(json);
}

static void make_manifests(void)
{
	static const uint64_t lengths[] = {0, 1, 65536, 5 * 65536 - 3};
	void *data = NULL;
	size_t n;

	for (size_t i = 0; i < 4; i++) {
		uint64_t blocks = manifest_block_count(lengths[i], 65536);
		struct digest *hash = calloc(blocks + 1, sizeof(*hash));
		struct random r = {15};
		struct manifest *m;

		free(data);
		for (uint64_t b = 0; b < blocks; b++)
			random_digest(&r, &hash[b]);
		if (manifest_build(lengths[i], 65536, hash, &m) < 0 ||
		    manifest_encode(m, &data, &n) < 0)
			exit(1);
		save_good("manifest", i, ".bin", data, n);
		manifest_free(m);
	}
	save("manifest", "bad-cut.bin", data, n - 1);
	save("manifest", "bad-head.bin", data, 23);
	((uint8_t *)data)[8] = 1;
	save("manifest", "bad-block.bin", data, n);
	((uint8_t *)data)[8] = 0;
	((uint8_t *)data)[23] = 0xff;
	save("manifest", "bad-length.bin", data, n);
	((uint8_t *)data)[0] = 's';
	save("manifest", "bad-magic.bin", data, n);
	free(data);
}

static char *seal(const char *json, size_t json_n, size_t *ret_n)
{
	static const uint8_t seed[SIGN_KEY_BYTES] =
		"stagefs fuzz corpus, not secret";
	struct sign_secret k;
	char *text;

	if (sign_from_seed(seed, &k) < 0 ||
	    envelope_seal(&k, json, json_n, &text, ret_n) < 0)
		exit(1);
	return text;
}

static void make_envelopes(void)
{
	size_t n;
	char *text = seal("{\"format\":1}", 12, &n);

	save("envelope", "good-1", text, n);
	save("envelope", "bad-cut", text, 150);
	text[20]++;
	save("envelope", "bad-key", text, n);
	text[20]--;
	text[n - 2] = '2';
	save("envelope", "bad-text", text, n);
	text[15] = '2';
	save("envelope", "bad-version", text, n);
	free(text);
	text = seal("", 0, &n);
	save("envelope", "good-2", text, n);
	free(text);
	save_text("envelope", "bad-page",
		  "<html><body>It works!</body></html>");
}

/* A page as CACHE/catalog has it; *n with what is before it. */
static char *kept_page(char *before, size_t *n, struct wire_catalog *c)
{
	size_t json_n, text_n, head_n;
	char *json, *text, *all, head[32];

	strcpy(c->store, "6973cea1-5f9e-42db-835d-1fcf25d16494");
	wire_catalog_encode(c, &json, &json_n);
	text = seal(json, json_n, &text_n);
	head_n = (size_t)snprintf(head, sizeof(head), "page %zu\n", text_n);
	all = malloc(*n + head_n + text_n + 2);
	memcpy(all, before, *n);
	memcpy(all + *n, head, head_n);
	memcpy(all + *n + head_n, text, text_n);
	*n += head_n + text_n + 1;
	all[*n - 1] = '\n';
	all[*n] = '\0';
	free(json);
	free(text);
	return all;
}

static void make_kept(void)
{
	static const struct edit bad[] = {
		{"bad-magic", "catalog 1", "catalog 2"},
		{"bad-length", "page ", "page 999999999"},
		{"bad-text", "win11", "win12"},
		{"bad-later", "\"removed\":[{", "\"removed\": [{"},
		{0}};
	char folder[] = "win11", file[] = "base.wim";
	struct wire_entry entry[] = {
		{.id = 2, .parent = 1, .name = folder, .is_dir = true},
		{.id = 3, .parent = 2, .name = file,
		 .size_bytes = 3000000, .block_bytes = 1 << 20}};
	struct wire_removed removed = {.id = 3, .parent = 2,
				       .name = file};
	struct wire_catalog first = {.revision = 3, .entry = entry,
				     .n_entries = 2};
	struct wire_catalog second = {.since = 3, .revision = 4,
				      .removed = &removed, .n_removed = 1};
	char magic[] = "stagefs-catalog 1\n", *one, *two;
	size_t n = strlen(magic), both;

	one = kept_page(magic, &n, &first);
	both = n;
	two = kept_page(one, &both, &second);
	save("kept", "good-0", one, n);
	save("kept", "good-1", two, both);
	/* What a crash leaves of the second: cut off. */
	save("kept", "good-torn", two, (n + both) / 2);
	save_edited("kept", two, bad);
	free(one);
	free(two);
}

static void make_answers(void)
{
	static const struct edit bad[] = {
		{"bad-status", "206", "200"},
		{"bad-first", "1048576-", "0-"},
		{"bad-total", "/3500000", "/3500001"},
		{"bad-star", "/3500000", "/*"},
		{"bad-unit", "bytes ", "octets "},
		{"bad-gzip", "identity", "gzip"},
		{"bad-length", "\n1048576", "\n1048577"},
		{"bad-none", "bytes 1048576-2097151/3500000", ""},
		{0}};
	const char *good = "206\nbytes 1048576-2097151/3500000\nidentity\n"
			   "1048576";

	save_text("answer", "good-0", good);
	save_text("answer", "good-1",
		  "206\nBytes 1048576-2097151/3500000\n\n");
	save_edited("answer", good, bad);
}

static void make_options(void)
{
	static const struct edit bad[] = {
		{"bad-name", "name=line3", "name=li ne"},
		{"bad-unit", "500G", "500Q"},
		{"bad-unknown", "capacity", "capcity"},
		{"bad-path", "=/srv", "=srv"},
		{"bad-span", "1m30s", "1m30"},
		{"bad-range", "memory=1G", "memory=1k"},
		{"bad-part", "fetch+cache", "fetch+cash"},
		{0}};
	const char *good =
		"rw,name=line3,capacity=500G,cache=/srv/c,min-free=0,"
		"key=/etc/k,ca=/etc/ca,fill-after=never,look-ahead=64M,"
		"io-timeout=1m30s,serve=complete,passthrough=off,memory=1G,"
		"user=nobody,log=/var/log/s,debug=fetch+cache\n"
		"http://origin:8420,https://[2001:db8::1]:8443/";

	save_text("options", "good-0", good);
	save_text("options", "good-1",
		  "x-systemd.automount,_netdev,nofail,user\n"
		  "ftp://x,http://u@x,http://x/y");
	save_edited("options", good, bad);
}

static void make_requests(void)
{
	static const struct edit bad[] = {
		{"bad-verb", "evict", "reboot"},
		{"bad-type", "true", "1"},
		{"bad-twice", "{", "{\"verb\":\"list\","},
		{"bad-name", "win11/base.wim", "../base.wim"},
		{"bad-more", "}", "} x"},
		{0}};
	static const char *const good[] = {
		"{\"verb\":\"status\"}", "{\"verb\":\"list\"}",
		"{\"verb\":\"fetch\",\"name\":\"win11/base.wim\"}",
		"{\"verb\":\"verify\",\"name\":\"win11/base.wim\"}",
		"{\"verb\":\"why\",\"name\":\"win11/base.wim\"}"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		save_good("control", i, "", good[i], strlen(good[i]));
	/* In no order: there may be nothing to evict. */
	save_text("control", "evict",
		  "{\"verb\":\"evict\",\"name\":\"win11/base.wim\","
		  "\"force\":true}");
	save_edited("control",
		    "{\"verb\":\"evict\",\"name\":\"win11/base.wim\","
		    "\"force\":true}", bad);
}

static void make_names(void)
{
	char deep[140] = "";

	save_text("names", "good-1", "win11/base.wim");
	save_text("names", "good-2", "linux/r\xc3\xa9scue \xe2\x82\xac.iso");
	save_text("names", "good-3", "a+b/.x/{1},~'&%=");
	for (int i = 0; i < 64; i++)
		strcat(deep, "d/");
	deep[127] = 0;
	save_text("names", "good-4", deep);
	strcat(deep, "/e");
	save_text("names", "bad-deep", deep);
	save_text("names", "bad-up", "a/../../etc/passwd");
	save_text("names", "bad-root", "/etc/passwd");
	save_text("names", "bad-overlong", "a\xc0\xaf\xc0\xae");
	save_text("names", "bad-surrogate", "a\xed\xa0\x80z");
	save_text("names", "bad-control", "a\x1b[31m");
	save_text("names", "bad-c1", "a\xc2\x9bz");
	save_text("names", "bad-blank", "a /b");
	save_text("names", "bad-dot", "con./x");
	save_text("names", "bad-smb", "C:\\x");
	save_text("names", "bad-empty", "");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	top = argv[1];
	make_catalogs();
	make_orders();
	make_reports();
	make_descriptors();
	make_manifests();
	make_envelopes();
	make_names();
	make_kept();
	make_answers();
	make_options();
	make_requests();
	return 0;
}
