/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c - making and opening a store, its locks, its published files.
 *
 * `init` may be killed anywhere: what makes a folder a store is the "uuid"
 * setting, written last. A folder with the parts but without it is finished
 * by the next init, key included: nobody can have pinned it yet.
 *
 * Locks are flocks on files beside the database: they end with the process,
 * and the kernel gives them to any number of processes of any user who may
 * write the store.
 */
#include "origin/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/fdio.h"
#include "origin/db/origindb.h"

#define STORE_MODE 0750
#define FILE_MODE 0640

static const char *const folder[] = {"objects", "manifests", "incoming"};
#define N_FOLDERS (sizeof(folder) / sizeof(folder[0]))

/* ---- init -------------------------------------------------------------- */

static bool is_part(const char *name)
{
	static const char *const part[] = {
		".",	      "..",	    "objects",	     "manifests",
		"incoming",   "secret.pem", "key.pub",	     "serve.lock",
		"origin.db",  "lost+found", "origin.db-wal", "origin.db-shm",
		"objects.lock"};

	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		if (strcmp(name, part[i]) == 0)
			return true;
	return false;
}

static int check_only_parts(int dirfd, const char *dir, struct err *e)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int r = 0;

	if (!d) {
		r = err_set(e, errno, "%s: %s", dir, strerror(errno));
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (!r && (de = readdir(d)))
		if (!is_part(de->d_name))
			r = err_set(e, ENOTEMPTY,
				    "%s is not empty (it holds %s): a store "
				    "needs a folder of its own",
				    dir, de->d_name);
	closedir(d);
	return r;
}

/* Anew, if an init that was killed has left some. */
static int make_keys(int dirfd, const char *dir, struct err *e)
{
	CLEAN_FREE char *secret = NULL, *public = NULL;
	struct sign_secret key;
	int r;

	if (asprintf(&secret, "%s/secret.pem", dir) < 0 ||
	    asprintf(&public, "%s/key.pub", dir) < 0)
		return err_set(e, ENOMEM, "out of memory");
	unlinkat(dirfd, "secret.pem", 0);
	unlinkat(dirfd, "key.pub", 0);
	r = sign_keygen(&key);
	if (r)
		return err_set(e, -r, "cannot make a key: %s", strerror(-r));
	r = sign_secret_save(secret, &key, e);
	if (!r)
		r = sign_public_save(public, &key.pub, e);
	explicit_bzero(&key, sizeof(key));
	return r;
}

/* To the owner of the folder, when root runs init in the daemon's stead. */
static int own_parts(int dirfd, const char *dir, struct err *e)
{
	static const char *const made[] = {
		"objects",   "manifests",     "incoming",     "secret.pem",
		"key.pub",   "origin.db",     "origin.db-wal", "origin.db-shm"};
	struct stat st;

	if (fstat(dirfd, &st))
		return err_set(e, errno, "%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
		if (fchownat(dirfd, made[i], st.st_uid, st.st_gid,
			     AT_SYMLINK_NOFOLLOW) && errno != ENOENT)
			return err_set(e, errno, "%s/%s: %s", dir, made[i],
				       strerror(errno));
	return 0;
}

static int make_parts(int dirfd, const char *dir, struct err *e)
{
	CLEAN_DB struct db *db = NULL;
	char uuid[UUID_TEXT];
	char *old;
	int r;

	for (size_t i = 0; i < N_FOLDERS; i++)
		if (mkdirat(dirfd, folder[i], STORE_MODE) && errno != EEXIST)
			return err_set(e, errno, "%s/%s: %s", dir, folder[i],
				       strerror(errno));
	r = origindb_create(dir, &db, e);
	if (r)
		return r;
	r = origindb_setting(db, "uuid", &old);
	if (r == 0) {
		free(old);
		return err_set(e, EEXIST, "%s is a store already", dir);
	}
	r = r == -ENOENT ? make_keys(dirfd, dir, e)
			 : err_set(e, -r, "%s/origin.db: %s", dir,
				   strerror(-r));
	if (!r && geteuid() == 0)
		r = own_parts(dirfd, dir, e);
	if (!r && (r = fsync_dir(dirfd)))
		err_set(e, -r, "%s: %s", dir, strerror(-r));
	if (r)
		return r;
	uuid_make(uuid);
	return origindb_set(db, "uuid", uuid, e);
}

int store_init(const char *dir, struct err *e)
{
	CLEAN_FD int dirfd = dir_make(dir, STORE_MODE);
	int r;

	if (dirfd < 0)
		return err_set(e, -dirfd, "%s: %s", dir, strerror(-dirfd));
	/* Two at once: the second finds a store. */
	if (flock(dirfd, LOCK_EX))
		return err_set(e, errno, "%s: %s", dir, strerror(errno));
	r = check_only_parts(dirfd, dir, e);
	if (r)
		return r;
	return make_parts(dirfd, dir, e);
}

/* ---- opening ----------------------------------------------------------- */

static int open_folders(struct store *s, struct err *e)
{
	int *fd[] = {&s->objects_fd, &s->manifests_fd, &s->incoming_fd};
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

	s->dirfd = open(s->dir, flags);
	if (s->dirfd < 0)
		return err_set(e, errno, "%s: %s", s->dir, strerror(errno));
	for (size_t i = 0; i < N_FOLDERS; i++) {
		*fd[i] = openat(s->dirfd, folder[i], flags | O_NOFOLLOW);
		if (*fd[i] < 0)
			return err_set(e, errno, "%s/%s: %s", s->dir,
				       folder[i], strerror(errno));
	}
	return 0;
}

static int read_identity(struct store *s, struct err *e)
{
	CLEAN_DB struct db *db = NULL;
	CLEAN_FREE char *uuid = NULL, *key = NULL;
	int r;

	r = origindb_open(s->dir, &db, e);
	if (r)
		return r;
	r = origindb_setting(db, "uuid", &uuid);
	if (r == -ENOENT)
		return err_set(e, ENOENT,
			       "%s: its init was interrupted: run "
			       "`stagefs-origin -C %s init` again",
			       s->dir, s->dir);
	if (r)
		return err_set(e, -r, "%s/origin.db: %s", s->dir, strerror(-r));
	if (!uuid_valid(uuid))
		return err_set(e, EUCLEAN, "%s/origin.db: the store's uuid is "
			       "damaged", s->dir);
	memcpy(s->uuid, uuid, UUID_TEXT);
	if (asprintf(&key, "%s/secret.pem", s->dir) < 0)
		return err_set(e, ENOMEM, "out of memory");
	return sign_secret_load(key, &s->key, e);
}

int store_open(const char *dir, struct store **ret, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->dirfd = s->objects_fd = s->manifests_fd = -1;
	s->incoming_fd = s->serve_fd = -1;
	s->dir = strdup(dir);
	if (!s->dir)
		r = err_set(e, ENOMEM, "out of memory");
	else
		r = read_identity(s, e);
	if (!r)
		r = open_folders(s, e);
	if (r) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	cleanup_fd(&s->serve_fd);
	cleanup_fd(&s->incoming_fd);
	cleanup_fd(&s->manifests_fd);
	cleanup_fd(&s->objects_fd);
	cleanup_fd(&s->dirfd);
	explicit_bzero(&s->key, sizeof(s->key));
	free(s->dir);
	free(s);
}

/* ---- locks and files --------------------------------------------------- */

int store_own(struct store *s, int fd)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (fstat(s->dirfd, &st) || fchown(fd, st.st_uid, st.st_gid))
		return -errno;
	return 0;
}

int store_lock_file(struct store *s, const char *name, int how)
{
	CLEAN_FD int fd = openat(s->dirfd, name,
				 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
				 FILE_MODE);
	int r;

	if (fd < 0)
		return -errno;
	r = store_own(s, fd);
	while (!r && flock(fd, how))
		if (errno != EINTR)
			r = -errno;
	return r ? r : TAKE_FD(fd);
}

int store_lock_serve(struct store *s, struct err *e)
{
	int fd = store_lock_file(s, "serve.lock", LOCK_EX | LOCK_NB);

	if (fd == -EWOULDBLOCK)
		return err_set(e, EBUSY, "%s: another daemon serves this store",
			       s->dir);
	if (fd < 0)
		return err_set(e, -fd, "%s/serve.lock: %s", s->dir,
			       strerror(-fd));
	s->serve_fd = fd;
	return 0;
}

static int open_published(int dirfd, const struct digest *d, uint64_t *ret_size)
{
	char name[DIGEST_TEXT];
	CLEAN_FD int fd = openat(dirfd, digest_text(d, name),
				 O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	*ret_size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

int store_open_object(struct store *s, const struct digest *d,
		      uint64_t *ret_size)
{
	return open_published(s->objects_fd, d, ret_size);
}

int store_open_manifest(struct store *s, const struct digest *d,
			uint64_t *ret_size)
{
	return open_published(s->manifests_fd, d, ret_size);
}
