/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - verbs, their --help and their errors, alike in both programs.
 *
 * A program is a tree of verbs ("image" > "add"). Each leaf has a usage line,
 * a summary, a table of options and a function. Options are getopt_long's,
 * declared once in the table from which --help is printed as well, so help and
 * parser cannot differ. Exit status: 0 done, 1 failed, 2 wrong usage. Errors:
 * "PROGRAM: text", one line on stderr.
 *
 * Every leaf has -h/--help. Leaves with `table` set have --json, --noheadings
 * (-n), --bytes (-b), --raw (-r) and --output (-o) too, parsed into
 * ctx->table.
 */
#ifndef STAGEFS_COMMON_CLI_H
#define STAGEFS_COMMON_CLI_H

#include <stdbool.h>

#include "common/err.h"
#include "common/table.h"

struct cli_option {
	const char *name;    /* long name without dashes; NULL ends the list */
	char letter;	     /* short form or 0 */
	const char *arg;     /* metavariable, NULL for a flag */
	const char *help;    /* one line, with default, unit and range */
};

struct cli_verb;

struct cli_context {
	const char *program;
	const struct cli_verb *verb;
	struct table_options table;
	int n_args;	     /* positional */
	char **arg;
	void *data;	     /* the program's own (global options) */
	const char *const *value; /* as cli_value reads them */
};

struct cli_verb {
	const char *name; /* NULL ends the list */
	const char *args; /* "FILE --name NAME", shown in usage */
	const char *summary;
	const struct cli_option *option;   /* may be NULL */
	const struct cli_verb *sub;	   /* children, or NULL for a leaf */
	int (*run)(struct cli_context *c); /* exit status */
	int min_args, max_args;		   /* positional; max -1: any */
	const struct table_column *table;  /* a list verb's columns, or NULL */
	const char *details;		   /* more help text, or NULL */
	bool hidden;
};

/*
 * Finds the verb, parses its options, runs it. `global` are options before
 * the verb (-C DIR); their values and those of the verb are both found by
 * cli_value. Returns the exit status. --version and --help are handled.
 */
int cli_main(const char *program, const char *about,
	     const struct cli_option *global, const struct cli_verb *verbs,
	     void *data, int argc, char **argv);

/* The value given for option `name` (flags: ""), or NULL. The last one wins. */
const char *cli_value(const struct cli_context *c, const char *name);
bool cli_flag(const struct cli_context *c, const char *name);

/* The verb's table, with its columns and -o as given; and its end, on stdout.
 * 0, or the exit status after the error. */
int cli_table(const struct cli_context *c, const char *name,
	      const struct table_column *cols, struct table **ret);
int cli_table_print(const struct cli_context *c, struct table *t);

/* Print the error in its form; return 1 and 2. */
int cli_fail(const struct cli_context *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int cli_usage(const struct cli_context *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
