#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check that the paths our documents name exist: `word/word...` in backquotes whose first part is a
folder of ours. Planned things are named without backquotes or listed in docs/ROADMAP.md."""

import os
import re
import subprocess
import sys

FOLDERS = ("base", "abi", "platform", "vfs", "netstack", "sentry", "runtime", "tests", "bench",
           "docs", "tools")


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    docs = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.md"],
                          check=True, capture_output=True, text=True).stdout.split()
    problems = []
    for doc in docs:
        if os.path.basename(doc) in ("ROADMAP.md", "COMPAT.md"):
            continue
        with open(os.path.join(root, doc), encoding="utf-8") as f:
            text = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), f.read(), flags=re.M | re.S)
        for number, line in enumerate(text.splitlines(), 1):
            for path in re.findall(r"`((?:%s)/[\w./-]+)`" % "|".join(FOLDERS), line):
                if not os.path.exists(os.path.join(root, path)):
                    problems.append(f"{doc}:{number}: {path} does not exist")
    print("\n".join(problems) if problems else "all named paths exist")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
