# SPDX-License-Identifier: Apache-2.0
"""Run unittest cases and write TAP, so that meson counts each case for itself. A script ends with
`tap.main()`; arguments are names of cases to run (parts of them will do)."""

import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.count = 0
        self.bad = 0

    def line(self, ok, test, suffix=""):
        self.count += 1
        self.bad += not ok
        name = test.id().split(".", 1)[-1]
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name}{suffix}", flush=True)

    def addSuccess(self, test):
        self.line(True, test)

    def addSkip(self, test, reason):
        self.line(True, test, f" # SKIP {reason}")

    def addFailure(self, test, err):
        self.line(False, test)
        for row in "".join(traceback.format_exception(*err)).splitlines():
            print("# " + row, flush=True)

    addError = addFailure


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    cases = [t for group in suite for t in group]
    wanted = sys.argv[1:]
    if wanted:
        cases = [t for t in cases if any(w in t.id() for w in wanted)]
    print(f"1..{len(cases)}", flush=True)
    result = TapResult()
    unittest.TestSuite(cases).run(result)
    sys.exit(1 if result.bad else 0)
