/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netread.c - an NFS or SMB client that compares what it reads.
 *
 *	netread [-b BYTES] [-n READS] [-s SEED] [-c CLIENTS] [-w MS] [-lr] \
 *		FILE URL
 *
 * URL is nfs://HOST/PATH?version=4 (libnfs) or smb://HOST/SHARE/PATH
 * (libsmbclient, as guest). Without -n it reads from front to back, BYTES at a
 * time (64K to 1M are what stations use), and expects the end where FILE, a
 * local copy, has its end; with -n at random places. -c: so many clients at
 * once, each a process with a session of its own. -l: until it is sent SIGUSR1.
 * -r: asks again when an NFS server says "try later", as kernels do; libnfs
 * leaves that to its callers. -w: a line "stall BEGIN TOOK", in milliseconds
 * since 1970 and milliseconds, for each read (and the start: session and open)
 * that took so long.
 *
 * Prints for each client "READS ok, longest N ms, M later", or one line about
 * the first read that failed or brought other bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libsmbclient.h>
#include <nfsc/libnfs.h>

#define CLIENTS_MAX 512
#define LATER_MS 300
#define SMB_TIMEOUT_MS 60000 /* as long as Windows waits; it has 20000 */

struct job {
	const char *url;
	const unsigned char *want;
	uint64_t size;
	uint32_t bytes, reads, seed;
	int64_t stall_ms; /* 0: no lines about stalls */
	bool loop, retry;
};

struct client {
	struct nfs_context *nfs;
	struct nfsfh *fh;
	int smb;
	int error; /* of the last call that failed */
	char why[256];
};

/* Shared with the clients: a signal would break off what they wait for. */
static volatile sig_atomic_t *stopped;

static void on_usr1(int signal)
{
	(void)signal;
	*stopped = 1;
}

static int failed(struct client *c, const char *what, int error)
{
	c->error = error;
	snprintf(c->why, sizeof(c->why), "%s: %s%s%s", what,
		 strerrorname_np(error) ? strerrorname_np(error) : "?",
		 c->nfs ? ": " : "", c->nfs ? nfs_get_error(c->nfs) : "");
	return -1;
}

static int nfs_begin(struct client *c, const char *url)
{
	struct nfs_url *u;
	int r;

	c->nfs = nfs_init_context();
	if (!c->nfs)
		return failed(c, "session", ENOMEM);
	u = nfs_parse_url_full(c->nfs, url);
	if (!u)
		return failed(c, "URL", EINVAL);
	r = nfs_mount(c->nfs, u->server, u->path);
	if (r == 0)
		r = nfs_open(c->nfs, u->file, O_RDONLY, &c->fh);
	nfs_destroy_url(u);
	return r < 0 ? failed(c, "open", -r) : 0;
}

static void as_guest(const char *server, const char *share, char *group,
		     int group_n, char *user, int user_n, char *password,
		     int password_n)
{
	(void)server, (void)share, (void)group, (void)group_n;
	snprintf(user, (size_t)user_n, "guest");
	snprintf(password, (size_t)password_n, "%s", "");
}

static int smb_begin(struct client *c, const char *url)
{
	if (smbc_init(as_guest, 0) < 0)
		return failed(c, "session", errno);
	smbc_setTimeout(smbc_set_context(NULL), SMB_TIMEOUT_MS);
	c->smb = smbc_open(url, O_RDONLY, 0);
	return c->smb < 0 ? failed(c, "open", errno) : 0;
}

/* As many bytes as there are, up to n. */
static int64_t read_at(struct client *c, uint64_t at, unsigned char *buf,
		       uint32_t n)
{
	uint32_t done = 0;

	if (!c->nfs && smbc_lseek(c->smb, (off_t)at, SEEK_SET) < 0)
		return failed(c, "seek", errno);
	while (done < n) {
		int64_t r = c->nfs ? nfs_pread(c->nfs, c->fh, at + done,
					       n - done, buf + done)
				   : smbc_read(c->smb, buf + done, n - done);

		if (r < 0)
			return failed(c, "read", c->nfs ? (int)-r : errno);
		if (r == 0)
			break;
		done += (uint32_t)r;
	}
	return done;
}

/*
 * NFS4ERR_DELAY is EAGAIN. NFS3ERR_JUKEBOX is unknown to libnfs 4.0: it tells
 * EFAULT, and for text hands on the answer itself, which begins with the
 * status, 10008.
 */
static bool is_later(const struct client *c)
{
	return c->nfs && (c->error == EAGAIN ||
			  (c->error == EFAULT && strstr(c->why, "\x18\x27")));
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

/* What began then has ended. Returns how long it took. */
static int64_t took(const struct job *j, int64_t begun_ms)
{
	int64_t ms = now_ms() - begun_ms;

	if (j->stall_ms && ms >= j->stall_ms) {
		printf("stall %lld %lld\n",
		       (long long)(clock_ms(CLOCK_REALTIME) - ms),
		       (long long)ms);
		fflush(stdout);
	}
	return ms;
}

/* xorshift64*: the same places for the same seed, whatever the C library. */
static uint64_t next_random(uint64_t *x)
{
	*x ^= *x >> 12;
	*x ^= *x << 25;
	*x ^= *x >> 27;
	return *x * UINT64_C(2685821657736338717);
}

static int check(struct client *c, const struct job *j, uint64_t at,
		 unsigned char *buf, uint32_t *later)
{
	uint64_t left = j->size - at;
	uint32_t want = left < j->bytes ? (uint32_t)left : j->bytes;
	int64_t n;

	while ((n = read_at(c, at, buf, j->bytes)) < 0 && j->retry &&
	       is_later(c) && !*stopped) {
		++*later;
		poll(NULL, 0, LATER_MS);
	}
	if (n < 0)
		return -1;
	if (n != want) {
		snprintf(c->why, sizeof(c->why),
			 "%lld bytes at %llu instead of %u", (long long)n,
			 (unsigned long long)at, want);
		return -1;
	}
	if (memcmp(buf, j->want + at, want)) {
		snprintf(c->why, sizeof(c->why), "other bytes at %llu",
			 (unsigned long long)at);
		return -1;
	}
	return 0;
}

static int run(struct client *c, const struct job *j, unsigned char *buf,
	       uint32_t *ret_reads, uint32_t *later, int64_t *ret_longest_ms)
{
	uint64_t x = j->seed ? j->seed : 1, at = 0;

	for (;;) {
		int64_t begun_ms = now_ms(), ms;

		if (j->reads)
			at = next_random(&x) % j->size;
		if (check(c, j, at, buf, later) < 0)
			return -1;
		ms = took(j, begun_ms);
		if (ms > *ret_longest_ms)
			*ret_longest_ms = ms;
		++*ret_reads;
		at += j->bytes;
		if (*stopped)
			return 0;
		if (j->reads ? *ret_reads >= j->reads : at >= j->size) {
			if (!j->loop)
				return 0;
			at = 0;
		}
	}
}

static int client(const struct job *j)
{
	struct client c = {.smb = -1};
	unsigned char *buf = malloc(j->bytes);
	int64_t longest_ms = 0, begun_ms = now_ms();
	uint32_t reads = 0, later = 0;
	int r = -1;

	if (!buf)
		failed(&c, "memory", ENOMEM);
	else if (!strncmp(j->url, "smb:", 4))
		r = smb_begin(&c, j->url);
	else
		r = nfs_begin(&c, j->url);
	took(j, begun_ms);
	if (r == 0)
		r = run(&c, j, buf, &reads, &later, &longest_ms);
	if (r == 0)
		printf("%u ok, longest %lld ms, %u later\n", reads,
		       (long long)longest_ms, later);
	else
		printf("after %u reads: %s\n", reads, c.why);
	fflush(stdout);
	if (c.fh)
		nfs_close(c.nfs, c.fh);
	if (c.smb >= 0)
		smbc_close(c.smb);
	return r < 0;
}

static int open_file(const char *path, struct job *j)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
		return -1;
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return -1;
	j->want = p;
	j->size = (uint64_t)st.st_size;
	return 0;
}

int main(int argc, char **argv)
{
	struct job j = {.bytes = 1 << 20, .seed = 1};
	pid_t pid[CLIENTS_MAX];
	int c, clients = 1, bad = 0;

	while ((c = getopt(argc, argv, "b:n:s:c:w:lr")) != -1) {
		switch (c) {
		case 'b': j.bytes = (uint32_t)atoi(optarg); break;
		case 'n': j.reads = (uint32_t)atoi(optarg); break;
		case 's': j.seed = (uint32_t)atoi(optarg); break;
		case 'c': clients = atoi(optarg); break;
		case 'w': j.stall_ms = atoi(optarg); break;
		case 'l': j.loop = true; break;
		case 'r': j.retry = true; break;
		default: return 2;
		}
	}
	if (argc - optind != 2 || !j.bytes || clients < 1 ||
	    clients > CLIENTS_MAX)
		return 2;
	j.url = argv[optind + 1];
	if (open_file(argv[optind], &j) < 0) {
		perror(argv[optind]);
		return 2;
	}
	stopped = mmap(NULL, sizeof(*stopped), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stopped == MAP_FAILED)
		return 2;
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_usr1}, NULL);
	for (int i = 0; i < clients; i++, j.seed++) {
		pid[i] = fork();
		/* Not exit(): what the libraries leave is not ours to free. */
		if (pid[i] == 0)
			_exit(client(&j));
	}
	for (int i = 0; i < clients; i++) {
		int status = 1;

		while (waitpid(pid[i], &status, 0) < 0 && errno == EINTR)
			;
		bad |= status;
	}
	return bad != 0;
}
