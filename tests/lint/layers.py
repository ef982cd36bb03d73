#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks every #include of ours against the layer list.

usage: layers.py ROOT [LIST]

A file that belongs to no layer fails too: a new folder has to be put into the
list before it can be used.
"""
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)


class Rules:
    def __init__(self, path):
        self.layers = {}  # program -> list of layers, each a list of places
        self.alone, self.open, self.foreign = [], [], []
        program = None
        with open(path) as f:
            for line in f:
                words = line.split('#')[0].split()
                if not words:
                    continue
                if words[0] == 'program':
                    program = self.layers.setdefault(words[1], [])
                elif words[0] == 'alone':
                    self.alone.append(words[1])
                elif words[0] == 'open':
                    self.open.append(words[1:])
                elif words[0] == 'library':
                    self.foreign.append((words[1], words[2:]))
                else:
                    program.append(words)

    def place(self, path):
        """(program, depth, folder) for each program the file belongs to."""
        return [(program, depth, folder)
                for program, layers in self.layers.items()
                for depth, folders in enumerate(layers)
                for folder in folders if within(path, folder)]


def within(path, place):
    if place.endswith('/*'):
        return os.path.dirname(path) == place[:-2]
    return path == place or path.startswith(place.rstrip('/') + '/')


def sources(root):
    for top in ('common', 'fs', 'origin'):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_ours(rules, path, to, edges):
    """Why `path` must not include our header `to`, or None."""
    if os.path.dirname(path) == os.path.dirname(to):
        return None
    if any(to == o[0] and within(path, (o[1:] or [''])[0]) for o in rules.open):
        return None
    for folder in rules.alone:
        if within(path, folder):
            return f'{folder} includes only its own folder'
        if within(to, folder):
            return f'nobody includes from {folder}'
    mine, theirs = rules.place(path), rules.place(to)
    if not theirs:
        return 'it belongs to no layer'
    allowed = False
    for program, depth, folder in mine:
        for other, other_depth, other_folder in theirs:
            if program != other:
                continue
            if other_depth > depth or folder == other_folder:
                allowed = True
            elif other_depth == depth:
                edges.setdefault(folder, {}).setdefault(
                    other_folder, f'{path} includes {to}')
                allowed = True
    return None if allowed else 'it lies above'


def check_library(rules, path, header):
    for prefix, who in rules.foreign:
        if header.startswith(prefix) and \
           not any(within(path, place) for place in who):
            return f'<{header}> is for {", ".join(who)} alone'
    return None


def find_circle(edges):
    """A way from a folder back to itself among peers, or None."""
    def walk(at, way):
        for to in edges.get(at, {}):
            if to in way:
                return way[way.index(to):] + [to]
            circle = walk(to, way + [to])
            if circle:
                return circle
        return None
    for start in sorted(edges):
        circle = walk(start, [start])
        if circle:
            return circle
    return None


def main():
    root = sys.argv[1]
    here = os.path.dirname(os.path.abspath(__file__))
    rules = Rules(sys.argv[2] if len(sys.argv) > 2
                  else os.path.join(here, 'layers.txt'))
    bad, edges, n_files, n_includes = [], {}, 0, 0
    for path in sources(root):
        n_files += 1
        is_open = any(path == o[0] for o in rules.open)
        if not rules.place(path) and not is_open and \
           not any(within(path, a) for a in rules.alone):
            bad.append(f'{path}: belongs to no layer')
        with open(os.path.join(root, path), encoding='utf-8') as f:
            found = INCLUDE.findall(f.read())
        for quote, header in found:
            n_includes += 1
            if quote == '<':
                why = check_library(rules, path, header)
            elif not os.path.exists(os.path.join(root, header)):
                why = 'paths of includes start at the top folder'
            else:
                why = check_ours(rules, path, header, edges)
            if why:
                bad.append(f'{path}: includes {header}: {why}')
    circle = find_circle(edges)
    if circle:
        bad.append('peers include each other: ' + ' > '.join(circle))
        bad += ['  ' + edges[a][b] for a, b in zip(circle, circle[1:])]
    if not n_files:
        bad.append(f'{root}: no sources found')
    print('\n'.join(bad) if bad else
          f'{n_files} files, {n_includes} includes: all from below')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
