#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each line of packaging/share is explained in stagefs-export(7), and no other.

usage: share.py ROOT
"""
import os
import re
import sys


def settings(name, text):
    """What the file sets, as the page has it in its lists: "key = value"."""
    for line in text.split('\n'):
        line = line.split('#')[0].strip().rstrip(';')
        if name == 'exports':
            options = re.search(r'\((.*)\)', line)
            yield from options.group(1).split(',') if options else []
        elif '=' in line:
            yield line


def main():
    root = sys.argv[1]
    with open(os.path.join(root, 'man/stagefs-export.7'), encoding='utf-8') as f:
        items = [line for line in f.read().split('\n')
                 if line.startswith('.It Li ')]
    explained = {item.strip() for line in items
                 for item in line[len('.It Li '):].split(' , ')}
    bad, used = 0, set()
    for name in ('exports', 'nfs.conf', 'sysctl.conf', 'ganesha.conf',
                 'smb.conf'):
        with open(os.path.join(root, 'packaging/share', name), encoding='utf-8') as f:
            found = list(settings(name, f.read()))
        if not found:
            print(f'{name}: no settings found')
            bad += 1
        used.update(found)
        for setting in found:
            if setting not in explained:
                print(f'{name}: stagefs-export(7) does not explain "{setting}"')
                bad += 1
    for setting in sorted(explained - used):
        print(f'stagefs-export(7): "{setting}" is in none of the files')
        bad += 1
    return bad > 0


sys.exit(main())
