/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs: help and parser come from one table; the three exit statuses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cli.h"

static struct {
	int ran, n_args;
	char first[32], size[32], dir[32];
	bool fast, json, bytes;
	char columns[32];
} seen;

static int run_add(struct cli_context *c)
{
	const char *size = cli_value(c, "size"), *dir = cli_value(c, "dir");

	seen.ran++;
	seen.n_args = c->n_args;
	snprintf(seen.first, sizeof(seen.first), "%s",
		 c->n_args ? c->arg[0] : "");
	snprintf(seen.size, sizeof(seen.size), "%s", size ? size : "-");
	snprintf(seen.dir, sizeof(seen.dir), "%s", dir ? dir : "-");
	seen.fast = cli_flag(c, "fast");
	return *(int *)c->data;
}

static int run_list(struct cli_context *c)
{
	seen.ran++;
	seen.json = c->table.json;
	seen.bytes = c->table.bytes;
	snprintf(seen.columns, sizeof(seen.columns), "%s",
		 c->table.columns ? c->table.columns : "-");
	return cli_fail(c, "%s is not there", "it");
}

static const struct table_column cols[] = {
	{"NAME", "the name", TABLE_TEXT, true},
	{"AGE", "the age", TABLE_NUMBER, false},
	{0}};
static const struct cli_option add_options[] = {
	{"size", 's', "SIZE", "how large"},
	{"fast", 'f', NULL, "be quick"},
	{"a-very-long-name-indeed", 0, "VALUE", "something"},
	{0}};
static const struct cli_verb image_verbs[] = {
	{.name = "add", .args = "FILE", .summary = "Add one",
	 .option = add_options, .run = run_add, .min_args = 1, .max_args = 2,
	 .details = "More about it."},
	{.name = "list", .args = "", .summary = "List them", .run = run_list,
	 .table = cols},
	{0}};
static const struct cli_verb verbs[] = {
	{.name = "image", .summary = "Images", .sub = image_verbs},
	{.name = "secret", .summary = "Hidden", .run = run_list,
	 .hidden = true},
	{0}};
static const struct cli_option global[] = {
	{"dir", 'C', "DIR", "where"},
	{0}};

static char out[8192], errors[4096];

static void slurp(FILE *f, char *to, size_t size)
{
	rewind(f);
	to[fread(to, 1, size - 1, f)] = 0;
	fclose(f);
}

/* The words of `line` split at blanks; "%" stands for an empty word. */
static int run_status(int status, const char *line)
{
	char copy[512], *argv[32] = {(char *)"prog"}, *save = NULL;
	int argc = 1, result, saved_out, saved_err;
	FILE *o = tmpfile(), *e = tmpfile();

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w;
	     w = strtok_r(NULL, " ", &save)) {
		if (strcmp(w, "%") == 0)
			*w = 0;
		argv[argc++] = w;
	}
	memset(&seen, 0, sizeof(seen));
	fflush(stdout);
	saved_out = dup(1);
	saved_err = dup(2);
	dup2(fileno(o), 1);
	dup2(fileno(e), 2);
	result = cli_main("prog", "Does things", global, verbs, &status, argc,
			  argv);
	fflush(stdout);
	fflush(stderr);
	dup2(saved_out, 1);
	dup2(saved_err, 2);
	close(saved_out);
	close(saved_err);
	slurp(o, out, sizeof(out));
	slurp(e, errors, sizeof(errors));
	return result;
}

static int run(const char *line)
{
	return run_status(0, line);
}

static void test_values(void **state)
{
	(void)state;
	assert_int_equal(run("-C /srv image add --size 5G x.iso -f"), 0);
	assert_int_equal(seen.ran, 1);
	assert_int_equal(seen.n_args, 1);
	assert_string_equal(seen.first, "x.iso");
	assert_string_equal(seen.size, "5G");
	assert_string_equal(seen.dir, "/srv");
	assert_true(seen.fast);
	assert_string_equal(errors, "");

	/* The last one wins; -- ends options; an empty value is a value. */
	assert_int_equal(run("--dir=/a image add -s1 --size=2 -- -x"), 0);
	assert_string_equal(seen.size, "2");
	assert_string_equal(seen.dir, "/a");
	assert_string_equal(seen.first, "-x");
	assert_false(seen.fast);
	assert_int_equal(run("image add --size % x"), 0);
	assert_string_equal(seen.size, "");
	assert_string_equal(seen.dir, "-");

	/* The verb's own exit status. */
	assert_int_equal(run_status(1, "image add x"), 1);
}

static void test_table_options(void **state)
{
	(void)state;
	assert_int_equal(run("image list --json -b -o NAME,AGE"), 1);
	assert_true(seen.json && seen.bytes);
	assert_string_equal(seen.columns, "NAME,AGE");
	assert_string_equal(errors, "prog: it is not there\n");
	assert_int_equal(run("image list"), 1);
	assert_false(seen.json);
	assert_string_equal(seen.columns, "-");
}

static void expect_wrong(const char *line, const char *part)
{
	size_t n;

	assert_int_equal(run(line), 2);
	assert_int_equal(seen.ran, 0);
	n = strlen(errors);
	if (strncmp(errors, "prog: ", 6) != 0 || !strstr(errors, part) ||
	    strchr(errors, '\n') != errors + n - 1)
		fail_msg("'%s' gave <<%s>>", line, errors);
	assert_string_equal(out, "");
}

static void test_wrong_usage(void **state)
{
	(void)state;
	expect_wrong("", "a verb is missing: image (");
	expect_wrong("nonsense", "no verb 'nonsense'");
	expect_wrong("image", "add, list");
	expect_wrong("image nonsense", "no verb 'nonsense'");
	expect_wrong("image add", "FILE");
	expect_wrong("image add a b c", "unexpected word 'c'");
	expect_wrong("image add --bogus x", "unknown option '--bogus'");
	expect_wrong("image add x --bogus", "unknown option '--bogus'");
	expect_wrong("image add -z x", "unknown option '-z'");
	expect_wrong("image add x --size", "'--size' needs a value");
	expect_wrong("image add x -s", "'-s' needs a value");
	expect_wrong("image add --fast=3 x", "takes no value");
	expect_wrong("--bogus image add x", "unknown option '--bogus'");
	expect_wrong("-C", "'-C' needs a value");
	expect_wrong("image add --json x", "unknown option '--json'");
	expect_wrong("image list extra", "unexpected word 'extra'");
}

/* Every option of the table stands in the help, with its text. */
static void test_help(void **state)
{
	(void)state;
	assert_int_equal(run("image add --help"), 0);
	assert_int_equal(seen.ran, 0);
	for (const struct cli_option *o = add_options; o->name; o++) {
		assert_non_null(strstr(out, o->name));
		assert_non_null(strstr(out, o->help));
	}
	assert_non_null(strstr(out, "Usage: prog image add [OPTION...] FILE"));
	assert_non_null(strstr(out, "-s, --size SIZE"));
	assert_non_null(strstr(out, "More about it."));
	assert_null(strstr(out, "--json"));

	assert_int_equal(run("image list -h"), 0);
	assert_non_null(strstr(out, "--json"));
	assert_non_null(strstr(out, "*NAME"));
	assert_non_null(strstr(out, " AGE"));

	assert_int_equal(run("--help"), 0);
	assert_non_null(strstr(out, "Does things."));
	assert_non_null(strstr(out, "-C, --dir DIR"));
	assert_non_null(strstr(out, "image"));
	assert_null(strstr(out, "secret"));
	assert_int_equal(run("image --help"), 0);
	assert_non_null(strstr(out, "Add one"));

	assert_int_equal(run("--version"), 0);
	assert_string_equal(out, "prog " STAGEFS_VERSION "\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_table_options),
		cmocka_unit_test(test_wrong_usage),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
