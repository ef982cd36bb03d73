#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""results.py - what run.sh makes of CTest's results (--output-junit).

usage: results.py again FILE
       results.py end FOLDER BUILD...

again: the tests of FILE that get a second chance, as a pattern for ctest -R;
nothing if there are none. A case waits for other processes, and beside others
on a busy machine one may wait too long: it is run once more, alone. That is no
excuse for wrong bytes, for what a sanitizer said, for a case that was alone
already ("# serial"), for units, fuzz targets and lint, nor for so many at once
that it is no accident.

end: of each FOLDER/BUILD.xml, and FOLDER/BUILD.again.xml if there is one: the
slowest tests, the last lines of those that failed, and one line that counts.
Status 1 if one failed for good, or none was run.
"""
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

SLOWEST = 10
LINES, COLUMNS = 25, 200
ACCIDENTS = 5
CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../cases')
NO_EXCUSE = re.compile(
    r"[sS]anitizer|runtime error:|wrong bytes|differ: (byte|char)|"
    r"'[0-9a-f]{64}' is not '[0-9a-f]{64}'")


class Test:
    def __init__(self, element):
        self.name = element.get('name')
        self.seconds = float(element.get('time'))
        self.output = element.findtext('system-out') or ''
        skipped = element.find('skipped')
        self.skipped = (skipped is not None and
                        skipped.get('message', '').startswith('SKIP_'))
        self.passed = element.get('status') == 'run'

    def failed(self):
        return not self.passed and not self.skipped


def results(path):
    return [Test(e) for e in ElementTree.parse(path).iter('testcase')]


def was_alone(name):
    path = os.path.join(CASES, *name.split('.')[1:]) + '.sh'
    with open(path, encoding='utf-8') as f:
        return any(line.startswith('# serial') for line in f)


def again(path):
    failed = [t for t in results(path) if t.failed()]
    if len(failed) > ACCIDENTS:
        return
    print('|'.join(re.escape(t.name) for t in failed
                   if t.name.startswith('case.') and
                   not NO_EXCUSE.search(t.output) and not was_alone(t.name)))


def block(build, test, verdict):
    print(f'\n--- {verdict}: {test.name} (build/{build}, {test.seconds:.1f} s)')
    for line in test.output.rstrip().split('\n')[-LINES:]:
        print('    ' + line[:COLUMNS])


def end(folder, builds):
    passed, skipped, failed, unsteady = 0, [], [], []
    for build in builds:
        path = os.path.join(folder, build)
        try:
            first = results(path + '.xml')
            second = {}
            if os.path.exists(path + '.again.xml'):
                second = {t.name: t for t in results(path + '.again.xml')}
        except (OSError, ElementTree.ParseError) as e:
            print(f'{path}: no results: {e}')
            failed.append((build, None))
            continue
        print(f'\n=== the slowest of build/{build}')
        for t in sorted(first, key=lambda t: -t.seconds)[:SLOWEST]:
            print(f'{t.seconds:8.1f} s  {t.name}')
        for t in first:
            if t.skipped:
                skipped.append((build, t))
            elif t.passed:
                passed += 1
            elif t.name in second and second[t.name].passed:
                unsteady.append((build, t))
            else:
                failed.append((build, second.get(t.name, t)))
    for build, t in unsteady:
        block(build, t, 'unsteady')
    for build, t in failed:
        if t:
            block(build, t, 'FAILED')
    print()
    for build, t in skipped:
        print(f'skipped: {t.name} (build/{build})')
    for build, t in unsteady:
        print(f'unsteady: {t.name} (build/{build}; passed alone)')
    for build, t in failed:
        print(f'FAILED: {t.name if t else "no results"} (build/{build})')
    passed += len(unsteady)
    print(f'{passed} passed, {len(failed)} failed, '
          f'{len(skipped)} skipped, {len(unsteady)} unsteady')
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    if len(sys.argv) == 3 and sys.argv[1] == 'again':
        sys.exit(again(sys.argv[2]))
    if len(sys.argv) > 3 and sys.argv[1] == 'end':
        sys.exit(end(sys.argv[2], sys.argv[3:]))
    sys.exit(__doc__)
