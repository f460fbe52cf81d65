# SPDX-License-Identifier: Apache-2.0
"""Nothing is left behind, whatever is killed when; signals to the launcher reach the guest."""

import os
import random
import signal
import subprocess
import time
import unittest

import cli
import tap


def start(*args, **kwargs):
    return subprocess.Popen([cli.PROGRAM, "do", *args], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
                            preexec_fn=cli.become_user, **kwargs)


def wait_until_gone(seconds=5):
    end = time.monotonic() + seconds
    while cli.left_behind() and time.monotonic() < end:
        time.sleep(0.01)
    return cli.left_behind()


def mounts():
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return f.read()


class Killed(unittest.TestCase):
    def test_launcher_killed_at_any_moment(self):
        before = mounts()
        rng = random.Random(1)
        for _ in range(100):
            p = start("sh", "-c", "sleep 100 & sleep 100")
            time.sleep(rng.uniform(0, 0.12))
            p.kill()
            p.communicate()
        self.assertEqual(wait_until_gone(), {})
        self.assertEqual(mounts(), before)

    def test_any_process_killed(self):
        rng = random.Random(2)
        for _ in range(50):
            p = start("sh", "-c", "sleep 100 & sleep 100")
            time.sleep(rng.uniform(0.02, 0.15))
            found = sorted(cli.left_behind())
            if found:
                try:
                    os.kill(rng.choice(found), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
            p.kill()
            p.communicate()
        self.assertEqual(wait_until_gone(), {})

    def test_a_killed_sentry_is_reported(self):
        p = start("sleep", "100")
        time.sleep(0.3)
        sentries = [pid for pid, line in cli.left_behind().items()
                    if b"sentry" in line and pid != p.pid]
        self.assertTrue(sentries)
        os.kill(min(sentries), signal.SIGKILL)
        _, err = p.communicate(timeout=10)
        self.assertEqual(p.returncode, 125)
        self.assertIn("killed by signal 9", err)


class Signals(unittest.TestCase):
    def expect_trap(self, sig, name):
        p = start("sh", "-c", f"trap 'echo got; exit 7' {name}; echo ready; while :; do sleep 0.1; done")
        self.assertEqual(p.stdout.readline(), "ready\n")
        p.send_signal(sig)
        out, _ = p.communicate(timeout=10)
        self.assertEqual((out, p.returncode), ("got\n", 7))

    def test_forwarded_signals(self):
        for sig, name in ((signal.SIGTERM, "TERM"), (signal.SIGINT, "INT"), (signal.SIGHUP, "HUP"),
                          (signal.SIGUSR1, "USR1"), (signal.SIGUSR2, "USR2"),
                          (signal.SIGQUIT, "QUIT")):
            self.expect_trap(sig, name)

    def test_a_signal_that_ends_the_guest(self):
        p = start("sleep", "100")
        time.sleep(0.3)
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=10)
        self.assertEqual(p.returncode, 128 + 15)

    def test_ignored_signals_stay_ignored(self):
        script = f"trap '' HUP; exec {cli.PROGRAM} do sh -c 'echo ready; sleep 0.5; echo alive'"
        p = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, cwd="/",
                             preexec_fn=cli.become_user)
        self.assertEqual(p.stdout.readline(), "ready\n")
        p.send_signal(signal.SIGHUP)
        out, _ = p.communicate(timeout=10)
        self.assertEqual((out, p.returncode), ("alive\n", 0))


if __name__ == "__main__":
    tap.main()
