#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Add up what meson wrote about its test runs (JUnit files) and end with one plain line:
`N passed, N failed, N skipped`. Exit 1 when a test failed or none ran."""

import os
import sys
import xml.etree.ElementTree as ET


def count(path):
    """(passed, failed, skipped) of one file; a file that is not there holds no tests."""
    passed = failed = skipped = 0
    if not os.path.exists(path):
        return 0, 0, 0
    for case in ET.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"FAILED {case.get('classname') or ''} {case.get('name')}")
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def main():
    totals = [sum(column) for column in zip(*(count(p) for p in sys.argv[1:]))] or [0, 0, 0]
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    sys.exit(1 if totals[1] or not totals[0] else 0)


if __name__ == "__main__":
    main()
