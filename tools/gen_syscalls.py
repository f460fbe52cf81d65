#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Read sentry/syscalls/syscalls.tbl and write everything that must agree about system calls.

  --out DIR        syscalls_gen.h (typed prototypes) and syscalls_gen.c (decode wrappers, the
                   dispatch table, descriptions for strace)
  --compat FILE    docs/COMPAT.md; with --check only compare, exit 1 when the file is stale
  --coverage DIR   print every supported call that no test in DIR covers, exit 1 if there is one
  --grammar FILE   one line a call for the fuzzer: number, name, argument kinds

The format of the table is described at its top. There is no other list of system calls.
"""

import argparse
import collections
import os
import re
import sys

# What an argument kind is in C. Registers are 64 bits wide; the cast truncates as Linux does.
KINDS = {
    "int": ("int", "INT"), "uint": ("unsigned int", "UINT"), "long": ("long", "LONG"),
    "ulong": ("unsigned long", "ULONG"), "hex": ("unsigned long", "HEX"),
    "hex32": ("unsigned int", "HEX"), "size": ("size_t", "ULONG"), "off": ("s64", "LONG"),
    "fd": ("int", "FD"), "dirfd": ("int", "DIRFD"), "pid": ("int", "INT"), "id": ("int", "INT"),
    "key": ("int", "HEX"), "sig": ("int", "SIG"), "uid": ("unsigned int", "UID"),
    "gid": ("unsigned int", "UID"), "mode": ("unsigned int", "MODE"),
    "umode": ("unsigned int", "MODE"), "dev": ("unsigned int", "HEX"),
    "uaddr": ("uaddr", "ADDR"), "path": ("uaddr", "STR"), "str": ("uaddr", "STR"),
    "path_out": ("uaddr", "STR_OUT"), "argv": ("uaddr", "ARGV"),
    "buf_in": ("uaddr", "BUF_IN"), "buf_out": ("uaddr", "BUF_OUT"),
    "iov_in": ("uaddr", "IOV_IN"), "iov_out": ("uaddr", "IOV_OUT"),
    "iov_addr": ("uaddr", "IOV_ADDR"), "flags": ("int", "XLAT"), "enum": ("int", "XLAT"),
    "uflags": ("unsigned int", "XLAT"), "uenum": ("unsigned int", "XLAT"),
    "lflags": ("unsigned long", "XLAT"), "lenum": ("unsigned long", "XLAT"),
    "struct_in": ("uaddr", "STRUCT_IN"), "struct_out": ("uaddr", "STRUCT_OUT"),
    "struct_inout": ("uaddr", "STRUCT_INOUT"), "int_out": ("uaddr", "INT_OUT"),
    "uint_out": ("uaddr", "UINT_OUT"), "int_inout": ("uaddr", "INT_INOUT"),
    "long_out": ("uaddr", "LONG_OUT"), "off_inout": ("uaddr", "OFF_INOUT"),
    "fd2_out": ("uaddr", "FD2_OUT"), "sigset_in": ("uaddr", "SIGSET_IN"),
    "sigset_out": ("uaddr", "SIGSET_OUT"), "fdset": ("uaddr", "FDSET"),
    "cpuset_in": ("uaddr", "BITS_IN"), "cpuset_out": ("uaddr", "BITS_OUT"),
    "pollfds": ("uaddr", "POLLFDS"), "epoll_events_out": ("uaddr", "EPOLL_EVENTS"),
    "sockaddr_in": ("uaddr", "SOCKADDR_IN"), "sockaddr_out": ("uaddr", "SOCKADDR_OUT"),
    "msghdr_in": ("uaddr", "MSGHDR_IN"), "msghdr_out": ("uaddr", "MSGHDR_OUT"),
}
XLAT_KINDS = {"flags", "enum", "uflags", "uenum", "lflags", "lenum"}
STRUCT_KINDS = {"struct_in", "struct_out", "struct_inout"}
RETURNS = {"int", "size", "off", "long", "uaddr", "fd", "pid", "void"}
CLASSES = ("file", "desc", "process", "memory", "signal", "network", "ipc", "time", "creds")
SUPPORT = ("full", "partial", "none")

Arg = collections.namedtuple("Arg", "kind ref name")
Call = collections.namedtuple("Call", "nr nr_arm64 name args ret file support err classes note")

LINE = re.compile(r"(\d+)\s+(\d+|-)\s+(\w+)\((.*?)\)\s*->\s*(\w+)\s+(\w+\.c)\s+"
                  r"(full|partial|none)(?:=([A-Z0-9]+))?\s+(\S+)\s*(.*)$")
ARG = re.compile(r"(\w+)(?:\((\w+)\))?\s+(\w+)$")


class TableError(Exception):
    """A line of the table that cannot be believed."""


def parse_args(text, where):
    args = []
    for piece in filter(None, (p.strip() for p in text.split(","))):
        m = ARG.match(piece)
        if not m or m[1] not in KINDS:
            raise TableError(f"{where}: bad argument '{piece}'")
        args.append(Arg(m[1], m[2], m[3]))
    names = [a.name for a in args]
    if len(args) > 6 or len(set(names)) != len(names):
        raise TableError(f"{where}: more than six arguments, or one name twice")
    for a in args:
        plain = a.kind in XLAT_KINDS or a.kind in STRUCT_KINDS
        if a.ref and not plain and a.ref not in names:
            raise TableError(f"{where}: '{a.name}' refers to '{a.ref}', which is no argument")
        if plain and not a.ref:
            raise TableError(f"{where}: '{a.name}' needs a name in parentheses")
    return args


def classes_of(args, word, where):
    got = set() if word == "-" else set(word.split(","))
    kinds = {a.kind for a in args}
    if kinds & {"path", "path_out"}:
        got.add("file")
    if kinds & {"fd", "dirfd"}:
        got.add("desc")
    if got - set(CLASSES):
        raise TableError(f"{where}: unknown class in '{word}'")
    return [c for c in CLASSES if c in got]


def parse_table(path):
    calls = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip()
            if not line or line.startswith("#"):
                continue
            where = f"{path}:{number}"
            m = LINE.match(line.strip())
            if not m or m[5] not in RETURNS:
                raise TableError(f"{where}: cannot read '{line}'")
            if m[7] == "none" and not m[8]:
                raise TableError(f"{where}: 'none' must say the error: none=ENOSYS")
            if m[7] != "none" and m[8]:
                raise TableError(f"{where}: only 'none' has an error")
            if m[7] != "full" and not m[10]:
                raise TableError(f"{where}: '{m[7]}' needs a note")
            args = parse_args(m[4], where)
            calls.append(Call(int(m[1]), m[2], m[3], args, m[5], m[6], m[7], m[8],
                              classes_of(args, m[9], where), m[10]))
    numbers = [c.nr for c in calls]
    if numbers != sorted(set(numbers)) or len({c.name for c in calls}) != len(calls):
        raise TableError(f"{path}: numbers must grow, names must be unique")
    return calls


BANNER = "/* Generated by tools/gen_syscalls.py from sentry/syscalls/syscalls.tbl: do not edit. */\n"


def prototype(c):
    args = "".join(f", {KINDS[a.kind][0]} {a.name}" for a in c.args)
    return f"long sys_{c.name}(struct task *t{args})"


def write_header(calls):
    out = [BANNER, "#ifndef PAVISE_SYSCALLS_GEN_H\n#define PAVISE_SYSCALLS_GEN_H\n\n"
           '#include "base/base.h"\n\nstruct task;\n\n'
           f"#define SYSCALL_TABLE_SIZE {calls[-1].nr + 1}\n\n"]
    structs = sorted({a.ref for c in calls for a in c.args if a.kind in STRUCT_KINDS})
    out.append("enum strace_struct {\n    STRACE_NO_STRUCT,\n")
    out += [f"    STRACE_{s.upper()},\n" for s in structs]
    out.append("    STRACE_NR_STRUCTS\n};\n\n")
    out += [prototype(c) + ";\n" for c in calls if c.support != "none"]
    return "".join(out) + "\n#endif\n"


def decode(arg, i):
    reg = f"regs_arg(r, {i})"
    if arg.kind == "umode":
        return f"(u16){reg}"
    ctype = KINDS[arg.kind][0]
    return reg if ctype == "uaddr" else f"({ctype}){reg}"


def describe(c):
    """The initialiser of a call's argument descriptions."""
    rows = []
    for a in c.args:
        fields = [f".kind = ARG_{KINDS[a.kind][1]}"]
        if a.kind in XLAT_KINDS:
            fields.append(f".xlat = &xlat_{a.ref}")
        elif a.kind in STRUCT_KINDS:
            fields.append(f".type = STRACE_{a.ref.upper()}")
        elif a.ref:
            fields.append(f".ref = {[b.name for b in c.args].index(a.ref)}")
        if KINDS[a.kind][0] in ("int", "unsigned int"):
            fields.append(".is_32 = true")
        rows.append("{" + ", ".join(fields) + "}")
    return "{" + ", ".join(rows) + "}"


def write_source(calls):
    out = [BANNER, '#include "sentry/syscalls_gen.h"\n\n#include "platform/regs.h"\n'
           '#include "sentry/syscalls/desc.h"\n#include "abi/xlat_gen.h"\n\n#include <errno.h>\n\n']
    for c in calls:
        if c.support == "none":
            continue
        args = "".join(f", {decode(a, i)}" for i, a in enumerate(c.args))
        out.append(f"static long call_{c.name}(struct task *t, const struct regs *r unused_arg)\n"
                   f"{{\n    return sys_{c.name}(t{args});\n}}\n\n")
    out.append("const struct syscall_desc syscall_table[SYSCALL_TABLE_SIZE] = {\n")
    for c in calls:
        fields = [f'.name = "{c.name}"', f".support = SUPPORT_{c.support.upper()}",
                  f".ret = RET_{c.ret.upper()}", f".nr_args = {len(c.args)}"]
        if c.support == "none":
            fields.append(f".err = {c.err}")
        else:
            fields.append(f".call = call_{c.name}")
        if c.classes:
            fields.append(".classes = " + " | ".join(f"CLASS_{k.upper()}" for k in c.classes))
        if c.args:
            fields.append(f".args = {describe(c)}")
        out.append(f"    [{c.nr}] = {{{', '.join(fields)}}},\n")
    return "".join(out) + "};\n"


def write_compat(calls):
    count = collections.Counter(c.support for c in calls)
    out = ["# System calls\n\n<!-- Generated by tools/gen_syscalls.py from "
           "sentry/syscalls/syscalls.tbl: do not edit. -->\n\n",
           f"Of {len(calls)} system calls of Linux on x86-64, {count['full']} are supported, "
           f"{count['partial']} in part, {count['none']} not. A call that is not supported returns "
           "what Linux\nreturns when it is built or configured without the feature; `pavise do "
           "--unsupported` lists those a program asked for.\n"]
    titles = (("full", "Supported"), ("partial", "Supported in part"), ("none", "Not supported"))
    for support, title in titles:
        rows = [c for c in calls if c.support == support]
        if not rows:
            continue
        out.append(f"\n## {title}\n\n")
        if support == "none":
            out.append("| number | call | returns | why |\n| --- | --- | --- | --- |\n")
            out += [f"| {c.nr} | {c.name} | {c.err} | {c.note} |\n" for c in rows]
        else:
            out.append("| number | call | served in | note |\n| --- | --- | --- | --- |\n")
            out += [f"| {c.nr} | {c.name} | sentry/syscalls/{c.file} | {c.note} |\n" for c in rows]
    return "".join(out)


def write_grammar(calls):
    return "".join(f"{c.nr} {c.name} {' '.join(a.kind + (f':{a.ref}' if a.ref else '') for a in c.args)}\n"
                   for c in calls if c.support != "none")


def uncovered(calls, folder):
    """Supported calls that no test names: by file name or by a 'covers: a b c' comment line."""
    covered = set()
    for base, _, files in os.walk(folder):
        for name in files:
            if not name.endswith(".c"):
                continue
            covered.add(name[:-2])
            with open(os.path.join(base, name), encoding="utf-8") as f:
                for line in f:
                    m = re.search(r"covers:\s*([\w ,]+)", line)
                    if m:
                        covered.update(re.findall(r"\w+", m[1]))
    return [c.name for c in calls if c.support != "none" and c.name not in covered]


def put(path, text, check=False):
    old = None
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            old = f.read()
    if check:
        if old != text:
            sys.exit(f"{path} is stale: run ./dev format")
        return
    if old != text:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    ap.add_argument("table")
    ap.add_argument("--out")
    ap.add_argument("--compat")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--coverage")
    ap.add_argument("--grammar")
    opts = ap.parse_args()
    try:
        calls = parse_table(opts.table)
    except TableError as e:
        sys.exit(str(e))
    if opts.out:
        put(os.path.join(opts.out, "syscalls_gen.h"), write_header(calls))
        put(os.path.join(opts.out, "syscalls_gen.c"), write_source(calls))
    if opts.compat:
        put(opts.compat, write_compat(calls), opts.check)
    if opts.grammar:
        put(opts.grammar, write_grammar(calls))
    if opts.coverage:
        missing = uncovered(calls, opts.coverage)
        print(f"{len(missing)} supported calls without a guest test: {' '.join(missing)}")
        sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
