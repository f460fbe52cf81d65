# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: the program under test, and running it.

PAVISE names the program; PAVISE_USER a user id to run it as (the tests themselves run as root
then). The program is copied to a directory of its own, readable for all, so that what it leaves
behind can be told from other sandboxes on the machine."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

USER = int(os.environ.get("PAVISE_USER", os.geteuid()))
FOLDER = tempfile.mkdtemp(prefix="pavise-cli-", dir="/var/tmp")  # the guest has its own /tmp
PROGRAM = os.path.join(FOLDER, "pavise")
TIMEOUT = 30
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/", "LANG": "C.UTF-8"}


def _set_up():
    shutil.copy2(os.environ["PAVISE"], PROGRAM)
    os.chmod(FOLDER, 0o755)
    os.chmod(PROGRAM, 0o755)
    atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


_set_up()


def become_user():
    """In a child: the user that the tests are for."""
    if USER != os.geteuid():
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)


def folder():
    """A new directory that the user owns."""
    path = tempfile.mkdtemp(dir=FOLDER)
    os.chown(path, USER, USER if USER != 0 else 0)
    return path


def pavise(*args, **kwargs):
    """Run `pavise ARGS`: a CompletedProcess with text output."""
    kwargs.setdefault("stdin", subprocess.DEVNULL if "input" not in kwargs else None)
    if kwargs["stdin"] is None:
        del kwargs["stdin"]
    kwargs.setdefault("timeout", TIMEOUT)
    kwargs.setdefault("cwd", "/")
    kwargs.setdefault("env", ENV)
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, check=False,
                          preexec_fn=become_user, **kwargs)


def do(*args, **kwargs):
    return pavise("do", *args, **kwargs)


def left_behind():
    """Processes whose program is ours: {pid: command line}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/exe").startswith(FOLDER):
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    found[int(pid)] = f.read()
        except OSError:
            continue
    return found
