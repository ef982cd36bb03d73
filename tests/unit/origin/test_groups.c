/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries for groups and folders: what they stand for, at random, against a
 * model that is two loops; what happens to jobs and orders when a server
 * leaves a group or an image its folder; and a database from before.
 */
#include "planworld.h"

#include "origin/servers/groups.h"
#include "tests/unit/xorshift.h"

#define SERVERS 4
#define GROUPS 2
#define IMAGES 5
#define ENTRIES 12

static const char *const server_name[SERVERS] = {"s0", "s1", "s2", "s3"};
static const char *const group_name[GROUPS] = {"@east", "@west"};
static const struct {
	const char *path, *part;
	unsigned parent; /* 0: the root, 1: f, 2: f/sub */
} image[IMAGES] = {{"a", "a", 0},
		   {"f/a", "a", 1},
		   {"f/b", "b", 1},
		   {"f/sub/c", "c", 2},
		   {"fx", "fx", 0}};
static const char *const wanted_image[] = {"a", "f/a", "f/", "f/sub/", "fx",
					   "f/sub/c"};

static int64_t folder[3];

static int64_t make_folder(const char *part, int64_t parent)
{
	assert_int_equal(
		db_run(db, NULL,
		       "INSERT INTO node(parent,name,fold,is_dir,mtime_s,"
		       "added_s,revision) VALUES(?1,?2,?2,1,0,0,1)",
		       "is", parent, part),
		0);
	return db_last_id(db);
}

static void make_folders(void)
{
	folder[0] = 1;
	folder[1] = make_folder("f", 1);
	folder[2] = make_folder("sub", folder[1]);
}

static void unpublish_image(int i)
{
	assert_int_equal(db_run(db, NULL,
				"UPDATE node SET removed=1 WHERE parent=? AND"
				" name=? AND is_dir=0",
				"is", folder[image[i].parent], image[i].part),
			 0);
}

static void publish_image(int i)
{
	static uint8_t fill;
	uint8_t digest[DIGEST_BYTES];

	memset(digest, ++fill, sizeof(digest));
	unpublish_image(i);
	assert_int_equal(
		db_run(db, NULL,
		       "INSERT INTO node(parent,name,fold,is_dir,mtime_s,size,"
		       "block_bytes,digest,added_s,revision)"
		       " VALUES(?1,?2,?2,0,0,1000000,1048576,?3,0,1)",
		       "isb", folder[image[i].parent], image[i].part, digest,
		       sizeof(digest)),
		0);
}

static void join(const char *group, const char *srv)
{
	char *list[1] = {(char *)srv};

	assert_int_equal(groups_add(db, group, list, 1, now, NULL), 0);
}

static void leave(const char *group, const char *srv)
{
	char *list[1] = {(char *)srv};

	assert_int_equal(groups_remove(db, group, list, 1, now, NULL), 0);
}

/* ---- the model --------------------------------------------------------- */

struct entry {
	int64_t number, at, until; /* 0: none, removed */
	const char *server, *image;
};

static bool is_in[GROUPS][SERVERS], is_live[IMAGES];
static struct entry entry[ENTRIES];

static bool means_server(const char *of, const char *name)
{
	int n = 0;

	if (*of != '@')
		return strcmp(of, name) == 0;
	for (int g = 0; g < GROUPS; g++)
		for (int s = 0; s < SERVERS; s++)
			if (strcmp(group_name[g], of) == 0 && is_in[g][s]) {
				n++;
				if (strcmp(server_name[s], name) == 0)
					return true;
			}
	return n == 0 && strcmp(of, name) == 0; /* itself, if it is empty */
}

static bool means_image(const char *of, const char *name)
{
	size_t len = strlen(of);
	int n = 0;

	if (of[len - 1] != '/')
		return strcmp(of, name) == 0;
	for (int i = 0; i < IMAGES; i++)
		if (is_live[i] && strncmp(image[i].path, of, len) == 0) {
			n++;
			if (strcmp(image[i].path, name) == 0)
				return true;
		}
	return n == 0 && strcmp(of, name) == 0;
}

/* Every name that a want may have. */
static const char *any_server(int i)
{
	return i < SERVERS ? server_name[i] : group_name[i - SERVERS];
}

static const char *any_image(int i)
{
	return i < IMAGES ? image[i].path : i == IMAGES ? "f/" : "f/sub/";
}

static bool has_want(const struct view *v, int64_t number, const char *srv,
		     const char *name)
{
	for (size_t i = 0; i < v->in.n_wants; i++) {
		const struct sched_want *w = &v->in.want[i];

		if (w->entry == number &&
		    strcmp(v->in.server[w->server].name, srv) == 0 &&
		    strcmp(w->image, name) == 0)
			return true;
	}
	return false;
}

static void check_view(void)
{
	struct view *v;
	size_t n = 0, n_live = 0;
	struct err e;

	assert_int_equal(view_make(db, now, 0, 0, 0, &v, &e), 0);
	for (int k = 0; k < ENTRIES; k++)
		for (int s = 0; s < SERVERS + GROUPS; s++)
			for (int i = 0; i < IMAGES + 2; i++) {
				bool want = entry[k].number &&
					    entry[k].until > now &&
					    means_server(entry[k].server,
							 any_server(s)) &&
					    means_image(entry[k].image,
							any_image(i));

				if (want && !has_want(v, entry[k].number,
						      any_server(s),
						      any_image(i)))
					fail_msg("entry %lld: no %s on %s",
						 (long long)entry[k].number,
						 any_image(i), any_server(s));
				n += want;
			}
	assert_int_equal(v->in.n_wants, n); /* and nothing else */
	/* Each has its row, no other row is alive. */
	for (size_t i = 0; i < n; i++) {
		assert_true(v->in.want[i].job > 0);
		n_live += v->out.job[i].state != JOB_STAGED &&
			  v->out.job[i].state != JOB_FAILED;
	}
	assert_int_equal(count("SELECT count(*) FROM job WHERE state IN"
			       " (0,1,3)"), n_live);
	view_free(v);
}

static unsigned below(unsigned n)
{
	static uint64_t seed = 88172645463325252u;

	return (unsigned)(xorshift(&seed) % n);
}

static void change_entry(struct entry *x)
{
	struct err e;

	if (x->number) {
		assert_int_equal(plan_remove(db, &x->number, 1, now, &e), 0);
		x->number = 0;
		return;
	}
	x->server = any_server((int)below(SERVERS + GROUPS));
	x->image = wanted_image[below(6)];
	x->at = now + 60 + below(7200);
	x->until = x->at + 60 + below(7200);
	x->number = plan(x->server, x->image, x->at, x->until);
}

static void change(void)
{
	unsigned g = below(GROUPS), s = below(SERVERS), i = below(IMAGES);

	switch (below(6)) {
	case 0:
	case 1:
		if (is_in[g][s])
			leave(group_name[g] + 1, server_name[s]);
		else
			join(group_name[g] + 1, server_name[s]);
		is_in[g][s] = !is_in[g][s];
		break;
	case 2:
	case 3:
		is_live[i] = below(3) > 0;
		if (is_live[i])
			publish_image((int)i);
		else
			unpublish_image((int)i);
		break;
	case 4:
		change_entry(&entry[below(ENTRIES)]);
		break;
	default:
		now += below(1200);
		break;
	}
	for (s = 0; s < SERVERS; s++)
		server(server_name[s], 1000 * MB, 1000 * MB);
}

static void test_random(void **state)
{
	(void)state;
	make_folders();
	for (int round = 0; round < 400; round++) {
		change();
		run();
		check_view();
	}
	assert_true(count("SELECT max(job) FROM job") > 50);
}

/* ---- what follows ------------------------------------------------------ */

/* A server that leaves is wanted nothing of any more, one that comes is. */
static void test_leaving(void **state)
{
	int64_t e;

	(void)state;
	make_folders();
	publish_image(1);
	server("s0", 1000 * MB, 1000 * MB);
	server("s1", 1000 * MB, 1000 * MB);
	join("east", "s0");
	e = plan("@east", "f/", T0 + H, T0 + 2 * H);
	run();
	assert_string_equal(orders("s0"), "1 prefetch 4");
	assert_string_equal(orders("s1"), "");
	join("east", "s1");
	leave("east", "s0");
	run();
	assert_string_equal(orders("s0"), ""); /* cancelled: was not sent */
	assert_string_equal(orders("s1"), "2 prefetch 4");
	assert_int_equal(count("SELECT count(*) FROM job WHERE server='s0' AND"
			       " state=4 AND message LIKE '%any more%'"), 1);
	/* What is published into the folder is wanted too. */
	publish_image(2);
	run();
	assert_int_equal(count("SELECT count(*) FROM job WHERE server='s1' AND"
			       " image='f/b' AND state=0"), 1);
	leave("east", "s1");
	run();
	assert_string_equal(orders("s1"), "");
	assert_int_equal(count("SELECT count(*) FROM job WHERE server='@east'"
			       " AND image='f/a'"), 1);
	/* Back again: the same row lives again. */
	join("east", "s0");
	run();
	assert_string_equal(orders("s0"), "4 prefetch 4, 5 prefetch 5");
	assert_int_equal(count("SELECT count(*) FROM job WHERE server='s0' AND"
			       " image='f/a'"), 1);
	assert_int_equal(count("SELECT count(*) FROM job WHERE server='@east'"),
			 0);
	assert_int_equal(e, 1);
}

static void test_repeats(void **state)
{
	struct plan_entry p = {.at_s = T0 + 2 * H, .until_s = T0 + 4 * H,
			       .zone = "UTC", .repeat = "FREQ=DAILY",
			       .server = "@east", .image = (char *)"f/"};
	struct err e;

	(void)state;
	make_folders();
	publish_image(1);
	join("east", "s0");
	server("s0", 1000 * MB, 1000 * MB);
	server("s1", 1000 * MB, 1000 * MB);
	assert_int_equal(plan_add(db, &p, now, &e), 0);
	run();
	/* Today's, and the next one after the lead time; each of both. */
	assert_int_equal(count("SELECT count(*) FROM job"), 2);
	join("east", "s1");
	publish_image(2);
	run();
	assert_int_equal(count("SELECT count(*) FROM job"), 8);
	now += 24 * H;
	server("s0", 1000 * MB, 1000 * MB);
	server("s1", 1000 * MB, 1000 * MB);
	/* One that joins has other dates to come than those that were in. */
	server("s2", 1000 * MB, 1000 * MB);
	join("east", "s2");
	run();
	assert_int_equal(count("SELECT count(*) FROM job"), 12 + 4);
	assert_int_equal(count("SELECT count(DISTINCT at_s) FROM job"), 3);
}

static void test_bad_names(void **state)
{
	char *const good[] = {(char *)"s1"}, *const bad[] = {(char *)"s1",
							     (char *)"../x"};
	struct plan_entry p = {.at_s = T0, .zone = "UTC"};
	struct group_member *m;
	struct err e;
	size_t n;

	(void)state;
	assert_int_equal(groups_add(db, "@x", good, 1, now, &e), -EINVAL);
	assert_int_equal(groups_add(db, "x", bad, 2, now, &e), -EINVAL);
	assert_int_equal(groups_remove(db, "x", NULL, 0, now, &e), -ENOENT);
	assert_int_equal(groups_add(db, "x", good, 1, now, &e), 0);
	assert_int_equal(groups_add(db, "x", good, 1, now, &e), 0);
	assert_int_equal(groups_remove(db, "x", bad, 2, now, &e), -ENOENT);
	assert_int_equal(groups_list(db, &m, &n, &e), 0);
	assert_int_equal(n, 1); /* nothing of what was refused */
	assert_string_equal(m[0].group, "x");
	free(m);
	strcpy(p.server, "@");
	p.image = (char *)"a";
	assert_int_equal(plan_add(db, &p, now, &e), -EINVAL);
	strcpy(p.server, "s1");
	p.image = (char *)"/";
	assert_int_equal(plan_add(db, &p, now, &e), -EINVAL);
	p.image = (char *)"a//";
	assert_int_equal(plan_add(db, &p, now, &e), -EINVAL);
}

/* A job of an origin of before is the job of its entry's server and image. */
static void test_older_database(void **state)
{
	struct err e;

	(void)state;
	publish("a.wim", 600 * MB);
	server("line3", 1000 * MB, 1000 * MB);
	plan("line3", "a.wim", T0 + 2 * H, 0);
	run();
	sql("ALTER TABLE server DROP COLUMN bad_blocks");
	sql("ALTER TABLE server DROP COLUMN repaired_blocks");
	sql("DROP TABLE server_group");
	sql("CREATE TABLE old AS SELECT * FROM job");
	sql("DROP TABLE job");
	sql("CREATE TABLE job(job INTEGER PRIMARY KEY AUTOINCREMENT,"
	    "entry INTEGER NOT NULL REFERENCES plan(entry),at_s INTEGER NOT "
	    "NULL,id INTEGER NOT NULL DEFAULT 0,state INTEGER NOT NULL DEFAULT "
	    "0,start_s INTEGER NOT NULL DEFAULT 0,expected_s INTEGER NOT NULL "
	    "DEFAULT 0,staged_s INTEGER NOT NULL DEFAULT 0,stored INTEGER NOT "
	    "NULL DEFAULT 0,size INTEGER NOT NULL DEFAULT 0,message TEXT NOT "
	    "NULL DEFAULT '',updated_s INTEGER NOT NULL DEFAULT 0,"
	    "UNIQUE(entry, at_s))");
	sql("INSERT INTO job SELECT job,entry,at_s,id,state,start_s,expected_s,"
	    "staged_s,stored,size,message,updated_s FROM old");
	sql("INSERT INTO job(job,entry,at_s) VALUES(70,1,1)");
	sql("DELETE FROM job WHERE job=70");
	sql("DROP TABLE old");
	sql("PRAGMA user_version=1");
	db_close(db);
	assert_int_equal(origindb_open(dir, &db, &e), 0);
	assert_int_equal(count("SELECT count(*) FROM job WHERE server='line3'"
			       " AND image='a.wim' AND job=1"), 1);
	run();
	assert_string_equal(orders("line3"), "1 prefetch 2");
	plan("line3", "a.wim", T0 + 3 * H, 0);
	run();
	/* No number is given twice. */
	assert_int_equal(count("SELECT max(job) FROM job"), 71);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_random),	TEST(test_leaving),
		TEST(test_repeats),	TEST(test_bad_names),
		TEST(test_older_database),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
