#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""packaging/debian parses, and says what the rest of the source says.

usage: debian.py ROOT

control: one source paragraph, then packages with what each needs; build
dependencies are those of tests/lib/packages. changelog: the version of
CMakeLists.txt. Links lead to files.
"""
import os
import re
import sys

# What debhelper brings by itself, or only it needs; and what is needed to try
# a build, not to make one.
OF_DEBHELPER = {'debhelper-compat', 'dh-sequence-installsysusers'}
NOT_TO_BUILD = {'gcc', 'fuse3', 'curl', 'tzdata'}
NEEDED = {
    'Source': ('Section', 'Priority', 'Maintainer', 'Standards-Version',
               'Build-Depends'),
    'Package': ('Architecture', 'Depends', 'Description'),
}


def paragraphs(text):
    """[{field: value}] of a deb822 file; ValueError says what is wrong."""
    found, last = [], None
    for n, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            last = None
        elif line[0] in ' \t':
            if last is None:
                raise ValueError(f'line {n} continues nothing')
            found[-1][last] += '\n' + line.strip()
        else:
            m = re.fullmatch(r'([A-Za-z][A-Za-z0-9-]*):\s*(.*)', line)
            if not m:
                raise ValueError(f'line {n} is no field: {line}')
            if last is None:
                found.append({})
            last = m.group(1)
            if last in found[-1]:
                raise ValueError(f'line {n}: {last} is there twice')
            found[-1][last] = m.group(2)
    return found


def names(depends):
    """Package names of a dependency field."""
    return {re.split(r'[\s(]', d.strip(), maxsplit=1)[0]
            for d in depends.split(',') if d.strip()}


def check_control(text, wanted):
    bad = []
    source, *packages = paragraphs(text)
    for kind, group in (('Source', [source]), ('Package', packages)):
        for p in group:
            if kind not in p:
                bad.append(f'control: a paragraph without {kind}')
            bad += [f'control: {p.get(kind)}: no {f}' for f in NEEDED[kind]
                    if not p.get(f)]
    if not packages:
        bad.append('control: no package')
    built = names(source.get('Build-Depends', '')) - OF_DEBHELPER
    for name in sorted(built ^ (wanted - NOT_TO_BUILD)):
        bad.append(f'{name}: a build dependency in only one of control and '
                   'tests/lib/packages')
    return bad


def read(*path):
    with open(os.path.join(*path), encoding='utf-8') as f:
        return f.read()


def main():
    root = sys.argv[1]
    debian = os.path.join(root, 'packaging', 'debian')
    wanted = set(re.findall(r'^build\s+(\S+)',
                            read(root, 'tests/lib/packages'), re.M))
    try:
        bad = check_control(read(debian, 'control'), wanted)
    except ValueError as e:
        bad = [f'control: {e}']
    version = re.search(r'^project\(\w+ VERSION ([0-9.]+)',
                        read(root, 'CMakeLists.txt'), re.M).group(1)
    if not read(debian, 'changelog').startswith(f'stagefs ({version}) '):
        bad.append(f'changelog: does not begin with version {version}')
    for name in sorted(os.listdir(debian)):
        if not os.path.exists(os.path.join(debian, name)):
            bad.append(f'{name}: leads nowhere')
    print('\n'.join(bad) if bad else 'packaging/debian is in order')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
