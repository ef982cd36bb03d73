#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_results.py - who gets a second chance, and what is said at the end?"""
import os
import subprocess
import sys
import tempfile
import unittest
from xml.sax.saxutils import escape

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results.py')
SUM = "'" + 'a' * 64 + "' is not '" + 'b' * 64 + "'"


def say(*arguments):
    """Its exit status and output."""
    done = subprocess.run([sys.executable, TOOL, *arguments],
                          stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


class Results(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, name, *tests):
        """A file as CTest 3.25 writes it; of (name, status, output)."""
        path = os.path.join(self.folder.name, name + '.xml')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="x">')
            for i, (test, status, output) in enumerate(tests):
                f.write(f'<testcase name="{test}" time="{i}.5" status="{status}">')
                if status == 'skip':
                    f.write('<skipped message="SKIP_RETURN_CODE=77"/>')
                f.write(f'<system-out>{escape(output)}</system-out></testcase>')
            f.write('</testsuite>')
        return path

    def again(self, *tests):
        return say('again', self.write('b', *tests))[1].strip()

    def end(self, *builds):
        return say('end', self.folder.name, *builds)

    def test_second_chance(self):
        self.assertEqual(self.again(
            ('case.fs.hang', 'fail', 'never came true: x'),
            ('case.fs.cage', 'run', ''), ('case.fs.tls', 'skip', ''),
            ('case.fs.verbs', 'fail', '')), r'case\.fs\.hang|case\.fs\.verbs')
        self.assertEqual(self.again(('case.fs.hang', 'run', '')), '')

    def test_no_second_chance(self):
        for name, output in (
                ('unit.fs.cache', ''), ('fuzz.catalog', ''), ('lint.man', ''),
                ('case.fs.background', 'alone already'),
                ('case.fs.hang', 'hang: FAILED: a sanitizer spoke:'),
                ('case.fs.hang', 'WARNING: ThreadSanitizer: data race'),
                ('case.fs.hang', 'a.c:1:2: runtime error: shift'),
                ('case.fs.hang', '/a /b differ: byte 7, line 1'),
                ('case.fs.hang', 'FAILED: ' + SUM)):
            self.assertEqual(self.again((name, 'fail', output)), '', name)
        names = [path[:-3] for path in os.listdir(os.path.join(
            os.path.dirname(TOOL), '../cases/read')) if path.endswith('.sh')]
        self.assertEqual(self.again(
            *((f'case.read.{n}', 'fail', '') for n in sorted(names)[:6])), '')

    def test_end(self):
        self.write('a', ('case.fs.hang', 'fail', 'first'),
                   ('case.fs.cage', 'fail', 'first'), ('unit.x', 'run', ''))
        self.write('a.again', ('case.fs.hang', 'run', ''),
                   ('case.fs.cage', 'fail', 'one\n' * 30 + 'last'))
        self.write('b', ('case.fs.tls', 'skip', ''),
                   ('unit.y', 'notrun', 'no such program'))
        status, said = self.end('a', 'b', 'c')
        self.assertEqual(status, 1)
        self.assertIn('2.5 s  unit.x', said)
        self.assertIn('--- unsteady: case.fs.hang (build/a, 0.5 s)\n    first', said)
        self.assertIn('--- FAILED: case.fs.cage (build/a, 1.5 s)\n' +
                      '    one\n' * 24 + '    last\n\n', said)
        self.assertEqual(said.split('\n')[-7:], [
            'skipped: case.fs.tls (build/b)',
            'unsteady: case.fs.hang (build/a; passed alone)',
            'FAILED: case.fs.cage (build/a)',
            'FAILED: unit.y (build/b)',
            'FAILED: no results (build/c)',
            '2 passed, 3 failed, 1 skipped, 1 unsteady', ''])

    def test_status(self):
        self.write('a', ('case.fs.hang', 'fail', ''))
        self.write('a.again', ('case.fs.hang', 'run', ''))
        self.assertEqual(self.end('a')[0], 0)
        self.write('b')
        self.assertEqual(self.end('b')[0], 1)
        self.assertEqual(self.end('a', 'b')[0], 0)


if __name__ == '__main__':
    unittest.main()
