/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handles.c - file handles, as NFS servers keep them, by the thousand.
 *
 *	handles take MOUNT FILE		a handle of everything below MOUNT
 *	handles check MOUNT FILE	all can be opened and are what they were
 *	handles random MOUNT FILE N SEED
 *	handles cat MOUNT FILE ID	what can be read of one
 *
 * `check` may run on another mount than `take`. `random` opens N handles, some
 * of noise, some made of those in FILE with something changed: each has to be
 * refused with ESTALE or EINVAL, or be one that is in FILE.
 *
 * The kernel makes a handle of FUSE from node id and generation (fs/fuse/
 * inode.c, fuse_encode_fh): high and low half of the id, generation.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS_MAX 6 /* with the parent's */
#define WALK_FDS 80 /* deeper than any folder */

struct taken {
	uint64_t ino, size;
	uint32_t mode;
	int32_t type;
	uint32_t n_words, word[WORDS_MAX], no_padding;
};

union room {
	struct file_handle h;
	char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static FILE *out;
static unsigned long n_taken;

static int die(const char *what)
{
	fprintf(stderr, "handles: %s: %s\n", what, strerror(errno));
	return 1;
}

static int take_one(const char *path, const struct stat *st, int flag,
		    struct FTW *f)
{
	struct taken t = {.ino = st->st_ino,
			  .size = (uint64_t)st->st_size,
			  .mode = st->st_mode};
	union room room = {.h.handle_bytes = MAX_HANDLE_SZ};
	int mount_id;

	(void)flag, (void)f;
	if (name_to_handle_at(AT_FDCWD, path, &room.h, &mount_id, 0) < 0)
		return die(path);
	if (room.h.handle_bytes > sizeof(t.word)) {
		errno = EOVERFLOW;
		return die(path);
	}
	t.type = room.h.handle_type;
	t.n_words = room.h.handle_bytes / 4;
	memcpy(t.word, room.h.f_handle, room.h.handle_bytes);
	n_taken++;
	return fwrite(&t, sizeof(t), 1, out) == 1 ? 0 : die("write");
}

static int take(const char *mount, const char *path)
{
	out = fopen(path, "w");
	if (!out)
		return die(path);
	if (nftw(mount, take_one, WALK_FDS, FTW_PHYS))
		return 1;
	printf("%lu handles\n", n_taken);
	return fclose(out) ? die(path) : 0;
}

static int open_one(int mount, const struct taken *t)
{
	union room room = {.h = {.handle_bytes = t->n_words * 4,
				 .handle_type = t->type}};

	memcpy(room.h.f_handle, t->word, t->n_words * 4);
	return open_by_handle_at(mount, &room.h, O_RDONLY | O_CLOEXEC);
}

/* Is it what it was? */
static bool same(int mount, const struct taken *t)
{
	int fd = open_one(mount, t);
	bool ok = false;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fprintf(stderr, "handles: id %llu: %s\n",
			(unsigned long long)t->ino, strerror(errno));
	else if (st.st_ino != t->ino || st.st_mode != t->mode ||
		 (uint64_t)st.st_size != t->size)
		fprintf(stderr, "handles: id %llu: another file\n",
			(unsigned long long)t->ino);
	else
		ok = true;
	if (fd >= 0)
		close(fd);
	return ok;
}

static int check(int mount, const struct taken *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!same(mount, &t[i]))
			return 1;
	printf("%zu handles\n", n);
	return 0;
}

static int cat(int mount, const struct taken *t, size_t n, uint64_t id)
{
	static char buf[1 << 16];
	ssize_t got;
	int fd;

	while (n && t->ino != id)
		t++, n--;
	errno = ENOKEY;
	fd = n ? open_one(mount, t) : -1;
	if (fd < 0)
		return die("open");
	while ((got = read(fd, buf, sizeof(buf))) > 0)
		if (write(1, buf, (size_t)got) != got)
			return die("write");
	close(fd);
	return got < 0 ? die("read") : 0;
}

static bool is_taken(const struct taken *all, size_t n, const struct taken *t)
{
	for (size_t i = 0; i < n; i++)
		if (all[i].word[0] == t->word[0] &&
		    all[i].word[1] == t->word[1] &&
		    all[i].word[2] == t->word[2])
			return true;
	return false;
}

/* Noise, or one of ours with another id, generation, or shape. */
static void change(struct taken *t)
{
	switch (random() % 5) {
	case 0:
		for (int i = 0; i < WORDS_MAX; i++)
			t->word[i] = (uint32_t)random() << 1 ^
				     (uint32_t)random();
		break;
	case 1: t->word[1] += 1 + (uint32_t)random() % 1000000; break;
	case 2: t->word[2] ^= 1u << random() % 32; break;
	case 3: t->word[0] = (uint32_t)random(); break;
	default:
		t->n_words = (uint32_t)random() % (WORDS_MAX + 1);
		t->type = (int32_t)random() % 256;
		break;
	}
}

static int throw_one(int mount, const struct taken *all, size_t n)
{
	struct taken t = all[(size_t)random() % n];
	struct stat st;
	int fd;

	change(&t);
	fd = open_one(mount, &t);
	if (fd < 0)
		return errno == ESTALE || errno == EINVAL ? 0 : die("random");
	if (fstat(fd, &st) < 0)
		return die("random: fstat");
	close(fd);
	if (is_taken(all, n, &t) &&
	    st.st_ino == ((uint64_t)t.word[0] << 32 | t.word[1]))
		return 0;
	fprintf(stderr, "handles: a made-up one opened id %llu\n",
		(unsigned long long)st.st_ino);
	return 1;
}

static int throw_many(int mount, const struct taken *t, size_t n, long count)
{
	int r = 0;

	while (!r && count-- > 0)
		r = throw_one(mount, t, n);
	return r;
}

static struct taken *load(const char *path, size_t *ret_n)
{
	FILE *f = fopen(path, "r");
	struct taken *all;
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0 || st.st_size == 0)
		return NULL;
	*ret_n = (size_t)st.st_size / sizeof(*all);
	all = calloc(*ret_n, sizeof(*all));
	if (all && fread(all, sizeof(*all), *ret_n, f) != *ret_n)
		all = NULL;
	fclose(f);
	return all;
}

int main(int argc, char **argv)
{
	const char *verb = argc < 4 ? "" : argv[1];
	static struct taken *all; /* to the end */
	size_t n = 0;
	int mount;

	if (!strcmp(verb, "take"))
		return take(argv[2], argv[3]);
	if (argc < 4)
		return 2;
	mount = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	all = load(argv[3], &n);
	if (mount < 0 || !all)
		return die(argv[2]);
	if (!strcmp(verb, "check"))
		return check(mount, all, n);
	if (!strcmp(verb, "cat") && argc == 5)
		return cat(mount, all, n, strtoull(argv[4], NULL, 10));
	if (strcmp(verb, "random") != 0 || argc != 6)
		return 2;
	srandom((unsigned)atoi(argv[5]));
	return throw_many(mount, all, n, atol(argv[4]));
}
