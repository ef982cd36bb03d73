/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema.c - the tables of the origin.
 *
 * A step is never changed after a release; a new version of the schema is a
 * new step at the end. Times are seconds since 1970 (UTC).
 */
#include "origin/db/schema.h"

static const char step_1[] =
	/* uuid, prefetch_rate, link, lead, ... */
	"CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL)"
	" WITHOUT ROWID;"

	/*
	 * Folders and versions. The id is what every server uses as inode
	 * number: never reused (AUTOINCREMENT), the root is 1. A new version
	 * under an old name is a new row; the old one is removed=1. `fold` is
	 * name_fold(name): two live names of one folder may not share it.
	 * `revision` is that of the last change of the row; all rows
	 * that one transaction changes share one.
	 */
	"CREATE TABLE node("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" parent INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" fold TEXT NOT NULL,"
	" is_dir INTEGER NOT NULL,"
	" mtime_s INTEGER NOT NULL,"
	" size INTEGER NOT NULL DEFAULT 0,"
	" block_bytes INTEGER NOT NULL DEFAULT 0,"
	" digest BLOB,"
	" added_s INTEGER NOT NULL,"
	" revision INTEGER NOT NULL,"
	" removed INTEGER NOT NULL DEFAULT 0,"
	/*
	 * The object of a removed version stays in the store until then, so
	 * that servers in the middle of it can finish.
	 */
	" keep_until_s INTEGER NOT NULL DEFAULT 0);"
	"CREATE UNIQUE INDEX node_live ON node(parent, fold) WHERE removed=0;"
	"CREATE INDEX node_revision ON node(revision);"
	"CREATE INDEX node_digest ON node(digest) WHERE digest IS NOT NULL;"
	"INSERT INTO node(id,parent,name,fold,is_dir,mtime_s,added_s,revision)"
	" VALUES(1,0,'','',1,0,0,0);"

	/* Production servers, as they described themselves last. */
	"CREATE TABLE server("
	" name TEXT PRIMARY KEY,"
	" first_seen_s INTEGER NOT NULL,"
	" last_seen_s INTEGER NOT NULL,"
	" boot TEXT NOT NULL DEFAULT '',"
	" seq INTEGER NOT NULL DEFAULT 0,"
	" version TEXT NOT NULL DEFAULT '',"
	" time_zone TEXT NOT NULL DEFAULT 'UTC',"
	" clock_skew_s INTEGER NOT NULL DEFAULT 0,"
	" catalog_revision INTEGER NOT NULL DEFAULT 0,"
	" capacity INTEGER NOT NULL DEFAULT 0,"
	" used INTEGER NOT NULL DEFAULT 0,"
	" reserved INTEGER NOT NULL DEFAULT 0,"
	" free INTEGER NOT NULL DEFAULT 0,"
	" evictable INTEGER NOT NULL DEFAULT 0,"
	" prefetch_rate TEXT NOT NULL DEFAULT ''," /* time table, '': none */
	" address TEXT NOT NULL DEFAULT '') WITHOUT ROWID;"
	"CREATE TABLE server_image("
	" server TEXT NOT NULL REFERENCES server(name) ON DELETE CASCADE,"
	" id INTEGER NOT NULL,"
	" name TEXT NOT NULL,"
	" digest BLOB NOT NULL,"
	" size INTEGER NOT NULL,"
	" stored INTEGER NOT NULL,"
	" state INTEGER NOT NULL," /* enum wire_image_state */
	" stored_seq INTEGER NOT NULL,"
	" stored_at_s INTEGER NOT NULL,"
	" held_until_s INTEGER NOT NULL,"
	" open INTEGER NOT NULL,"
	" PRIMARY KEY(server,id)) WITHOUT ROWID;"

	/* What was ordered. state: enum order_state of servers/orders.h. */
	"CREATE TABLE orders("
	" number INTEGER PRIMARY KEY AUTOINCREMENT,"
	" server TEXT NOT NULL,"
	" kind INTEGER NOT NULL," /* enum wire_order_kind */
	" id INTEGER NOT NULL DEFAULT 0,"
	" digest BLOB,"
	" name TEXT NOT NULL DEFAULT '',"
	" size INTEGER NOT NULL DEFAULT 0,"
	" bytes INTEGER NOT NULL DEFAULT 0,"
	" cancels INTEGER NOT NULL DEFAULT 0,"
	" hold_until_s INTEGER NOT NULL DEFAULT 0,"
	" deadline_s INTEGER NOT NULL DEFAULT 0,"
	" job INTEGER NOT NULL DEFAULT 0,"
	" created_s INTEGER NOT NULL,"
	" sent_s INTEGER NOT NULL DEFAULT 0," /* first delivery */
	" sent_count INTEGER NOT NULL DEFAULT 0,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" stored INTEGER NOT NULL DEFAULT 0," /* last reported */
	" message TEXT NOT NULL DEFAULT '',"
	" updated_s INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX orders_open ON orders(server, number) WHERE state < 2;"
	"CREATE INDEX orders_job ON orders(job) WHERE job > 0;"
	"CREATE INDEX orders_final ON orders(updated_s) WHERE state >= 2;"
	"CREATE INDEX orders_hold ON orders(hold_until_s)"
	" WHERE hold_until_s > 0 AND job > 0;"

	/* The production plan. */
	"CREATE TABLE plan("
	" entry INTEGER PRIMARY KEY AUTOINCREMENT,"
	" server TEXT NOT NULL,"
	" image TEXT NOT NULL," /* name, resolved anew at each occurrence */
	" at_s INTEGER NOT NULL,"
	" zone TEXT NOT NULL DEFAULT ''," /* in which `at` was written */
	" until_s INTEGER NOT NULL DEFAULT 0," /* 0: open end */
	" repeat TEXT NOT NULL DEFAULT ''," /* RRULE */
	" priority INTEGER NOT NULL DEFAULT 0," /* higher first on a tie */
	" created_s INTEGER NOT NULL,"
	" removed_s INTEGER NOT NULL DEFAULT 0);"

	/* One per occurrence. state: enum job_state of schedule/schedule.h. */
	"CREATE TABLE job("
	" job INTEGER PRIMARY KEY AUTOINCREMENT,"
	" entry INTEGER NOT NULL REFERENCES plan(entry),"
	" at_s INTEGER NOT NULL," /* of this occurrence */
	" id INTEGER NOT NULL DEFAULT 0," /* version it stages */
	" state INTEGER NOT NULL DEFAULT 0,"
	" start_s INTEGER NOT NULL DEFAULT 0," /* planned or real */
	" expected_s INTEGER NOT NULL DEFAULT 0," /* when it will be staged */
	" staged_s INTEGER NOT NULL DEFAULT 0,"
	" stored INTEGER NOT NULL DEFAULT 0,"
	" size INTEGER NOT NULL DEFAULT 0,"
	" message TEXT NOT NULL DEFAULT '',"
	" updated_s INTEGER NOT NULL DEFAULT 0,"
	" UNIQUE(entry, at_s));"
	"CREATE INDEX job_at ON job(at_s);"
	"CREATE INDEX job_state ON job(state);"

	"CREATE TABLE log("
	" line INTEGER PRIMARY KEY AUTOINCREMENT,"
	" time_s INTEGER NOT NULL,"
	" event TEXT NOT NULL," /* sent, done, failed, staged, late, ... */
	" server TEXT,"
	" order_number INTEGER NOT NULL DEFAULT 0,"
	" image TEXT,"
	" text TEXT NOT NULL DEFAULT '');"
	"CREATE INDEX log_time ON log(time_s);";

/*
 * Groups of servers; and since an entry may stand for a group and a folder, a
 * job is of one server and one image of its entry.
 */
static const char step_2[] =
	"CREATE TABLE server_group("
	" name TEXT NOT NULL,"
	" server TEXT NOT NULL,"
	" PRIMARY KEY(name, server)) WITHOUT ROWID;"

	"CREATE TABLE job_2("
	" job INTEGER PRIMARY KEY AUTOINCREMENT,"
	" entry INTEGER NOT NULL REFERENCES plan(entry),"
	" server TEXT NOT NULL,"
	" image TEXT NOT NULL,"
	" at_s INTEGER NOT NULL,"
	" id INTEGER NOT NULL DEFAULT 0,"
	" state INTEGER NOT NULL DEFAULT 0,"
	" start_s INTEGER NOT NULL DEFAULT 0,"
	" expected_s INTEGER NOT NULL DEFAULT 0,"
	" staged_s INTEGER NOT NULL DEFAULT 0,"
	" stored INTEGER NOT NULL DEFAULT 0,"
	" size INTEGER NOT NULL DEFAULT 0,"
	" message TEXT NOT NULL DEFAULT '',"
	" updated_s INTEGER NOT NULL DEFAULT 0,"
	" UNIQUE(entry, server, image, at_s));"
	"INSERT INTO job_2 SELECT job,entry,server,image,job.at_s,id,state,"
	" start_s,expected_s,staged_s,stored,size,message,updated_s"
	" FROM job JOIN plan USING(entry);"
	/* Numbers are never given twice. */
	"DELETE FROM sqlite_sequence WHERE name='job_2';"
	"INSERT INTO sqlite_sequence(name,seq) SELECT 'job_2',seq"
	" FROM sqlite_sequence WHERE name='job';"
	"DROP TABLE job;"
	"ALTER TABLE job_2 RENAME TO job;"
	"CREATE INDEX job_at ON job(at_s);"
	"CREATE INDEX job_state ON job(state);";

/* What their disks lost: a descriptor tells. */
static const char step_3[] =
	"ALTER TABLE server ADD COLUMN bad_blocks INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE server ADD COLUMN repaired_blocks INTEGER NOT NULL"
	" DEFAULT 0;";

static const char *const steps[] = {step_1, step_2, step_3, NULL};

const struct db_schema origin_schema = {
	.application_id = 0x53474f31, /* "SGO1" */
	.step = steps,
};
