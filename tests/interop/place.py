"""Where the server of a test is, and where its clients and peers are. No script of its own.

Everything is at loopback, but for a path in the kernel (`tc`, `xdp`): no interface that it would be attached to is there. Then
the server has a network of its own with one cable, and the test is at its far end.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import struct

# Names the path of packets that our server shall take; without it the server chooses.
PATH_VARIABLE = "SWINGBRIDGE_INTEROP_PATH"
# In the program at an interface: they go on while the process does not run.
IN_KERNEL = ("tc", "xdp")
ON_CABLE = os.environ.get(PATH_VARIABLE) in IN_KERNEL

# The server's, and those of clients and peers; further ones of peers.
SERVER4, SERVER6 = ("10.77.1.1", "fd77:1::1") if ON_CABLE else ("127.0.0.1", "::1")
HERE4, HERE6 = ("10.77.1.2", "fd77:1::2") if ON_CABLE else ("127.0.0.1", "::1")
HERE4_MORE = ("10.77.1.3", "10.77.1.4", "10.77.1.5") if ON_CABLE else ("127.0.0.2", "127.0.0.3", "127.0.0.4")
# What its certificate is asked for.
NAME = SERVER4 if ON_CABLE else "localhost"
INTERFACES = ["net"] if ON_CABLE else []

BPF_PROG_LOAD, BPF_LINK_CREATE = 5, 28
PROG_TYPE_XDP, ATTACH_XDP, XDP_PASS = 6, 37, 2
XDP_FLAGS_DRV_MODE = 1 << 2
# The number of bpf(2), by machine.
BPF_CALL = {"x86_64": 321, "aarch64": 280}

_side = None


def lay_cable(held):
    """Puts the server's side and this thread into networks of their own, as long as `held` is."""
    # Not above: these two use what the harness has.
    import harness
    import nat

    global _side
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "ethtool", "nsenter", "unshare"))):
        raise harness.Skip("own-network: a network of its own needs root, iproute2 and ethtool")
    side, far = nat.Namespace(held), nat.Namespace(held)
    nat.link(side, "net", far, "cable")
    for ns, name, addresses in ((side, "net", (SERVER4, SERVER6)), (far, "cable", (HERE4, *HERE4_MORE, HERE6))):
        for address in addresses:
            ns.ip(f"address add {address}/{'64 dev {name} nodad' if ':' in address else '24 dev {name}'}".format(name=name))
    # Chromium has no address where there is no way to the rest of the world.
    far.ip(f"route add default via {SERVER4}")
    far.ip(f"-6 route add default via {SERVER6}")
    # The end of a pair takes frames of a driver's program only where it reads in rounds; and as network cards have it, sums are
    # made by the senders.
    far.run("ethtool", "-K", "cable", "gro", "on", "tx", "off", "rx", "off")
    held.enter_context(far.entered())
    if os.environ[PATH_VARIABLE] == "xdp":
        held.callback(os.close, pass_all("cable"))
    _side = side
    held.callback(forget)


def forget():
    global _side
    _side = None


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(BPF_CALL[os.uname().machine], command, buffer, len(buffer))
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return fd


def pass_all(interface):
    """A program that lets everything pass: what a driver's program sends back by the way it came (XDP_TX), the other end of a
    pair takes only if it has one too. It stands as long as the descriptor is open."""
    code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, XDP_PASS, 0x95, 0, 0, 0)
    code, terms = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    where = ctypes.addressof
    program = bpf(BPF_PROG_LOAD, struct.pack("=IIQQ", PROG_TYPE_XDP, len(code) // 8, where(code), where(terms)))
    try:
        index = socket.if_nametoindex(interface)
        return bpf(BPF_LINK_CREATE, struct.pack("=IIII", program, index, ATTACH_XDP, XDP_FLAGS_DRV_MODE))
    finally:
        os.close(program)


def there():
    """Sockets that this thread makes within are on the server's side."""
    return _side.entered() if _side else contextlib.nullcontext()


def command(*words):
    """The command, as it is run on the server's side."""
    return _side.command(*words) if _side else list(words)
