#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what --help says with what the man page says, both ways.

usage: help.py PROGRAM PAGE

Of the page this much is expected: each verb has a heading of its own (.SS, or
a tag under .TP) that starts with the verb's words, "image add FILE ...", with
or without the program's name before it. Its options stand below that heading,
or, if several verbs share them, in a section that belongs to no verb. Options
are written with two dashes: \\fB\\-\\-name\\fR, .B \\-\\-name, .BR.

Checked:
  each verb of the help has a heading; each .SS in a section whose name has
  VERBS or COMMANDS in it is a verb;
  each long and short option of a verb stands in its section or in a common one;
  each option that is a tag in a verb's section is in the help of that verb;
  each option in the page is in the help of some verb.
"""
import re
import subprocess
import sys

OPTION = re.compile(r'^\s+(?:(-\w), )?(--[a-z][a-z0-9-]*)(?: |$)', re.M)
WORD = re.compile(r'(?<![\w-])(--[a-z][a-z0-9-]*[a-z0-9]|-[A-Za-z])(?![\w-])')
# Options of other programs (getfattr -d) may be quoted as examples; they are
# told by the line, which is literal and does not start with our name.
EVERYWHERE = {'--help', '-h'}


def run_help(program, verb):
    p = subprocess.run([program, *verb, '--help'], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=30, text=True, check=False)
    if p.returncode != 0 or not p.stdout.startswith('Usage:'):
        sys.exit(f'{" ".join([program, *verb])} --help: exit status '
                 f'{p.returncode}: {p.stdout[:200]}')
    return p.stdout


def read_help(program, verb=()):
    """{verb words: set of options}; () has the global ones."""
    text = run_help(program, verb)
    options = re.search(r'^Options:\n((?:\s+.*\n|\n(?=\s))*)', text, re.M)
    found = set()
    for short, long in OPTION.findall(options.group(1) if options else ''):
        found |= {long} | ({short} if short else set())
    result = {tuple(verb): found}
    verbs = re.search(r'^Verbs:\n((?:  .*\n)+)', text, re.M)
    if verbs:
        if verb:
            del result[tuple(verb)]  # a group has nothing of its own
        for line in verbs.group(1).splitlines():
            result.update(read_help(program, (*verb, line.split()[0])))
    return result


def plain(line):
    """The text of a line of man(7) or mdoc(7) source."""
    line = re.sub(r'\bFl (\S+)', r'-\1', line)
    m = re.match(r'\.(\w+)\s*(.*)', line)
    if m:
        macro, line = m.groups()
        if macro in ('BR', 'RB', 'BI', 'IB', 'RI', 'IR'):
            line = ''.join(quoted or word for quoted, word in
                           re.findall(r'"([^"]*)"|(\S+)', line))
    line = re.sub(r'\\f(?:\[\w*\]|\(..|.)', '', line)
    line = line.replace('\\-', '-').replace('\\(aq', "'").replace('\\&', '')
    return re.sub(r'\\[~0 ]', ' ', line).replace('\\', '').replace('"', '')


def read_page(path):
    """[(kind, text)]: SH, SS, TAG or TEXT; literal blocks are LITERAL."""
    out, tag, literal = [], False, False
    with open(path, encoding='utf-8') as f:
        for line in f.read().splitlines():
            if line.startswith(('.\\"', "'\\\"")):
                continue
            macro = re.match(r'\.(\w+)', line)
            macro = macro.group(1) if macro else ''
            if macro in ('EX', 'nf', 'Bd'):
                literal = True
            elif macro in ('EE', 'fi', 'Ed'):
                literal = False
            elif macro in ('TP', 'TQ'):
                tag = True
            elif macro in ('SH', 'Sh'):
                out.append(('SH', plain(line)))
            elif macro in ('SS', 'Ss'):
                out.append(('SS', plain(line)))
            elif macro == 'It' or tag:
                out.append(('TAG', plain(line)))
                tag = False
            else:
                out.append(('LITERAL' if literal else 'TEXT', plain(line)))
    return out


def verb_of(text, program, verbs):
    """The longest verb that the text starts with, or None."""
    words = text.split()
    if words[:1] == [program]:
        words = words[1:]
    for n in (3, 2, 1):
        if tuple(words[:n]) in verbs and len(words) >= n:
            return tuple(words[:n])
    return None


def read_sections(page, program, verbs):
    """({verb: (all options, options that are tags)}, common options, odd)."""
    at, section = None, ''
    places, common, odd = {}, set(), []
    for kind, text in page:
        if kind == 'SH':
            at, section = None, text.upper()
        elif kind in ('SS', 'TAG'):
            verb = verb_of(text, program, verbs)
            if verb:
                at = verb
                places.setdefault(at, (set(), set()))
            elif kind == 'SS':
                at = None
                groups = {v[0] for v in verbs if v}
                if ('VERBS' in section or 'COMMANDS' in section) and \
                   text.strip() not in groups:
                    odd.append(f'"{text}" is a heading among the verbs, and '
                               'no verb')
        if kind == 'LITERAL' and program not in text:
            continue
        found = set(WORD.findall(text))
        if at is None:
            common |= found
            continue
        places[at][0].update(found)
        if kind == 'TAG':
            places[at][1].update(found)
    return places, common, odd


def compare(program, helped, page):
    verbs = {v for v in helped if v}
    places, common, bad = read_sections(page, program, verbs)
    known = set().union(*helped.values()) | EVERYWHERE
    for verb in sorted(helped):
        name = ' '.join(verb) or 'the program itself'
        if verb and verb not in places:
            bad.append(f'{name}: in the help, not in the page')
            continue
        here, tags = places.get(verb, (set(), set()))
        for option in sorted(helped[verb] - here - common - EVERYWHERE):
            bad.append(f'{name}: {option} is in the help, not in the page')
        for option in sorted(tags - helped[verb] - EVERYWHERE):
            bad.append(f'{name}: {option} is in the page, not in the help')
    written = common.union(*(p[0] for p in places.values())) if places \
        else common
    for option in sorted(o for o in written - known if o.startswith('--')):
        bad.append(f'{option} is in the page, in no help')
    return bad


def main():
    path, page_path = sys.argv[1:]
    program = path.rsplit('/', 1)[-1]
    helped = read_help(path)
    if len(helped) < 2:
        sys.exit(f'{program} --help lists no verbs')
    try:
        page = read_page(page_path)
    except OSError as e:
        sys.exit(f'{page_path}: {e.strerror}')
    bad = compare(program, helped, page)
    print('\n'.join(bad) if bad else
          f'{program}: {len(helped) - 1} verbs, '
          f'{sum(map(len, helped.values()))} options: page and help agree')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
