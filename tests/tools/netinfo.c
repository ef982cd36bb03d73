/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netinfo.c - what an NFS or SMB client is told about an image, and what it is
 * told when it wants to change something.
 *
 *	netinfo [-l] URL
 *
 * URL as of netread. Prints "size"; "pages", of 4096 bytes, that it takes, and
 * "ino" (not over SMB, whose library makes them up); "bytes" and "free" of the
 * file system; and for each attempt to write "VERB ERROR". -l: "lock ERROR"
 * only, of an attempt to lock it to read (NFS v4).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <libsmbclient.h>
#include <nfsc/libnfs.h>

#define URL_MAX_BYTES 4096

static int failed(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	return 1;
}

static void show_space(const struct statvfs *v, uint64_t unit_bytes)
{
	printf("bytes %" PRIu64 "\n", v->f_blocks * unit_bytes);
	printf("free %" PRIu64 "\n", v->f_bfree * unit_bytes);
}

static void show_attempt(const char *verb, int error)
{
	printf("%s %s\n", verb, error ? strerrorname_np(error) : "done");
}

static int lock_whole(struct nfs_context *nfs, const char *file)
{
	struct nfs4_flock whole = {.l_type = F_RDLCK,
				   .l_whence = SEEK_SET,
				   .l_len = UINT64_MAX};
	struct nfsfh *fh;
	int r = nfs_open(nfs, file, O_RDONLY, &fh);

	if (r < 0)
		return -r;
	r = nfs_fcntl(nfs, fh, NFS4_F_SETLK, &whole);
	nfs_close(nfs, fh); /* or the server holds it until the lease ends */
	return -r;
}

static int ask_nfs(const char *text, bool lock)
{
	struct nfs_context *nfs = nfs_init_context();
	struct nfs_url *url = nfs ? nfs_parse_url_full(nfs, text) : NULL;
	struct nfs_stat_64 st;
	struct statvfs v;
	struct nfsfh *fh;
	int r;

	if (!url)
		return failed("URL", EINVAL);
	r = nfs_mount(nfs, url->server, url->path);
	if (r == 0)
		r = nfs_stat64(nfs, url->file, &st);
	if (r == 0 && lock) {
		show_attempt("lock", lock_whole(nfs, url->file));
		return 0;
	}
	if (r == 0)
		r = nfs_statvfs(nfs, "/", &v);
	if (r < 0)
		return failed(text, -r);
	/* Blocks of 512 bytes in libnfs's v3, of 4096 in its v4. */
	printf("size %" PRIu64 "\npages %" PRIu64 "\nino %" PRIu64 "\n",
	       st.nfs_size,
	       strstr(text, "version=3") ? (st.nfs_blocks + 7) / 8
					 : st.nfs_blocks,
	       st.nfs_ino);
	show_space(&v, v.f_frsize);
	show_attempt("create", -nfs_creat(nfs, "/new", 0644, &fh));
	show_attempt("mkdir", -nfs_mkdir(nfs, "/new"));
	show_attempt("unlink", -nfs_unlink(nfs, url->file));
	show_attempt("rename", -nfs_rename(nfs, url->file, "/new"));
	show_attempt("truncate", -nfs_truncate(nfs, url->file, 1));
	show_attempt("chmod", -nfs_chmod(nfs, url->file, 0777));
	return 0;
}

static void as_guest(const char *server, const char *share, char *group,
		     int group_n, char *user, int user_n, char *password,
		     int password_n)
{
	(void)server, (void)share, (void)group, (void)group_n;
	snprintf(user, (size_t)user_n, "guest");
	snprintf(password, (size_t)password_n, "%s", "");
}

static int error_of(int r)
{
	return r < 0 ? errno : 0;
}

static int ask_smb(const char *url)
{
	char beside[URL_MAX_BYTES + 8], share[URL_MAX_BYTES];
	struct statvfs v;
	struct stat st;

	snprintf(share, sizeof(share), "%.*s",
		 (int)(strrchr(url, '/') - url), url);
	snprintf(beside, sizeof(beside), "%s/new", share);
	if (smbc_init(as_guest, 0) < 0 || smbc_stat(url, &st) < 0 ||
	    smbc_statvfs(share, &v) < 0)
		return failed(url, errno);
	printf("size %" PRIu64 "\n", (uint64_t)st.st_size);
	/* libsmbclient: bytes of a sector, sectors of a unit. */
	show_space(&v, v.f_bsize * v.f_frsize);
	show_attempt("create", error_of(smbc_creat(beside, 0644)));
	show_attempt("mkdir", error_of(smbc_mkdir(beside, 0755)));
	show_attempt("unlink", error_of(smbc_unlink(url)));
	show_attempt("rename", error_of(smbc_rename(url, beside)));
	show_attempt("truncate", error_of(smbc_open(url, O_RDWR | O_TRUNC, 0)));
	show_attempt("chmod", error_of(smbc_chmod(url, 0666)));
	return 0;
}

int main(int argc, char **argv)
{
	const char *url = argc > 1 ? argv[argc - 1] : "";
	bool lock = argc == 3 && !strcmp(argv[1], "-l");
	int r;

	if (argc != 2 + lock || strlen(url) >= URL_MAX_BYTES)
		return 2;
	r = strncmp(url, "smb:", 4) ? ask_nfs(url, lock) : ask_smb(url);
	fflush(stdout);
	_exit(r); /* what the libraries leave is not ours to free */
}
