#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each source and script names its license, and none is too long to read; no
line of C is wider than a page.

usage: files.py ROOT
"""
import os
import sys

MOST_LINES = 600
MOST_COLUMNS, TAB = 80, 8  # of *.c and *.h
LICENSE = 'SPDX-License-Identifier: Apache-2.0'
SUFFIXES = ('.c', '.h', '.sh', '.py', '.cmake')
NAMES = ('CMakeLists.txt',)
SKIPPED = {'.git', '.cache', '__pycache__', 'corpus'}


def is_script(path):
    with open(path, 'rb') as f:
        return f.read(2) == b'#!'


def sources(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(d for d in folders if d not in SKIPPED and not (
            folder == root and d.startswith('build')))
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            if name.endswith(SUFFIXES) or name in NAMES or is_script(path):
                yield path


def main():
    root = sys.argv[1]
    bad = n = 0
    for path in sources(root):
        n += 1
        name = os.path.relpath(path, root)
        with open(path, encoding='utf-8') as f:
            lines = f.read().split('\n')
        if not any(LICENSE in line for line in lines[:3]):
            print(f'{name}: no "{LICENSE}" in its first lines')
            bad += 1
        if len(lines) - 1 > MOST_LINES:
            print(f'{name}: {len(lines) - 1} lines are too many: split it')
            bad += 1
        if not name.endswith(('.c', '.h')):
            continue
        for at, line in enumerate(lines, 1):
            if len(line.expandtabs(TAB)) > MOST_COLUMNS:
                print(f'{name}:{at}: wider than {MOST_COLUMNS} columns')
                bad += 1
    if not n:
        print(f'{root}: no sources found')
    if bad or not n:
        return 1
    print(f'{n} files')
    return 0


if __name__ == '__main__':
    sys.exit(main())
