# SPDX-License-Identifier: Apache-2.0
"""The host call table: what a row may say, what is refused, what becomes of it."""

import os
import sys
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools"))
import gen_host_calls as gen  # noqa: E402


def rules(args):
    return gen.Row(f"read | sentry | {args} | because", 1).rules()


class RowTest(unittest.TestCase):
    def test_conditions_become_comparisons(self):
        self.assertEqual(rules("-"), [(None, [])])
        self.assertEqual(rules("errno ENOSYS"), [("ENOSYS", [])])
        self.assertEqual(rules("arg1 == A+B"), [(None, [(1, "SCMP_CMP_EQ", "(u64)(A | B)", "0")])])
        self.assertEqual(rules("arg2 only A"), [(None, [(2, "SCMP_CMP_MASKED_EQ", "~(u64)(A)", "0")])])
        self.assertEqual(rules("arg2 has A"),
                         [(None, [(2, "SCMP_CMP_MASKED_EQ", "(u64)(A)", "(u64)(A)")])])

    def test_choices_multiply(self):
        self.assertEqual(len(rules("arg0 in A, B & arg1 in 1, 2, 3 & arg5 <= 7")), 6)

    def test_what_a_filter_cannot_promise_is_refused(self):
        for args in ("arg0 != 1", "arg6 == 1", "arg0 == f(x)", "arg0 == 1 & arg0 <= 2", "0 == arg0"):
            with self.assertRaises(gen.TableError, msg=args):
                rules(args)

    def test_bad_rows_are_refused(self):
        for row in ("read | sentry | -", "read | libc | - | why", "read | guest | - | why",
                    "read me | sentry | - | why", "read | sentry | - | "):
            with self.assertRaises(gen.TableError, msg=row):
                gen.Row(row, 1)

    def test_rows_of_stubs_are_words(self):
        self.assertNotIn("SYS_mmap", gen.c_rules([gen.Row("mmap | stub | below the stub | why", 1)]))


class TableTest(unittest.TestCase):
    def test_a_row_that_another_swallows_is_refused(self):
        rows = [gen.Row("read | sentry | arg0 == 1 | why", 1), gen.Row("read | sentry | - | why", 2)]
        for order in (rows, rows[::-1]):
            with self.assertRaises(gen.TableError):
                gen.check_rows(order)

    def test_boot_rows_are_documented_but_not_compiled(self):
        rows = [gen.Row("read | boot | - | the why", 1)]
        self.assertNotIn("SYS_read", gen.c_rules(rows))
        self.assertIn("| read | any | the why |", gen.markdown(rows))

    def test_the_real_table_is_well_formed(self):
        rows = gen.read_table(os.path.join(ROOT, "base/host_calls.tbl"))
        gen.check_rows(rows)
        self.assertIn("SYS_futex", gen.c_rules(rows))


if __name__ == "__main__":
    unittest.main()
