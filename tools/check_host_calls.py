#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compare base/host_calls.tbl with the code: every call in base/host*.c has a row and every row is
made somewhere, the stub's rows agree with its filter, nobody else makes host calls by hand.

With --used FILE (lines "host call NUMBER", as host_calls_dump_used writes them, or a log with such
lines) also: every listed call of the sentry was made by that run."""

import argparse
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gen_host_calls

STUB_FILTER = "platform/stubproc/filter.c"
# exit.c probes what the instruction itself does; lockdown*.c run once, before the filter.
MAY_HAVE_SYSCALL = re.compile(r"base/host\w*\.[ch]|platform/stub/|sentry/loader/vdso/|tests/|platform/ptrace/exit\.c|sentry/lockdown")


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def strip_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)


def host_functions(root):
    """{function name: set of calls} for all host_* functions in base/host*.c; helpers too."""
    functions = {}
    for path in sorted(glob.glob(os.path.join(root, "base/host*.c"))):
        text = strip_comments(read(root, os.path.relpath(path, root)))
        for m in re.finditer(r"^[a-z][\w \*]*?\b(\w+)\([^;{}]*\)\n\{(.*?)^\}", text, re.S | re.M):
            calls = set(re.findall(r"\bSYS_(\w+)", m[2]))
            if re.search(r"\bclone\(", m[2]):
                calls.add("clone")
            functions[m[1]] = (calls, m[2])
    return functions


def declared_functions(root):
    names = set()
    for path in glob.glob(os.path.join(root, "base/host*.h")):
        if os.path.basename(path) in ("host_filter.h", "host_priv.h"):
            continue
        text = strip_comments(read(root, os.path.relpath(path, root)))
        names |= set(re.findall(r"^[a-z][\w \*]*?\b(host_\w+)\(", text, re.M))
    return names


def check_host(root, rows, problems):
    functions = host_functions(root)
    made = set().union(*(calls for calls, _ in functions.values()))
    listed = {r.call for r in rows if r.who & {"sentry", "boot"}}
    ours = {r.call for r in rows if r.who & {"sentry", "boot"} and "libc" not in r.who}
    for call in sorted(made - listed):
        problems.append(f"base/host*.c makes {call}, which has no row")
    for call in sorted(ours - made):
        problems.append(f"the row of {call}: no function in base/host*.c makes it")
    for name in sorted(declared_functions(root)):
        if name not in functions:
            problems.append(f"{name} is declared but base/host*.c does not define it")


def check_stub(root, rows, problems):
    path = os.path.join(root, STUB_FILTER)
    if not os.path.exists(path):
        return
    text = strip_comments(read(root, STUB_FILTER))
    allowed = set(re.findall(r"\b(?:open_rule|rule_range)\(p, SYS_(\w+)\)", text))
    allowed |= set(re.findall(r"\brule_plain\(p, SYS_(\w+), SECCOMP_RET_ALLOW\)", text))
    listed = {r.call for r in rows if "stub" in r.who}
    for call in sorted(allowed ^ listed):
        where = STUB_FILTER if call in allowed else "the table"
        problems.append(f"stub call {call} is only in {where}")


def check_instructions(root, problems):
    """A system call instruction or libc's syscall() outside of base/host*."""
    for folder in ("base", "abi", "platform", "vfs", "netstack", "sentry"):
        for path in glob.glob(os.path.join(root, folder, "**/*.[chS]"), recursive=True):
            name = os.path.relpath(path, root)
            if MAY_HAVE_SYSCALL.match(name):
                continue
            text = strip_comments(read(root, name))
            if re.search(r"\bsyscall\((SYS|__NR)_|\basm\b[^;]*\"\s*syscall|__asm__[^;]*\"\s*syscall", text):
                problems.append(f"{name}: a system call by hand; use base/host.h")


def check_used(rows, used_path, problems):
    numbers = {}
    header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
    with open(header, encoding="utf-8") as f:
        for m in re.finditer(r"#define __NR_(\w+) (\d+)", f.read()):
            numbers[m[1]] = int(m[2])
    with open(used_path, encoding="utf-8", errors="replace") as f:
        used = {int(n) for n in re.findall(r"host call (\d+)", f.read())}
    for row in rows:
        if "sentry" in row.who and "libc" not in row.who and numbers[row.call] not in used:
            problems.append(f"line {row.line}: {row.call} is listed but was never made")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", default=".")
    parser.add_argument("--used")
    options = parser.parse_args()
    problems = []
    try:
        rows = gen_host_calls.read_table(os.path.join(options.root, "base/host_calls.tbl"))
        gen_host_calls.check_rows(rows)
    except gen_host_calls.TableError as e:
        sys.exit(f"base/host_calls.tbl: {e}")
    check_host(options.root, rows, problems)
    check_stub(options.root, rows, problems)
    check_instructions(options.root, problems)
    if options.used:
        check_used(rows, options.used, problems)
    print("\n".join(problems) if problems else "host calls: table and code agree")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
