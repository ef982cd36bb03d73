/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.c - getopt_long run twice: over the global options up to the first word,
 * which is a verb, then over the rest for the verb that was found. The tables
 * of struct option are built from the same entries that --help prints.
 *
 * Values are kept by the entry's place in one list (global, the verb's own,
 * the standard ones), because a program's table has no field to write to and
 * should have none: it is const and shared by tests.
 */
#include "common/cli.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"

#define OPTIONS_MAX 64

static const struct cli_option table_option[] = {
	{"json", 0, NULL, "print JSON"},
	{"noheadings", 'n', NULL, "print no line of headings"},
	{"bytes", 'b', NULL, "print sizes and rates as numbers of bytes"},
	{"raw", 'r', NULL, "print columns without padding, blanks escaped"},
	{"output", 'o', "LIST", "columns: A,B,... or +A,... to add some"},
	{0},
};
static const struct cli_option help_option[] = {
	{"help", 'h', NULL, "print this and exit"},
	{0},
};
static const struct cli_option version_option[] = {
	{"version", 'V', NULL, "print the version and exit"},
	{0},
};

/* All options that hold at one level, and what was given for them. */
struct parsed {
	const struct cli_option *option[OPTIONS_MAX];
	const char *value[OPTIONS_MAX];
	int n, n_kept; /* n_kept: those of levels already parsed */
};

struct run {
	struct cli_context c;
	struct parsed p;
	const char *about;
	const struct cli_option *global;
	const struct cli_verb *verbs; /* children of `at`, or the roots */
	char path[256];		      /* "stagefs-origin image add" */
};

/* A context is the first member of a run: verbs only ever get that one. */
static const struct run *run_of(const struct cli_context *c)
{
	return (const struct run *)c;
}

/* ---- help -------------------------------------------------------------- */

static void print_options(const char *title, const struct cli_option *o)
{
	if (!o || !o->name)
		return;
	if (title)
		printf("\n%s:\n", title);
	for (; o->name; o++) {
		char left[80];
		int n = 0;

		if (o->letter)
			n = snprintf(left, sizeof(left), "-%c, ", o->letter);
		else
			n = snprintf(left, sizeof(left), "    ");
		snprintf(left + n, sizeof(left) - (size_t)n, "--%s%s%s",
			 o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		if (strlen(left) > 26)
			printf("  %s\n  %-26s %s\n", left, "", o->help);
		else
			printf("  %-26s %s\n", left, o->help);
	}
}

static void print_verbs(const struct cli_verb *v)
{
	printf("\nVerbs:\n");
	for (; v->name; v++)
		if (!v->hidden)
			printf("  %-12s %s\n", v->name, v->summary);
}

static void print_columns(const struct table_column *col)
{
	printf("\nColumns (* are printed without -o):\n");
	for (; col->name; col++)
		printf(" %c%-26s %s\n", col->shown ? '*' : ' ', col->name,
		       col->help);
}

static int help(const struct run *run)
{
	const struct cli_verb *v = run->c.verb;

	if (!v || v->sub) {
		printf("Usage: %s%s VERB ...\n", run->path,
		       !v && run->global ? " [OPTION...]" : "");
		printf("%s.\n", v ? v->summary : run->about);
		print_verbs(run->verbs);
	} else {
		printf("Usage: %s [OPTION...]%s%s\n", run->path,
		       v->args && *v->args ? " " : "", v->args ? v->args : "");
		printf("%s.\n", v->summary);
	}
	if (v && v->details)
		printf("\n%s\n", v->details);
	printf("\nOptions:\n");
	if (!v)
		print_options(NULL, run->global);
	if (v && !v->sub)
		print_options(NULL, v->option);
	if (v && v->table)
		print_options(NULL, table_option);
	print_options(NULL, help_option);
	if (!v)
		print_options(NULL, version_option);
	if (v && v->table)
		print_columns(v->table);
	if (!v || v->sub)
		printf("\n%s VERB --help tells more of each.\n", run->path);
	return 0;
}

/* ---- errors ------------------------------------------------------------ */

/* One line, whatever was typed. */
static void complain(const struct cli_context *c, const char *after,
		     const char *fmt, va_list ap)
{
	char text[4096];

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		*text = 0;
	utf8_clean(text);
	fflush(stdout);
	fprintf(stderr, "%s: %s%s\n", c->program, text, after);
}

int cli_fail(const struct cli_context *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(c, "", fmt, ap);
	va_end(ap);
	return 1;
}

int cli_usage(const struct cli_context *c, const char *fmt, ...)
{
	char see[sizeof(run_of(c)->path) + 32];
	va_list ap;

	snprintf(see, sizeof(see), " (see `%s --help`)", run_of(c)->path);
	va_start(ap, fmt);
	complain(c, see, fmt, ap);
	va_end(ap);
	return 2;
}

/* `head` and `grep -q` go when they have seen enough: nothing is wrong. */
static bool reader_left(void)
{
	struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

/* ---- tables ------------------------------------------------------------ */

int cli_table(const struct cli_context *c, const char *name,
	      const struct table_column *cols, struct table **ret)
{
	struct err e;

	if (table_new(name, cols, &c->table, ret, &e))
		return cli_usage(c, "%s", e.text);
	return 0;
}

int cli_table_print(const struct cli_context *c, struct table *t)
{
	int r = table_print(t);

	return r && !reader_left() ? cli_fail(c, "cannot write: %s",
					      strerror(-r)) : 0;
}

/* ---- options ----------------------------------------------------------- */

static void add_options(struct parsed *p, const struct cli_option *o)
{
	for (; o && o->name; o++) {
		assert(p->n < OPTIONS_MAX);
		if (p->n == OPTIONS_MAX)
			abort();
		p->option[p->n] = o;
		p->value[p->n] = NULL;
		p->n++;
	}
}

/* getopt's two tables for the options from n_kept on. val is the place. */
static void make_tables(const struct parsed *p, struct option *ret_long,
			char *ret_short)
{
	char *s = ret_short;
	int k = 0;

	*s++ = '+'; /* for the verb's own words see parse() */
	*s++ = ':'; /* tell a missing value from an unknown option */
	for (int i = p->n_kept; i < p->n; i++) {
		const struct cli_option *o = p->option[i];

		ret_long[k++] = (struct option){
			.name = o->name,
			.has_arg = o->arg ? required_argument : no_argument,
			.val = 256 + i,
		};
		if (o->letter) {
			*s++ = o->letter;
			if (o->arg)
				*s++ = ':';
		}
	}
	ret_long[k] = (struct option){0};
	*s = 0;
}

static int place_of_letter(const struct parsed *p, int letter)
{
	for (int i = p->n_kept; i < p->n; i++)
		if (p->option[i]->letter == letter)
			return i;
	return -1;
}

/* optopt tells which option it was, but only for short ones. */
static int bad_option(struct run *run, char **argv, int what)
{
	const char *word = argv[optind - 1];
	char letter[3] = {'-', (char)optopt, 0};

	if (optopt > 0 && optopt < 256)
		word = letter;
	if (what == ':')
		return cli_usage(&run->c, "option '%s' needs a value", word);
	if (optopt >= 256)
		return cli_usage(&run->c, "option '%s' takes no value", word);
	return cli_usage(&run->c, "unknown option '%s'", word);
}

/*
 * Parses argv[1..]. Without `permute` the first word that is no option ends
 * it (it is the verb). 0, with optind at the first word left, or 2.
 */
static int parse(struct run *run, int argc, char **argv, bool permute)
{
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 3];
	int o;

	make_tables(&run->p, longs, shorts);
	optind = 0; /* starts anew (glibc, musl) */
	opterr = 0;
	while ((o = getopt_long(argc, argv, permute ? shorts + 1 : shorts,
				longs, NULL)) != -1) {
		if (o == '?' || o == ':')
			return bad_option(run, argv, o);
		o = o < 256 ? place_of_letter(&run->p, o) : o - 256;
		run->p.value[o] = optarg ? optarg : "";
	}
	run->p.n_kept = run->p.n;
	return 0;
}

const char *cli_value(const struct cli_context *c, const char *name)
{
	const struct parsed *p = &run_of(c)->p;

	/* The verb's own come later and hide a global one of the same name. */
	for (int i = p->n - 1; i >= 0; i--)
		if (strcmp(p->option[i]->name, name) == 0)
			return c->value[i];
	assert(!"option that is in no table");
	return NULL;
}

bool cli_flag(const struct cli_context *c, const char *name)
{
	return cli_value(c, name) != NULL;
}

/* ---- running ----------------------------------------------------------- */

static int run_leaf(struct run *run, int argc, char **argv)
{
	const struct cli_verb *v = run->c.verb;
	struct cli_context *c = &run->c;
	int status;

	add_options(&run->p, v->option);
	if (v->table)
		add_options(&run->p, table_option);
	add_options(&run->p, help_option);
	status = parse(run, argc, argv, true);
	if (status)
		return status;
	if (cli_flag(c, "help"))
		return help(run);
	if (v->table)
		c->table = (struct table_options){
			.json = cli_flag(c, "json"),
			.no_headings = cli_flag(c, "noheadings"),
			.bytes = cli_flag(c, "bytes"),
			.raw = cli_flag(c, "raw"),
			.columns = cli_value(c, "output"),
		};
	c->n_args = argc - optind;
	c->arg = argv + optind;
	if (c->n_args < v->min_args)
		return cli_usage(c, "%s needs %s", v->name,
				 v->args ? v->args : "more words");
	if (v->max_args >= 0 && c->n_args > v->max_args)
		return cli_usage(c, "unexpected word '%s'",
				 c->arg[v->max_args]);
	return v->run(c);
}

static const struct cli_verb *find_verb(const struct cli_verb *v,
					const char *name)
{
	for (; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

/* Names of all verbs of this level, for the error. */
static const char *verb_names(const struct cli_verb *v, char *out, size_t size)
{
	size_t used = 0;

	*out = 0;
	for (; v->name && used < size; v++)
		if (!v->hidden)
			used += (size_t)snprintf(out + used, size - used,
						 "%s%s", used ? ", " : "",
						 v->name);
	return out;
}

/* argv[0] is the verb before, argv[1] the one to find. */
static int descend(struct run *run, int argc, char **argv)
{
	const struct cli_verb *v;
	char names[512];

	for (;;) {
		if (argc < 2)
			return cli_usage(&run->c, "a verb is missing: %s",
					 verb_names(run->verbs, names,
						    sizeof(names)));
		if (run->c.verb && (strcmp(argv[1], "--help") == 0 ||
				    strcmp(argv[1], "-h") == 0))
			return help(run);
		v = find_verb(run->verbs, argv[1]);
		if (!v)
			return cli_usage(&run->c,
					 "no verb '%s': there are %s", argv[1],
					 verb_names(run->verbs, names,
						    sizeof(names)));
		argc--;
		argv++;
		run->c.verb = v;
		strncat(run->path, " ",
			sizeof(run->path) - strlen(run->path) - 1);
		strncat(run->path, v->name,
			sizeof(run->path) - strlen(run->path) - 1);
		if (!v->sub)
			return run_leaf(run, argc, argv);
		run->verbs = v->sub;
	}
}

/* Names are UTF-8 whatever the locale says; numbers stay as they are in C. */
static void set_locale(void)
{
	if (!setlocale(LC_CTYPE, "") ||
	    strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
}

/* Half an answer with status 0 would be taken for all of it. */
static int written(const struct cli_context *c)
{
	errno = 0;
	if ((fflush(stdout) == 0 && !ferror(stdout)) || reader_left())
		return 0;
	return cli_fail(c, "cannot write: %s", strerror(errno ? errno : EIO));
}

int cli_main(const char *program, const char *about,
	     const struct cli_option *global, const struct cli_verb *verbs,
	     void *data, int argc, char **argv)
{
	struct run run = {
		.c = {.program = program, .data = data},
		.about = about,
		.global = global,
		.verbs = verbs,
	};
	int status;

	set_locale();
	run.c.value = run.p.value;
	snprintf(run.path, sizeof(run.path), "%s", program);
	add_options(&run.p, global);
	add_options(&run.p, help_option);
	add_options(&run.p, version_option);
	status = parse(&run, argc, argv, false);
	if (status)
		return status;
	if (cli_flag(&run.c, "help"))
		help(&run);
	else if (cli_flag(&run.c, "version"))
		printf("%s %s\n", program, STAGEFS_VERSION);
	else
		status = descend(&run, argc - optind + 1, argv + optind - 1);
	return status ? status : written(&run.c);
}
