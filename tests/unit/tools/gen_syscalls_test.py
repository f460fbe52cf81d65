# SPDX-License-Identifier: Apache-2.0
"""The system call generator: what it reads, what it refuses, what it writes."""

import os
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import gen_syscalls as gen  # noqa: E402


def parse(text):
    with tempfile.NamedTemporaryFile("w", suffix=".tbl") as f:
        f.write(text)
        f.flush()
        return gen.parse_table(f.name)


class TableTest(unittest.TestCase):
    def test_a_line_gives_a_call(self):
        (call,) = parse("0 63 read(fd fd, buf_out(count) buf, size count) -> size rw.c full -\n")
        self.assertEqual((call.nr, call.name, call.file, call.support), (0, "read", "rw.c", "full"))
        self.assertEqual(call.args[1], gen.Arg("buf_out", "count", "buf"))
        self.assertEqual(call.classes, ["desc"])

    def test_bad_lines_are_refused(self):
        for line in ("0 63 read(fd fd -> size rw.c full -",
                     "0 63 read(nokind fd) -> size rw.c full -",
                     "0 63 read(buf_out(n) buf) -> size rw.c full -",
                     "0 63 read(flags f) -> size rw.c full -",
                     "0 63 read() -> size rw.c none -  why",
                     "0 63 read() -> size rw.c none=ENOSYS -",
                     "0 63 read() -> size rw.c full=ENOSYS -",
                     "0 63 read() -> size rw.c full shoes"):
            with self.assertRaises(gen.TableError, msg=line):
                parse(line + "\n")

    def test_numbers_must_grow(self):
        with self.assertRaises(gen.TableError):
            parse("1 1 a() -> int rw.c full -\n0 0 b() -> int rw.c full -\n")

    def test_registers_are_truncated_to_the_type(self):
        calls = parse("133 33 mknod(path name, umode mode, dev dev) -> int path.c full -\n")
        self.assertIn("sys_mknod(t, regs_arg(r, 0), (u16)regs_arg(r, 1), "
                      "(unsigned int)regs_arg(r, 2))", gen.write_source(calls))

    def test_an_unsupported_call_has_an_error_and_no_handler(self):
        calls = parse("7 7 old() -> int misc.c none=EPERM - because\n")
        self.assertNotIn("sys_old", gen.write_header(calls) + gen.write_source(calls))
        self.assertIn(".err = EPERM", gen.write_source(calls))
        self.assertIn("| 7 | old | EPERM | because |", gen.write_compat(calls))

    def test_coverage_counts_names_and_comments(self):
        calls = parse("0 0 a() -> int rw.c full -\n1 1 b() -> int rw.c full -\n"
                      "2 2 c() -> int rw.c full -\n3 3 d() -> int rw.c none=ENOSYS - x\n")
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "a.c"), "w", encoding="utf-8") as f:
                f.write("/* covers: b */\n")
            self.assertEqual(gen.uncovered(calls, folder), ["c"])

    def test_the_real_table_is_complete(self):
        calls = gen.parse_table(os.path.join(ROOT, "sentry/syscalls/syscalls.tbl"))
        numbers = {c.nr for c in calls}
        self.assertTrue(set(range(335)) | set(range(424, 463)) <= numbers)


if __name__ == "__main__":
    unittest.main()
