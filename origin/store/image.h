/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - what a person does with images: add, remove, check.
 *
 * An add goes through these steps; killed between any two, it leaves nothing
 * that is published, and what lies around is removed by the next add:
 *
 *	incoming/add-*	made, flocked		ingest.c
 *	  bytes copied and hashed, fsync
 *	objects.lock	taken, shared		add.c
 *	  incoming/add-* renamed to objects/<digest>, fsync of the folder
 *	  manifests/<digest> written, renamed, fsync of file and folder
 *	  one transaction: folders, new row, old row removed	publish.c
 *	objects.lock	released
 *
 * Whoever removes files from objects/ or manifests/ (sweep.c) holds
 * objects.lock alone, so an object that an add has found or put there stays
 * until the row that needs it is committed.
 */
#ifndef STAGEFS_ORIGIN_STORE_IMAGE_H
#define STAGEFS_ORIGIN_STORE_IMAGE_H

#include <signal.h>

#include "common/progress.h"
#include "origin/store/store.h"

/* How long the object of a replaced version stays for servers that are in the
 * middle of it. */
#define IMAGE_KEEP_DEFAULT_S (24 * 60 * 60)

struct image_add {
	const char *file, *name;
	int64_t now_s;
	int64_t keep_s;	    /* of the version that it replaces */
	bool show_progress; /* on stderr, if that is a terminal */
	const volatile sig_atomic_t *stop; /* set: give up, clean up */
};

struct image_added {
	struct node node;
	bool unchanged;	 /* the name has this content already */
	bool shared;	 /* another name has it: nothing was stored */
	bool reflinked;
	bool replaced;	 /* there was an older version */
};

/*
 * Publishes a file. -EINVAL: bad name, or not a regular file; -EEXIST: the
 * name clashes; -EAGAIN: the file changed while it was read; -ENOSPC;
 * -EFBIG; -EINTR: stopped. After any error nothing is published.
 */
int image_add(struct store *s, struct db *db, const struct image_add *a,
	      struct image_added *ret, struct err *e);

/*
 * Takes a name out of the catalog, folders that become empty too, and the
 * bytes out of the store if no other name has them. -EBUSY: the plan needs it
 * and not `force`. Who has the object open goes on reading it.
 */
int image_remove(struct store *s, struct db *db, const char *name, bool force,
		 int64_t now_s, struct node *ret, struct err *e);

#define IMAGE_CHECK_BAD_MAX 16

struct image_check {
	uint64_t n_blocks, n_bad;
	uint64_t bad[IMAGE_CHECK_BAD_MAX]; /* the first ones, ascending */
	char problem[160]; /* of the whole: "object is missing"; else "" */
};

/*
 * Hashes a version's object on all cores, past the page cache as far as the
 * kernel allows, and compares with its manifest. 0: checked, *ret says how it
 * is. -EINTR, -ENOMEM, -EMFILE, ...: could not be checked.
 */
int image_check(struct store *s, const struct node *n, struct progress *p,
		const volatile sig_atomic_t *stop, struct image_check *ret,
		struct err *e);
bool image_check_ok(const struct image_check *c);
/*
 * Takes the object and manifest of a damaged version away, so that the next
 * add of the same bytes stores them anew under the same id.
 */
int image_withdraw(struct store *s, const struct digest *d, struct err *e);

/* Removes what interrupted adds have left, and objects that no version needs
 * any more. Without `wait`, leaves objects alone while an add publishes. */
int store_sweep(struct store *s, struct db *db, int64_t now_s, bool wait,
		struct err *e);

#endif
