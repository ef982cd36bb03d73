#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lint checks themselves: each rule, broken alone in a small tree, fails.

usage: selftest.py
"""
import os
import stat
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SPDX = '/* SPDX-License-Identifier: Apache-2.0 */\n'
LAYERS = '''
program fs
	fs/*
	fs/a fs/b fs/d
	fs/low
	common
alone fs/sup
open fs/open.h fs
library zlib.h fs/low
'''
TREE = {
    'common/c.h': SPDX + '#ifndef C_H\n#define C_H\nint c(int x);\n#endif\n',
    'common/c.c': SPDX + '#include "common/c.h"\n',
    'fs/a/a.c': SPDX + '#include "common/c.h"\n#include "fs/low/l.h"\n'
                       '#include "fs/b/b.h"\n#include "fs/open.h"\n',
    'fs/b/b.h': SPDX, 'fs/d/d.h': SPDX, 'fs/a/a.h': SPDX,
    'fs/low/l.h': SPDX, 'fs/low/l.c': SPDX + '#include <zlib.h>\n',
    'fs/sup/s.h': SPDX, 'fs/sup/s.c': SPDX + '#include "fs/sup/s.h"\n',
    'fs/open.h': SPDX, 'fs/main.c': SPDX + '#include "fs/a/a.h"\n',
}
# check, the file that is put in, its text, what has to be said
BROKEN = [
    ('layers', 'common/c.c', '#include "fs/low/l.h"\n', 'lies above'),
    ('layers', 'fs/low/l.h', '#include "fs/a/a.h"\n', 'lies above'),
    ('layers', 'fs/b/b.h', '#include "fs/a/a.h"\n', 'each other'),
    ('layers', 'fs/b/b.h', '#include "fs/d/d.h"\n', None),
    ('layers', 'fs/sup/s.c', '#include "common/c.h"\n', 'own folder'),
    ('layers', 'fs/a/a.h', '#include "fs/sup/s.h"\n', 'nobody'),
    ('layers', 'common/c.c', '#include "fs/open.h"\n', 'lies above'),
    ('layers', 'fs/a/a.h', '#include <zlib.h>\n', 'alone'),
    ('layers', 'fs/a/a.h', '#include "a.h"\n', 'top folder'),
    ('layers', 'fs/new/n.c', '', 'no layer'),
    ('layers', 'fs/other.c', '#include "fs/d/d.h"\n', None),
    ('layers', 'fs/d/d.h', '#include "fs/main.h"\n', 'top folder'),
    ('headers', 'fs/a/a.h', SPDX + 'size_t n(void);\n', 'fs/a/a.h'),
    ('headers', 'fs/a/a.h', SPDX + 'struct twice { int x; };\n', 'fs/a/a.h'),
    ('files', 'fs/a/a.h', '\n', 'SPDX'),
    ('files', 'tool', '#!/bin/sh\n', 'SPDX'),
    ('files', 'fs/a/a.h', SPDX + '\n' * 600, 'split it'),
    ('files', 'fs/a/a.h', SPDX + '\n' * 599, None),
    ('files', 'fs/a/a.h', SPDX + '\t' + '/' * 73, 'a.h:2: wider'),
    ('files', 'fs/a/a.h', SPDX + '\t' + '/' * 72, None),
]
PROGRAM = '''#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
case "$*" in
--help) printf 'Usage: prog [OPTION...] VERB ...\\nP.\\n\\nVerbs:\\n' &&
	printf '  image        Images\\n  serve        Serves\\n' &&
	printf '\\nOptions:\\n  -C, --directory DIR  d\\n  -h, --help  h\\n' ;;
'image --help') printf 'Usage: prog image VERB ...\\nI.\\n\\nVerbs:\\n' &&
	printf '  add          Adds\\n\\nOptions:\\n  -h, --help  h\\n' ;;
'image add --help') printf 'Usage: prog image add FILE\\nA.\\n' &&
	printf '\\nOptions:\\n      --name NAME  n\\n  -q, --quiet  q\\n' ;;
'serve --help') printf 'Usage: prog serve\\nS.\\n\\nOptions:\\n' &&
	printf '      --listen ADDR  where\\n' ;;
*) exit 2 ;;
esac
'''
PAGE = r'''.TH PROG 8
.SH OPTIONS
.TP
.BR \-C ", " \-\-directory " " \fIDIR\fR
The folder.
.SH VERBS
.SS image add \fIFILE\fR
.TP
\fB\-\-name\fR \fINAME\fR
Its name.
.TP
.BR \-q ", " \-\-quiet
Say nothing.
.SS prog serve
.TP
.B \-\-listen
Where; see also \fB\-\-name\fR.
.SH EXAMPLE
.EX
getfattr -d --absolute-names x
.EE
'''
PAGES = [
    ('', '', None),
    ('.SS prog serve', '.SS prog swerve', 'serve: in the help, not in the'),
    ('.SH EXAMPLE', '.SS image drop\n.SH EXAMPLE', '"image drop"'),
    (r'\-\-quiet', r'\-\-silent', '--quiet is in the help'),
    (r'\-q ", "', '', '-q is in the help'),
    (r'.B \-\-listen', '.B \\-\\-listen\n.TP\n.B \\-\\-name', 'serve: --name'),
    (r'see also \fB\-\-name', r'see also \fB\-\-nme', '--nme is in the page'),
    (r'\-\-directory', r'\-\-dir', '--directory is in the help'),
    ('getfattr -d', 'prog -d', '--absolute-names is in the page'),
]
# packaging/debian and man/: the file, what is replaced in it, what is said
CONTROL = '''Source: stagefs
Section: admin
Priority: optional
Maintainer: m <m@stagefs.invalid>
Standards-Version: 4.6.2
Build-Depends: debhelper-compat (= 13), cmake,
 libfuse3-dev (>= 3.14)

Package: stagefs
Architecture: any
Depends: ${misc:Depends}
Description: images
 more
'''
MDOC = r'''.Dd November 23, 2026
.Dt STAGEFS 8
.Os stagefs
.Sh NAME
.Nm stagefs
.Nd images
.Sh DESCRIPTION
Images.
.Bl -tag -width Ds
.It Cm name= Ns Ar NAME
A name.
.El
.Sh SEE ALSO
.Xr mount 8
'''
EXPORT = r'''.Dd November 23, 2026
.Dt STAGEFS-EXPORT 7
.Os stagefs
.Sh NAME
.Nm stagefs-export
.Nd shares
.Sh DESCRIPTION
.Bl -tag -width Ds
.It Li Protocols = 3, 4 , Name = VFS
Two of them.
.It Li read only = yes
One.
.It Li ro
.It Li fsid=115
.El
'''
OPTIONS = 'static struct x t[] = {\n\t{"name", KIND_NAME, 1},\n};\n'
MORE_TREE = {
    'CMakeLists.txt': 'project(stagefs VERSION 0.1.0 LANGUAGES C)\n',
    'tests/lib/packages': 'build gcc\nbuild cmake\nbuild libfuse3-dev\n',
    'packaging/debian/control': CONTROL,
    'packaging/debian/changelog': 'stagefs (0.1.0) unstable; urgency=low\n',
    'man/stagefs.8': MDOC, 'fs/options.c': OPTIONS,
    'man/stagefs-export.7': EXPORT,
    'packaging/share/exports': '# x\n/images *(ro,fsid=115)\n',
    'packaging/share/ganesha.conf':
        'E {\n\tProtocols = 3, 4;\n\tF {\n\t\tName = VFS;\n\t}\n}\n',
    'packaging/share/smb.conf': '# x\n[images]\n\tread only = yes\n',
}
MORE = [
    ('debian', 'packaging/debian/control', '', '', None),
    ('debian', 'packaging/debian/control', ' more', 'more', 'no field'),
    ('debian', 'packaging/debian/control', 'Section: admin\n', '',
     'no Section'),
    ('debian', 'packaging/debian/control', 'Architecture: any\n', '',
     'no Architecture'),
    ('debian', 'packaging/debian/control', ' cmake,', '', 'cmake'),
    ('debian', 'packaging/debian/changelog', '0.1.0', '0.2.0', 'changelog'),
    ('man', 'man/stagefs.8', '', '', None),
    ('man', 'man/stagefs.8', '.El\n', '', 'end of block'),
    ('man', 'man/stagefs.8', '.Xr mount 8', '.Xr stagefs-x 8', 'not there'),
    ('man', 'man/stagefs.8', '.It Cm name=', '.It Cm nam=', 'mount options'),
    ('man', 'fs/options.c', '"name"', '"other"', 'mount options'),
    ('man', 'packaging/share/exports', ',fsid', ',crossmnt,fsid',
     "'crossmnt' is not explained"),
    ('man', 'packaging/share/ganesha.conf', 'VFS', 'GPFS',
     "'Name = GPFS' is not explained"),
    ('man', 'packaging/share/smb.conf', '= yes', '= no',
     "'read only = no' is not explained"),
]


def write(root, name, text):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    return path


def run(*command):
    p = subprocess.run(command, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    return p.returncode, p.stdout


def check(what, root):
    if what == 'layers':
        return run('python3', f'{HERE}/layers.py', root, f'{root}/layers.txt')
    if what == 'headers':
        return run('bash', f'{HERE}/headers.sh', root)
    if what == 'man':
        return run('bash', f'{HERE}/man.sh', root)
    if what == 'debian':
        return run('python3', f'{HERE}/debian.py', root)
    return run('python3', f'{HERE}/files.py', root)


def judge(what, got, says):
    status, text = got
    if (status == 0) == (says is None) and (says or '') in text and \
       'Traceback' not in text:
        return 0
    print(f'{what}: expected {says or "no complaint"}, got status {status}: '
          f'{text}')
    return 1


def main():
    bad = 0
    with tempfile.TemporaryDirectory() as top:
        for i, (what, name, text, says) in enumerate(
                [(w, None, None, None) for w in ('layers', 'headers', 'files')]
                + BROKEN):
            root = f'{top}/{i}'
            for path, content in TREE.items():
                write(root, path, content)
            if name:
                write(root, name, text)
            write(root, 'layers.txt', LAYERS)
            bad += judge(f'{what} {name} {text!r:.60}', check(what, root),
                         says)
        for empty in ('layers', 'headers', 'files'):
            root = f'{top}/empty-{empty}/r'
            os.makedirs(root)
            write(f'{top}/empty-{empty}', 'r/layers.txt', LAYERS)
            bad += judge(f'{empty} of nothing', check(empty, root), 'found')
        for i, (what, name, old, new, says) in enumerate(MORE):
            root = f'{top}/more-{i}'
            for path, content in MORE_TREE.items():
                if path == name and old not in content:
                    sys.exit(f'no {old} in {name}')
                write(root, path, content.replace(old, new, 1)
                      if path == name else content)
            bad += judge(f'{what} {name} {old!r}', check(what, root), says)
        prog = write(top, 'prog', PROGRAM)
        os.chmod(prog, stat.S_IRWXU)
        for old, new, says in PAGES:
            if old not in PAGE:
                sys.exit(f'no {old} in the page')
            page = write(top, 'prog.8', PAGE.replace(old, new, 1))
            bad += judge(f'help {old} > {new}',
                         run('python3', f'{HERE}/help.py', prog, page), says)
        bad += judge('help without a page',
                     run('python3', f'{HERE}/help.py', prog, f'{top}/none'),
                     'No such file')
        bad += judge('help of no program of ours',
                     run('python3', f'{HERE}/help.py', '/bin/false', page),
                     'exit status 1')
    print('every rule fails when it is broken' if not bad else f'{bad} wrong')
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
