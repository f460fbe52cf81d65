#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py IN OUT NAME: a C file with the bytes of IN as `const unsigned char NAME[]` and its length
as `const unsigned long NAME_len`."""

import sys


def main():
    source, target, name = sys.argv[1:4]
    with open(source, "rb") as f:
        data = f.read()
    rows = (", ".join(str(b) for b in data[i:i + 20]) for i in range(0, len(data), 20))
    with open(target, "w", encoding="ascii") as f:
        f.write(f"extern const unsigned char {name}[];\nextern const unsigned long {name}_len;\n"
                f"const unsigned char {name}[] __attribute__((aligned(16))) = {{\n"
                + ",\n".join(rows) + f"}};\nconst unsigned long {name}_len = {len(data)};\n")


if __name__ == "__main__":
    main()
