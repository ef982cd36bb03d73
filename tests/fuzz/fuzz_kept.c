/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CACHE/catalog as the disk, or somebody, gives it back. It never keeps a
 * mount from starting; only what is signed is shown; and after the first start
 * the file is in order: the second shows the same and finds no damage.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fdio.h"
#include "common/log.h"
#include "fs/catalog/catalog.h"
#include "tests/fuzz/fuzz.h"

static const char *const names[] = {"catalog", "catalog.bad", "catalog.new",
				    "key.pub"};
static char folder[] = "/dev/shm/stagefs-fuzz.XXXXXX";
static int dir_fd = -1;

static void clear(void)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlinkat(dir_fd, names[i], 0);
}

static void remove_folder(void)
{
	clear();
	rmdir(folder);
}

static void set_up(void)
{
	FUZZ_MUST(mkdtemp(folder));
	dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_MUST(dir_fd >= 0);
	atexit(remove_folder);
	log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static void start(uint64_t *ret_revision, size_t *ret_n)
{
	struct catalog *c;
	struct err e;

	FUZZ_MUST(catalog_open(dir_fd, NULL, &c, &e) == 0);
	*ret_revision = catalog_revision(c);
	*ret_n = catalog_count(c);
	catalog_close(c);
}

static bool there(const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, 0) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint64_t revision, again;
	size_t entries, entries_again;
	int fd;

	if (dir_fd < 0)
		set_up();
	fd = openat(dir_fd, names[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	FUZZ_MUST(fd >= 0 && fd_write_all(fd, data, n) == 0);
	close(fd);
	start(&revision, &entries);
	fuzz_accepted = revision > 0 && !there("catalog.bad");
	/* Who signed it is known from then on. */
	FUZZ_MUST(revision == 0 || there("key.pub"));
	unlinkat(dir_fd, "catalog.bad", 0);
	start(&again, &entries_again);
	FUZZ_MUST(again == revision && entries_again == entries);
	FUZZ_MUST(!there("catalog.bad"));
	clear();
	return 0;
}
