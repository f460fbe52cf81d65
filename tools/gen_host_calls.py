#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From base/host_calls.tbl: the rules of the sentry's filter as C (--rules FILE) and the table in
docs/SECURITY.md between its markers (--doc FILE [--check]). The format is told in the table's head.

Comparisons are made so that no bit of a 64-bit register is left out where the kernel might look at
it: there is no "not equal", since garbage in the upper half would pass it."""

import argparse
import itertools
import re
import sys

WHO = {"sentry", "boot", "stub", "libc"}
BEGIN = "<!-- begin: made from base/host_calls.tbl by tools/gen_host_calls.py -->"
END = "<!-- end: made from base/host_calls.tbl -->"
TITLES = (("sentry", "The sentry after lock-down"), ("boot", "The sentry and the zygote before it"),
          ("stub", "Stub processes"))
VALUE = re.compile(r"[A-Za-z0-9_]+(\+[A-Za-z0-9_]+)*")


class TableError(Exception):
    pass


class Row:
    """One line of the table: .call, .who (a set), .args (the column), .why, .line."""

    def __init__(self, text, line):
        self.line = line
        cells = [c.strip() for c in text.split("|")]
        if len(cells) != 4:
            raise TableError(f"line {line}: {len(cells)} columns instead of 4")
        self.call, who, self.args, self.why = cells
        self.who = set(re.split(r"[ ,]+", who))
        if not re.fullmatch(r"[a-z0-9_]+", self.call):
            raise TableError(f"line {line}: no call name: {self.call}")
        if not self.who <= WHO or not self.who - {"libc"}:
            raise TableError(f"line {line}: who is {who}?")
        if len(self.why) < 3:
            raise TableError(f"line {line}: say why")
        if "stub" not in self.who:
            self.rules()

    def rules(self):
        """The rows as (errno name or None, [(argument, operator, value a, value b)...]) each."""
        if self.args == "-":
            return [(None, [])]
        m = re.fullmatch(r"errno (E[A-Z0-9]+)", self.args)
        if m:
            return [(m[1], [])]
        choices = [self.condition(c.strip()) for c in self.args.split("&")]
        result = [(None, list(combination)) for combination in itertools.product(*choices)]
        for _, conditions in result:
            if len({c[0] for c in conditions}) != len(conditions):
                raise TableError(f"line {self.line}: an argument may be compared once in a row")
        return result

    def condition(self, text):
        """The ways to satisfy one condition, as a list of comparisons."""
        m = re.fullmatch(r"arg([0-5]) (==|in|only|has|<=) (.+)", text)
        if not m:
            raise TableError(f"line {self.line}: not understood: {text}")
        arg, op, value = int(m[1]), m[2], m[3]
        values = [v.strip() for v in value.split(",")] if op == "in" else [value.strip()]
        for v in values:
            if not VALUE.fullmatch(v):
                raise TableError(f"line {self.line}: not a constant: {v}")
        value, values = value.replace("+", " | "), [v.replace("+", " | ") for v in values]
        if op == "only":
            return [(arg, "SCMP_CMP_MASKED_EQ", f"~(u64)({value})", "0")]
        if op == "has":
            return [(arg, "SCMP_CMP_MASKED_EQ", f"(u64)({value})", f"(u64)({value})")]
        if op == "<=":
            return [(arg, "SCMP_CMP_LE", f"(u64)({value})", "0")]
        return [(arg, "SCMP_CMP_EQ", f"(u64)({v})", "0") for v in values]


def read_table(path):
    rows = []
    with open(path, encoding="utf-8") as f:
        for line, text in enumerate(f, 1):
            text = text.strip()
            if text and not text.startswith("#"):
                rows.append(Row(text, line))
    return rows


def check_rows(rows):
    """What cannot be seen in one row: a row without conditions makes others of its call pointless,
    and libseccomp would silently drop them."""
    seen = {}
    for row in rows:
        if "sentry" not in row.who:
            continue
        actions = seen.setdefault(row.call, [])
        if actions and (row.args == "-" or any(r.args == "-" or r.args.startswith("errno") for r in actions)):
            raise TableError(f"line {row.line}: {row.call} has a row without conditions: one is enough")
        actions.append(row)


def c_rules(rows):
    out = ["/* Made from base/host_calls.tbl by tools/gen_host_calls.py. */",
           "static const struct host_rule sentry_rules[] = {"]
    for row in rows:
        if "sentry" not in row.who:
            continue
        for errno_name, conditions in row.rules():
            args = ", ".join("{%d, %s, %s, %s}" % c for c in conditions)
            out.append("    {SYS_%s, %s, %d, {%s}}," %
                       (row.call, errno_name or "0", len(conditions), args or "{0}"))
    out.append("};")
    return "\n".join(out) + "\n"


def markdown(rows):
    out = [BEGIN]
    for who, title in TITLES:
        out += ["", f"**{title}**", "", "| call | arguments | why |", "| --- | --- | --- |"]
        for row in rows:
            if who not in row.who:
                continue
            args = "any" if row.args == "-" else row.args
            why = row.why + (" (by libc)" if "libc" in row.who else "")
            out.append(f"| {row.call} | {args} | {why} |")
    out += ["", END]
    return "\n".join(out)


def update_doc(path, section, check):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if BEGIN not in text or END not in text:
        raise TableError(f"{path}: the markers are missing")
    new = text[:text.index(BEGIN)] + section + text[text.index(END) + len(END):]
    if new == text:
        return
    if check:
        raise TableError(f"{path} is stale: run ./dev format")
    with open(path, "w", encoding="utf-8") as f:
        f.write(new)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("--rules")
    parser.add_argument("--doc")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    try:
        rows = read_table(options.table)
        check_rows(rows)
        if options.rules:
            with open(options.rules, "w", encoding="utf-8") as f:
                f.write(c_rules(rows))
        if options.doc:
            update_doc(options.doc, markdown(rows), options.check)
    except TableError as e:
        sys.exit(f"{options.table}: {e}")


if __name__ == "__main__":
    main()
