# SPDX-License-Identifier: Apache-2.0
"""The command line: help, options, what each does, and what is said about wrong ones."""

import json
import os
import re
import struct
import subprocess
import unittest

import cli
import tap
from cli import do, pavise

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def options():
    return set(re.findall(r"^  --([a-z-]+)", pavise("help", "do").stdout, re.M)) - {"help"}


def read(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as f:
        return f.read()


class Help(unittest.TestCase):
    def test_version(self):
        r = pavise("version")
        self.assertRegex(r.stdout, r"^pavise \d+\.\d+")
        self.assertEqual(r.returncode, 0)

    def test_help_lists_commands(self):
        r = pavise("help")
        self.assertIn("  do ", r.stdout)
        self.assertNotIn("sentry", r.stdout.split("Commands")[0].split("\n\n", 2)[-1])
        self.assertEqual(r.returncode, 0)

    def test_no_command_at_all_is_an_error(self):
        self.assertEqual(pavise().returncode, 125)

    def test_manual_and_completion_know_every_option(self):
        manual = read("runtime", "pavise.1").replace("\\-", "-")
        completion = read("runtime", "pavise.bash")
        for name in options():
            self.assertIn("--" + name, manual)
            self.assertIn("--" + name, completion)


class Wrong(unittest.TestCase):
    """One clear line, and the status that env(1) would give."""

    def expect(self, result, status, *words):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertTrue(result.stderr.startswith("pavise: "), result.stderr)
        for w in words:
            self.assertIn(w, result.stderr)

    def test_unknown_command(self):
        self.expect(pavise("frobnicate"), 125, "frobnicate")

    def test_unknown_option(self):
        self.expect(do("--frobnicate", "true"), 125, "--frobnicate")

    def test_option_without_its_argument(self):
        self.expect(do("--memory"), 125, "--memory")

    def test_no_command_to_run(self):
        self.expect(do(), 125)
        self.expect(do("--json", "--"), 125)

    def test_values_that_make_no_sense(self):
        for option, value in (("--memory", "lots"), ("--memory", "0"), ("--memory", "-1"),
                              ("--cpus", "0"), ("--cpus", "x"), ("--pids", "-3"),
                              ("--timeout", "soon"), ("--user", "root"), ("--user", "1:2:3"),
                              ("--cwd", "relative"), ("--env", "=x"), ("--hostname", ""),
                              ("--hostname", "x" * 65), ("--pass-fd", "99"), ("--pass-fd", "x"),
                              ("--sched", "7"), ("--strace=everything", None),
                              ("--log", "nowhere:debug"), ("--platform", "toaster")):
            args = [option] if value is None else [option, value]
            self.expect(do(*args, "true"), 125)

    def test_trees_that_are_not_there(self):
        for option in ("--root", "--rw", "--ro"):
            self.expect(do(option, "/no/such/dir", "true"), 125, "/no/such/dir", "No such file")

    def test_the_sentry_is_not_for_hands(self):
        self.expect(pavise("sentry"), 125)

    def test_a_program_that_is_not_there(self):
        self.expect(do("no-such-program"), 127, "no-such-program")
        self.expect(do("/no/such/program"), 127, "/no/such/program")

    def test_a_program_that_may_not_be_run(self):
        self.expect(do("/etc/passwd"), 126, "/etc/passwd", "Permission denied")
        self.expect(do("/etc"), 126, "/etc")

    def test_a_program_for_another_machine(self):
        path = os.path.join(cli.folder(), "alien")
        header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 183, 1) + bytes(40)
        with open(path, "wb") as f:
            f.write(header)
        os.chmod(path, 0o755)
        self.expect(do(path), 126, "alien")


class Status(unittest.TestCase):
    def test_exit_status_is_the_commands(self):
        for status in (0, 1, 2, 42, 125, 255):
            self.assertEqual(do("sh", "-c", f"exit {status}").returncode, status)

    def test_128_and_the_signal(self):
        for sig in (1, 6, 9, 11, 15):
            self.assertEqual(do("sh", "-c", f"kill -{sig} $$").returncode, 128 + sig)

    def test_time_is_up(self):
        r = do("--timeout", "300ms", "sleep", "20", timeout=10)
        self.assertEqual(r.returncode, 124)
        self.assertEqual(cli.left_behind(), {})

    def test_json(self):
        r = do("--json", "sh", "-c", "exit 3")
        out = json.loads(r.stderr.splitlines()[-1])
        self.assertEqual((out["outcome"], out["exit_code"]), ("exited", 3))
        self.assertGreater(out["system_calls"], 10)
        self.assertGreater(out["wall_seconds"], 0)
        r = do("--json", "sh", "-c", "kill -9 $$")
        out = json.loads(r.stderr.splitlines()[-1])
        self.assertEqual((out["outcome"], out["signal"]), ("signaled", 9))

    def test_unsupported_calls_are_listed(self):
        r = do("--unsupported", "python3", "-c", "import ctypes; ctypes.CDLL(None).syscall(180)")
        self.assertRegex(r.stderr, r"1  nfsservctl \(180\)")


class Arguments(unittest.TestCase):
    def test_arguments_arrive_as_they_are(self):
        args = ["", " ", "-x", "--json", "a b", "\n", "\\", "ü", "x" * 100000]
        r = do("--", "python3", "-c", "import sys; print(repr(sys.argv[1:]))", *args)
        self.assertEqual(r.stdout.strip(), repr(args))

    def test_environment(self):
        env = {"PATH": os.environ["PATH"], "FROM_HOST": "1", "OTHER": "2"}
        r = do("--env", "A=b=c", "--env", "OTHER=3", "env", env=env)
        self.assertEqual(set(r.stdout.split()) & {"FROM_HOST=1", "A=b=c", "OTHER=3"},
                         {"FROM_HOST=1", "A=b=c", "OTHER=3"})
        r = do("--clear-env", "--env", "FROM_HOST", "/usr/bin/env", env=env)
        self.assertEqual(r.stdout, "FROM_HOST=1\n")

    def test_directory(self):
        self.assertEqual(do("pwd", cwd="/usr/lib").stdout, "/usr/lib\n")
        self.assertEqual(do("--cwd", "/usr/bin", "pwd").stdout, "/usr/bin\n")
        self.assertEqual(do("--cwd", "/not/there", "/bin/pwd").stdout, "/\n")

    def test_host_name(self):
        self.assertEqual(do("--hostname", "box", "uname", "-n").stdout, "box\n")

    def test_user(self):
        r = do("sh", "-c", "id -u; id -g")
        self.assertEqual(r.stdout.split()[0], str(cli.USER))
        r = do("--user", "12:34", "sh", "-c", "id -u; id -g; id -G")
        self.assertEqual(r.stdout.split(), ["12", "34", "34"])

    def test_cpus(self):
        self.assertEqual(do("--cpus", "1", "nproc").stdout, "1\n")


class Files(unittest.TestCase):
    def test_what_is_written_does_not_stay(self):
        path = cli.folder()
        r = do("sh", "-c", f"echo x > {path}/new && cat {path}/new")
        self.assertEqual(r.stdout, "x\n", r.stderr)
        self.assertEqual(os.listdir(path), [])

    def test_rw_stays(self):
        path = cli.folder()
        r = do("--rw", path, "sh", "-c", f"echo x > {path}/new")
        self.assertEqual(r.stderr, "")
        with open(os.path.join(path, "new"), encoding="ascii") as f:
            self.assertEqual(f.read(), "x\n")
        self.assertEqual(os.stat(os.path.join(path, "new")).st_uid, cli.USER)

    def test_rw_elsewhere(self):
        path = cli.folder()
        do("--rw", path + ":/mnt/shared", "sh", "-c", "echo x > /mnt/shared/new")
        self.assertEqual(os.listdir(path), ["new"])

    def test_ro_is_read_only(self):
        path = cli.folder()
        r = do("--ro", path, "sh", "-c", f"echo x > {path}/new")
        self.assertIn("Read-only file system", r.stderr)
        self.assertEqual(os.listdir(path), [])

    def test_tmpfs_hides_what_is_below(self):
        r = do("--tmpfs", "/usr/share", "ls", "-A", "/usr/share")
        self.assertEqual((r.stdout, r.returncode), ("", 0))

    def test_another_root(self):
        root = cli.folder()
        os.mkdir(os.path.join(root, "bin"))
        subprocess.run(["cp", "/bin/busybox", os.path.join(root, "bin/sh")], check=True)
        with open(os.path.join(root, "marker"), "w", encoding="ascii") as f:
            f.write("here\n")
        r = do("--root", root, "/bin/sh", "-c", "read x < /marker; echo $x; cd /; echo *")
        self.assertIn("here\n", r.stdout)
        self.assertNotIn("usr", r.stdout)

    def test_the_hosts_kernel_files_are_not_there(self):
        r = do("sh", "-c", "cat /proc/1/comm; ls /proc")
        self.assertNotIn(str(os.getpid()), r.stdout.split())


class Streams(unittest.TestCase):
    def test_standard_input_and_output(self):
        text = "line\n" * 100000
        self.assertEqual(do("cat", input=text).stdout, text)

    def test_standard_error_is_separate(self):
        r = do("sh", "-c", "echo out; echo err >&2")
        self.assertEqual((r.stdout, r.stderr), ("out\n", "err\n"))

    def test_end_of_input(self):
        self.assertEqual(do("wc", "-c").stdout.strip(), "0")

    def test_closed_streams_stay_closed(self):
        script = f"exec {cli.PROGRAM} do sh -c 'ls -l /proc/self/fd' <&-"
        r = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False,
                           timeout=cli.TIMEOUT, preexec_fn=cli.become_user, cwd="/")
        self.assertNotIn("/dev/null", r.stdout)
        self.assertEqual(r.returncode, 0, r.stderr)

    def test_a_reader_that_goes_away(self):
        script = f"{cli.PROGRAM} do yes | head -n 1; echo ${{PIPESTATUS[0]}}"
        r = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False,
                           timeout=cli.TIMEOUT, preexec_fn=cli.become_user, cwd="/")
        self.assertEqual(r.stdout, "y\n141\n")

    def test_other_descriptors_only_when_asked_for(self):
        rd, wr = os.pipe()
        os.write(wr, b"secret\n")
        os.close(wr)
        cat = f"cat <&{rd}"
        r = do("bash", "-c", cat, pass_fds=[rd])
        self.assertNotIn("secret", r.stdout)
        r = do("--pass-fd", str(rd), "bash", "-c", cat, pass_fds=[rd])
        self.assertEqual(r.stdout, "secret\n")
        os.close(rd)


if __name__ == "__main__":
    tap.main()
