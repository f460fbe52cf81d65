#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check what docs/STYLE.md says about the shape of the tree: which folder may include which, private
headers, include cycles, head comments, the length of files and functions. Prints every breach as
`file:line: what`, exit 1 when there is one. Lengths above the aim but below the limit are warnings."""

import os
import re
import subprocess
import sys

FILE_AIM, FILE_MAX, FUNCTION_MAX = 600, 1000, 100
LONG_FUNCTION = "Long because"  # in the comment above it: a function may be longer

# folder -> prefixes it may include besides itself; the longest folder that matches counts.
LAYERS = {
    "base": [],
    "abi": ["base/base.h"],
    "platform": ["base/", "abi/"],
    "platform/stub": ["abi/", "platform/shared.h"],
    "netstack": ["base/"],
    "vfs": ["base/", "abi/"],
    "sentry": ["base/", "abi/", "platform/platform.h", "platform/regs.h", "vfs/",
               "netstack/netstack.h"],
    "runtime": ["base/", "abi/", "sentry/boot.h"],
}
BUILD_HEADERS = ("abi/xlat_gen.h", "sentry/syscalls_gen.h", "base/host_filter_gen.h")


def source_files(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "*.c", "*.h", "*.S"],
                         check=True, capture_output=True, text=True).stdout.split()
    return sorted(f for f in out if os.path.exists(os.path.join(root, f)))


def layer_of(path):
    fits = [d for d in LAYERS if path.startswith(d + "/")]
    return max(fits, key=len) if fits else None


def may_include(path, target):
    """None, or why `path` may not include `target`."""
    layer = layer_of(path)
    folder, target_folder = os.path.dirname(path), os.path.dirname(target)
    if layer is None:
        return None
    if "_priv." in target and target_folder != folder:
        return "a private header of another folder"
    if layer == "vfs" and target.startswith("vfs/"):
        if folder != "vfs" and target_folder not in ("vfs", folder):
            return "one file system may not know another"
        return None
    if target_folder == "sentry/syscalls" and folder not in ("sentry", "sentry/syscalls"):
        return "nothing includes the system call layer"
    if target.startswith(layer + "/") and not target.startswith("platform/stub/"):
        return None
    if any(target.startswith(p) for p in LAYERS[layer]) or target_folder == folder:
        return None
    return f"{layer} may not include it"


def check_includes(path, lines, graph):
    for number, line in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m:
            continue
        target = m[1] if "/" in m[1] else os.path.join(os.path.dirname(path), m[1])
        if target not in BUILD_HEADERS and target.endswith(".h"):
            graph.setdefault(path, []).append(target)
        why = may_include(path, target)
        if why:
            yield f"{path}:{number}: includes {m[1]}: {why}"


def check_lengths(path, lines):
    if len(lines) > FILE_MAX:
        yield f"{path}:1: {len(lines)} lines, the limit is {FILE_MAX}"
    elif len(lines) > FILE_AIM:
        print(f"warning: {path}: {len(lines)} lines, the aim is {FILE_AIM}")
    start = 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            above = "\n".join(lines[max(0, start - 12):start])
            if number - start - 1 > FUNCTION_MAX and LONG_FUNCTION not in above:
                yield f"{path}:{start}: function of {number - start - 1} lines, the limit is {FUNCTION_MAX}"
            start = 0


def check_head(path, lines):
    if not lines or "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
        yield f"{path}:1: the first line must be the SPDX line"
    elif path.endswith(".c") and (len(lines) < 2 or not lines[1].startswith("/*")):
        yield f"{path}:2: a comment must say what the file is"


def find_cycle(graph):
    """One cycle of headers as a list, or None."""
    state, stack = {}, []

    def visit(node):
        state[node] = 1
        stack.append(node)
        for nxt in graph.get(node, []):
            if state.get(nxt) == 1:
                return stack[stack.index(nxt):] + [nxt]
            if nxt not in state:
                found = visit(nxt)
                if found:
                    return found
        state[node] = 2
        stack.pop()
        return None

    for node in sorted(graph):
        if node not in state:
            found = visit(node)
            if found:
                return found
    return None


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    problems, graph = [], {}
    for path in source_files(root):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            lines = f.read().splitlines()
        problems += check_includes(path, lines, graph)
        problems += check_lengths(path, lines)
        problems += check_head(path, lines)
    cycle = find_cycle(graph)
    if cycle:
        problems.append("include cycle: " + " -> ".join(cycle))
    print("\n".join(problems) if problems else "layers, lengths and heads are as they should be")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
