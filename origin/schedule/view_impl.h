/* SPDX-License-Identifier: Apache-2.0 */
/* view_impl.h - between view.c (all together) and its readers. */
#ifndef STAGEFS_ORIGIN_SCHEDULE_VIEW_IMPL_H
#define STAGEFS_ORIGIN_SCHEDULE_VIEW_IMPL_H

#include <uthash.h>

#include "origin/schedule/view.h"
#include "origin/servers/groups.h"

struct named_server {
	char name[PLAN_SERVER_MAX_BYTES + 1]; /* also of an empty group */
	size_t index;
	UT_hash_handle hh;
};

struct named_image {
	char *name;
	uint64_t id, size_bytes; /* id 0: there is none */
	UT_hash_handle hh;
};

struct named_folder {
	const char *name; /* the entry's, with its '/' */
	struct named_image **image; /* by name */
	size_t n, room;
	UT_hash_handle hh;
};

struct held {
	struct {
		uint64_t id;
		int64_t until_s;
		size_t server;
	} key;
	UT_hash_handle hh;
};

struct named_rates {
	char key[64 + 256]; /* zone and table */
	struct rates rates;
	UT_hash_handle hh;
};

struct view_data {
	struct sched_server *server;
	size_t n_servers, servers_room;
	struct sched_want *want;
	size_t n_wants, wants_room;
	struct sched_order *order;
	size_t n_orders, orders_room;
	struct sched_image *image;
	size_t n_images, images_room;
	struct job_row *job;
	size_t n_jobs, jobs_room, over_room, gone_room;
	struct group_member *member;
	size_t n_members;
	struct rates rates;
	struct named_server *servers;
	struct named_image *images;
	struct named_folder *folders;
	struct named_rates *tables;
	struct held *held;
};

/* The index of a server; one that is not known yet is added. -ENOMEM. */
int view_find_server(struct view_data *d, const char *name, size_t *ret);

/* view_settings.c */
int view_read_settings(struct db *db, struct view *v, struct err *e);
/* view_servers.c: servers, what they store and hold, orders. */
int view_read_servers(struct db *db, struct view *v, struct err *e);
/* view_wants.c: entries, what they stand for, and their jobs. */
int view_read_wants(struct db *db, struct view *v, int64_t ahead_s,
		    struct err *e);

/* ---- view_names.c ------------------------------------------------------ */

/* By name; one that was not asked for yet is made, with id UINT64_MAX. */
int view_image_named(struct view_data *d, const char *name,
		     struct named_image **ret);
/* What the entry's `name` stands for: never none. */
int view_images_of(struct db *db, struct view_data *d, const char *name,
		   struct named_folder **ret);
/* The first member of a group; n_members if it has none. */
size_t view_first_member(const struct view_data *d, const char *group);
/* The k-th server of an entry; NULL: there are no more. `first`: its group's,
 * n_members for an entry of one server. */
const char *view_server_of(const struct view_data *d,
			   const struct plan_entry *p, size_t first, size_t k);

#endif
