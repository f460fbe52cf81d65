# SPDX-License-Identifier: Apache-2.0
"""gdb helpers. Use: gdb -iex "set sysroot /" -x tools/pavise_gdb.py build/pavise -p PID   (or a core file)

  fibers            list every fiber: address, name, state
  fibers bt         and the back trace of each that is switched out
  fiber ADDRESS     the back trace of one

A switched-out fiber is unwound by setting the registers of the selected thread to what
fiber_switch saved (struct switch_frame), walking, and putting them back. Running fibers are seen in
their threads (`thread apply all bt`).
"""
import gdb

FLAGS = ((0x01, "token"), (0x02, "lock-token"), (0x04, "timeout"), (0x08, "intr"), (0x10, "kill"))
SAVED = ("rbp", "rbx", "r12", "r13", "r14", "r15")


def all_fibers():
    fiber = gdb.parse_and_eval("fibers.list.tqh_first")
    while int(fiber) != 0:
        yield fiber
        fiber = fiber["all_link"]["tqe_next"]


def atomic(value):
    """The value of an _Atomic member, which gdb may not take as an integer."""
    return int(gdb.parse_and_eval("*(unsigned *)%#x" % int(value.address)))


def names(flags):
    return "+".join(name for bit, name in FLAGS if flags & bit) or "-"


def describe(fiber):
    state = atomic(fiber["state"])
    if int(fiber["sp"]) == 0:
        where = "running"
    elif state >> 16:
        where = "parked until " + names(state >> 16)
    else:
        where = "runnable"
    return "%#x %-24s %s, posted %s, local %#x" % (
        int(fiber), fiber["name"].string(), where, names(state & 0xffff), int(fiber["local"]))


def back_trace(fiber):
    sp = int(fiber["sp"])
    if sp == 0:
        print("  (running: see its thread)")
        return
    frame = gdb.parse_and_eval("*(struct switch_frame *)%#x" % sp)
    wanted = {name: int(frame[name]) for name in SAVED}
    wanted["rip"] = int(frame["rip"])
    wanted["rsp"] = sp + frame.type.sizeof
    gdb.execute("frame 0", to_string=True)
    old = {name: int(gdb.parse_and_eval("(unsigned long)$" + name)) for name in wanted}
    try:
        for name, value in wanted.items():
            gdb.execute("set $%s = %#x" % (name, value), to_string=True)
        gdb.execute("bt 40")
    except gdb.error as err:
        print("  (cannot set registers here: %s)" % err)
        walk_frame_pointers(wanted["rip"], wanted["rbp"])
    finally:
        for name, value in old.items():
            try:
                gdb.execute("set $%s = %#x" % (name, value), to_string=True)
            except gdb.error:
                pass


def walk_frame_pointers(rip, rbp):
    """For core files, whose registers cannot be set."""
    for depth in range(40):
        print("  #%-2d %#x %s" % (depth, rip, gdb.execute("info symbol %#x" % rip,
                                                          to_string=True).split(" of ")[0].strip()))
        if rbp == 0:
            break
        pair = gdb.parse_and_eval("*(unsigned long (*)[2])%#x" % rbp)
        if int(pair[0]) != 0 and int(pair[0]) <= rbp:
            break
        rbp, rip = int(pair[0]), int(pair[1])


class Fibers(gdb.Command):
    """List all fibers; with `bt` also their back traces."""

    def __init__(self):
        super().__init__("fibers", gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        for fiber in all_fibers():
            print(describe(fiber))
            if arg.strip() == "bt":
                back_trace(fiber)


class Fiber(gdb.Command):
    """The back trace of the fiber at an address."""

    def __init__(self):
        super().__init__("fiber", gdb.COMMAND_STACK)

    def invoke(self, arg, from_tty):
        fiber = gdb.parse_and_eval("(struct fiber *)(%s)" % arg)
        print(describe(fiber))
        back_trace(fiber)


Fibers()
Fiber()
