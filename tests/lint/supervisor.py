#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor is small: it is root and stays, so it must not be wrong.

usage: supervisor.py ROOT PROGRAM

Its .c files have less than 600 lines that are neither blank nor comment, and
the program needs no library but libc (and a sanitizer's).
"""
import glob
import os
import re
import subprocess
import sys

MOST_LINES = 600
ALLOWED = re.compile(r'libc\.so|ld-linux|lib[atu]+b?san\.so|libm\.so|libgcc_s')
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|("(?:\\.|[^"\\])*")', re.S)


def code_lines(text):
    """Lines that are left without comments (strings stay) and blanks."""
    bare = COMMENT.sub(lambda m: m.group(1) or '', text)
    return sum(1 for line in bare.split('\n') if line.strip())


def main():
    root, program = sys.argv[1:]
    total = bad = 0
    for path in sorted(glob.glob(os.path.join(root, 'fs/supervisor/*.c'))):
        with open(path, encoding='utf-8') as f:
            n = code_lines(f.read())
        print(f'{n:5} {os.path.relpath(path, root)}')
        total += n
    print(f'{total:5} lines of code')
    if not 0 < total < MOST_LINES:
        print(f'fs/supervisor: {total} lines, it may have {MOST_LINES - 1}')
        bad += 1
    needs = subprocess.run(['readelf', '-d', program], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
    libraries = re.findall(r'\(NEEDED\).*\[(.*)\]', needs)
    for name in libraries:
        if not ALLOWED.match(name):
            print(f'{program} needs {name}')
            bad += 1
    return 1 if bad or not libraries else 0


if __name__ == '__main__':
    sys.exit(main())
