# SPDX-License-Identifier: Apache-2.0
"""Real programs of this machine, each run natively and in the sandbox: standard output and exit status must be the
same. A program that the machine lacks is skipped by name."""

import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap  # noqa: E402

PAVISE = os.environ["PAVISE"]
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8"}

PYTHON = "/usr/bin/python3"

# name -> (program that must be there, shell script run in a fresh directory below /tmp)
SCRIPTS = {
    "busybox": ("busybox", "busybox echo hi; busybox seq 3; busybox sha1sum /etc/passwd"),
    "dash_pipes_and_jobs": ("sh", "echo a | cat; (sleep 0.1; echo b) & wait; for i in 1 2 3; do echo $i; done | wc -l; exit 7"),
    "bash": ("bash", "bash -c 'x=(1 2 3); echo ${x[@]} $((1+2)); seq 1 100 | tail -1; cat <(echo sub)'"),
    "coreutils": ("sort", "seq 100 | sort -R | sort -n | head -3; ls -la /etc | wc -l; echo x > f; stat -c '%s %a' f; mv f g; ls"),
    "find_grep_sed_awk": ("awk", "find /etc/apt | sort | head; grep -c root /etc/passwd; echo abc | sed s/b/X/; awk 'BEGIN{print 6*7}'"),
    "tar_and_compressors": ("xz", "mkdir d; echo x > d/f; tar cf a.tar d; tar tf a.tar; for c in gzip xz; do $c -c a.tar | $c -dc | cmp - a.tar && echo $c; done"),
    "diff": ("diff", "echo a > x; echo b > y; diff x y; echo $?"),
    "perl": ("perl", "perl -e 'print 6*7, \"\\n\"; if (!fork) { exit 3 } wait; print $? >> 8, \"\\n\"'"),
    "make": ("make", "printf 'all: a b\\na b:\\n\\t@echo $@\\n' > Makefile; make -j2 | sort"),
    "git": ("git", "git init -q r; cd r; git config user.email a@b; git config user.name n; echo 1 > f; git add f; git commit -qm m; "
                   "git log --format=%s; git fsck; cd ..; git clone -q r s; cd s; cat f; git gc -q; git status --short"),
    "gcc": ("gcc", "printf 'int main(void){return 5;}' > x.c; gcc x.c -o x; ./x; echo $?"),
    "gxx": ("g++", "printf '#include <iostream>\\n#include <thread>\\nint main(){std::thread t([]{std::cout<<1<<std::endl;});t.join();"
                   "try{throw 5;}catch(int i){std::cout<<i<<std::endl;}}' > x.cc; g++ x.cc -o x -pthread && ./x"),
    "musl": ("musl-gcc", "printf '#include <stdio.h>\\nint main(void){puts(\"musl\");}' > m.c; musl-gcc -static m.c -o m && ./m"),
    "sparse_file": ("truncate", "truncate -s 4G s; stat -c '%s' s; dd if=/dev/zero of=f bs=1M count=20 2>/dev/null; md5sum f"),
    "pipe_chain": ("head", "head -c 20000000 /dev/zero | cat | cat | cat | wc -c"),
    "fork_loop": ("true", "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done; echo done"),
    "killed": ("sh", "kill -9 $$"),
    "segmentation_fault": ("sh", "kill -SEGV $$"),
    "python_threads_and_subprocess": (PYTHON, PYTHON + " -c 'import threading,subprocess; t=threading.Thread(target=lambda: print(\"thr\")); "
                                      "t.start(); t.join(); print(subprocess.check_output([\"echo\",\"sub\"]))'"),
    "python_multiprocessing": (PYTHON, PYTHON + " -c 'import multiprocessing as m; m.set_start_method(\"fork\"); p=m.Pool(3); "
                               "print(p.map(abs,[-1,-2,-3])); p.close(); p.join()'"),
    "python_signals": (PYTHON, PYTHON + " -c 'import signal,os,time; signal.signal(signal.SIGUSR1,lambda *a: print(\"got\")); "
                       "os.kill(os.getpid(),signal.SIGUSR1); signal.signal(signal.SIGALRM,lambda *a: print(\"alrm\")); "
                       "signal.setitimer(signal.ITIMER_REAL,0.05); time.sleep(0.3)'"),
    "python_shared_mmap": (PYTHON, PYTHON + " -c 'import mmap,os; m=mmap.mmap(-1,8192); p=os.fork()\n"
                           "if p==0: m[0:3]=b\"xyz\"; os._exit(0)\nos.wait(); print(m[0:3])'"),
    "python_sqlite": (PYTHON, PYTHON + " -c 'import sqlite3; c=sqlite3.connect(\"t.db\"); c.execute(\"pragma journal_mode=wal\"); "
                      "c.execute(\"create table t(a)\"); c.executemany(\"insert into t values(?)\",[(i,) for i in range(1000)]); "
                      "c.commit(); print(c.execute(\"select count(*) from t\").fetchone())'"),
    "timeout": ("timeout", "timeout 0.3 sleep 5; echo $?"),
}


def run(argv, cwd):
    r = subprocess.run(argv, cwd=cwd, env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=100, check=False)
    return r.returncode, r.stdout


class Native(unittest.TestCase):
    maxDiff = None

    def compare(self, script):
        script = "rm -rf /tmp/pavise-programs; mkdir /tmp/pavise-programs && cd /tmp/pavise-programs || exit 99; " + script
        native = run(["/bin/sh", "-c", script], "/")
        shutil.rmtree("/tmp/pavise-programs", ignore_errors=True)
        ours = run([PAVISE, "do", "--", "/bin/sh", "-c", script], "/")
        # A shell that a signal killed: Python says -N, the sandbox exits with 128+N.
        code = native[0] if native[0] >= 0 else 128 - native[0]
        self.assertEqual((code, native[1]), ours)


def add(name, program, script):
    def test(self):
        if shutil.which(program, path=ENV["PATH"]) is None:
            self.skipTest(f"{program} is not installed")
        self.compare(script)

    setattr(Native, "test_" + name, test)


for key, (prog, text) in SCRIPTS.items():
    add(key, prog, text)


if __name__ == "__main__":
    tap.main()
