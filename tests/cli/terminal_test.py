# SPDX-License-Identifier: Apache-2.0
"""The terminal is the guest's: keys, size, job control, as without the sandbox. Each script first
runs natively, so that the expectation itself is tested."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
import unittest

import cli
import tap

NATIVE = ""
SANDBOX = cli.PROGRAM + " do "


class Terminal:
    """A shell with job control on a new pty."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            cli.become_user()
            os.chdir("/")
            os.environ.update(PS1="ready> ", TERM="dumb", HISTFILE="")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
        self.text = ""
        self.expect("ready> ")

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=20):
        """Read until `pattern` comes; what came before it and the match."""
        end = time.monotonic() + seconds
        while not (m := re.search(pattern, self.text)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} in {self.text!r}")
            self.text += os.read(self.fd, 4096).decode(errors="replace")
        before, self.text = self.text[:m.end()], self.text[m.end():]
        return before

    def run(self, line):
        """A whole command line; its output."""
        self.send(line + "; echo status=$?\n")
        return self.expect(r"status=\d+\r?\n")

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def close(self):
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Tty(unittest.TestCase):
    def both(self, check):
        for prefix in (NATIVE, SANDBOX):
            t = Terminal()
            try:
                check(t, prefix)
            except AssertionError as e:
                raise AssertionError(f"{'native' if prefix == NATIVE else 'sandbox'}: {e}") from e
            finally:
                t.close()

    def test_it_is_a_terminal(self):
        def check(t, prefix):
            out = t.run(prefix + "sh -c 'test -t 0 && test -t 1 && echo y''es'")
            self.assertIn("yes", out)
        self.both(check)

    def test_size(self):
        def check(t, prefix):
            t.resize(33, 101)
            self.assertIn("33 101", t.run(prefix + "stty size"))
        self.both(check)

    def test_change_of_size_is_signalled(self):
        def check(t, prefix):
            t.send(prefix + "bash -c 'trap \"stty size\" WINCH; echo be''gin; "
                            "for i in $(seq 30); do sleep 0.1; done'\n")
            t.expect("begin")
            t.resize(44, 102)
            t.expect("44 102")
        self.both(check)

    def test_control_c_ends_it(self):
        def check(t, prefix):
            t.send(prefix + "sh -c 'echo be''gin; exec sleep 100'\n")
            t.expect("begin")
            time.sleep(0.2)
            t.send("\x03")
            t.expect("ready> ")
            self.assertIn("130", t.run("echo last=$?"))
        self.both(check)

    def test_control_c_can_be_caught(self):
        def check(t, prefix):
            t.send(prefix + "bash -c 'trap \"echo cau\"\"ght; exit 9\" INT; echo be''gin; "
                            "while :; do sleep 0.1; done'\n")
            t.expect("begin")
            time.sleep(0.2)
            t.send("\x03")
            t.expect("caught")
            t.expect("ready> ")
            self.assertIn("last=9", t.run("echo last=$?"))
        self.both(check)

    def test_control_z_stops_and_fg_goes_on(self):
        def check(t, prefix):
            t.send(prefix + "sh -c 'echo be''gin; sleep 1; echo e''nd'\n")
            t.expect("begin")
            time.sleep(0.2)
            t.send("\x1a")
            t.expect("Stopped")
            t.expect("ready> ")
            self.assertIn("Stopped", t.run("jobs"))
            t.send("fg\n")
            t.expect("end")
            t.expect("ready> ")
        self.both(check)

    def test_input_line_by_line(self):
        def check(t, prefix):
            t.send(prefix + "sh -c 'read x; echo \"<$x>\"'\n")
            time.sleep(0.3)
            t.send("hello\n")
            t.expect("<hello>")
        self.both(check)

    def test_control_d_is_end_of_input(self):
        def check(t, prefix):
            t.send(prefix + "wc -c\n")
            time.sleep(0.3)
            t.send("abc\n\x04")
            t.expect(r"\b4\r?\n")
        self.both(check)

    def test_raw_mode(self):
        def check(t, prefix):
            t.send(prefix + "bash -c 'stty raw -echo; echo be''gin; IFS= read -rn1 k; stty sane; "
                            "echo \"key=[$k]\"'\n")
            t.expect("begin")
            t.send("q")
            t.expect(r"key=\[q\]")
        self.both(check)


if __name__ == "__main__":
    tap.main()
