#!/usr/bin/env python3
"""libnice as a program for `swingbridge testbed run`: it takes Python and libnice.so.10 (Debian: libnice10), nothing else.

    swingbridge testbed run --left symmetric --right udp-blocked -- \
        python3 conf/testbed/libnice_client.py -- python3 conf/testbed/libnice_client.py

It knows the server over UDP and over TCP; TLS to a relay libnice does not speak, and so not what is behind only-443 either.
"""

import argparse
import ctypes
import ctypes.util
import json
import os
import socket
import sys
import time

MARK = b"\x80swingbridge"
SIZE = 160
EVERY_S = 0.02
PATIENCE_S = 30
# How long one side listens for the other after its own data, and for what is under way at the very end.
LINGER_S, LAST_S = 5, 0.3
COMPONENT = 1
# What agent.h calls them.
COMPATIBILITY_RFC5245 = 0
REGULAR_NOMINATION, TRICKLE = 1 << 0, 1 << 3
RELAY_UDP, RELAY_TCP = 0, 1
READY, FAILED = 4, 5


def loaded(name):
    try:
        return ctypes.CDLL(name)
    except OSError:
        sys.exit(f"there is no {name} here: install the package libnice10")


nice, gobject, glib = (loaded(name) for name in ("libnice.so.10", "libgobject-2.0.so.0", "libglib-2.0.so.0"))
OF_DATA = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.c_char), ctypes.c_void_p
)
OF_STATE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p
)
OF_CANDIDATE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
OF_STREAM = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p)


def declare():
    """What the functions take and give: without it a pointer would lose its upper half."""
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint
    for library, name, gives, *takes in (
        (nice, "nice_agent_new_full", pointer, pointer, number, number),
        (nice, "nice_agent_add_stream", number, pointer, number),
        (nice, "nice_agent_set_relay_info", number, pointer, number, number, text, number, text, text, number),
        (nice, "nice_agent_attach_recv", number, pointer, number, number, pointer, OF_DATA, pointer),
        (nice, "nice_agent_gather_candidates", number, pointer, number),
        (nice, "nice_agent_get_local_credentials", number, pointer, number, pointer, pointer),
        (nice, "nice_agent_set_remote_credentials", number, pointer, number, text, text),
        (nice, "nice_agent_generate_local_candidate_sdp", pointer, pointer, pointer),
        (nice, "nice_agent_parse_remote_candidate_sdp", pointer, pointer, number, text),
        (nice, "nice_agent_set_remote_candidates", ctypes.c_int, pointer, number, number, pointer),
        (nice, "nice_agent_peer_candidate_gathering_done", number, pointer, number),
        (nice, "nice_agent_send", ctypes.c_int, pointer, number, number, number, text),
        (nice, "nice_agent_remove_stream", None, pointer, number),
        (nice, "nice_candidate_free", None, pointer),
        (gobject, "g_signal_connect_data", ctypes.c_ulong, pointer, text, pointer, pointer, pointer, ctypes.c_int),
        (glib, "g_slist_append", pointer, pointer, pointer),
        (glib, "g_slist_free", None, pointer),
        (glib, "g_free", None, pointer),
        (glib, "g_main_context_iteration", ctypes.c_int, pointer, ctypes.c_int),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = gives, takes


def owned(pointer):
    """A string that libnice hands over."""
    value = ctypes.string_at(pointer)
    glib.g_free(pointer)
    return value


def server():
    """Host and port, which are the same over UDP and TCP."""
    uri = os.environ["SWINGBRIDGE_TURN_URI"]
    host, port = uri.removeprefix("turn:").split("?")[0].rsplit(":", 1)
    return host.encode(), int(port)


class Signals:
    """The laboratory's signalling: lines of JSON."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["SWINGBRIDGE_SIGNALLING"])
        self.rest = b""

    def tell(self, **message):
        self.socket.setblocking(True)
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def heard(self):
        """What has come, without waiting."""
        self.socket.setblocking(False)
        try:
            while part := self.socket.recv(4_096):
                self.rest += part
        except BlockingIOError:
            pass
        *lines, self.rest = self.rest.split(b"\n")
        return [json.loads(line) for line in lines]


class Client:
    """One agent with one stream of one component."""

    def __init__(self, signals):
        self.signals = signals
        self.state = self.sent = self.heard = 0
        self.is_other_done = self.is_local_whole = self.is_remote_whole = False
        self.remote = []
        self.agent = nice.nice_agent_new_full(None, COMPATIBILITY_RFC5245, REGULAR_NOMINATION | TRICKLE)
        host, port = server()
        is_left = os.environ["SWINGBRIDGE_ROLE"] == "left"
        self.set("controlling-mode", ctypes.c_int(is_left))
        self.set("upnp", ctypes.c_int(0))
        self.set("stun-server", ctypes.c_char_p(host))
        self.set("stun-server-port", ctypes.c_uint(port))
        # Kept: libnice calls them for as long as there is an agent.
        self.calls = [OF_CANDIDATE(self.on_candidate), OF_STREAM(self.on_gathered), OF_STATE(self.on_state)]
        names = (b"new-candidate-full", b"candidate-gathering-done", b"component-state-changed")
        for name, call in zip(names, self.calls):
            gobject.g_signal_connect_data(self.agent, name, ctypes.cast(call, ctypes.c_void_p), None, None, 0)
        self.on_datagram = OF_DATA(self.on_data)
        self.stream = nice.nice_agent_add_stream(self.agent, 1)
        user, password = (os.environ[name].encode() for name in ("SWINGBRIDGE_USERNAME", "SWINGBRIDGE_PASSWORD"))
        for kind in (RELAY_UDP, RELAY_TCP):
            nice.nice_agent_set_relay_info(self.agent, self.stream, COMPONENT, host, port, user, password, kind)
        nice.nice_agent_attach_recv(self.agent, self.stream, COMPONENT, None, self.on_datagram, None)

    def set(self, name, value):
        gobject.g_object_set(ctypes.c_void_p(self.agent), ctypes.c_char_p(name.encode()), value, ctypes.c_void_p(None))

    def begin(self):
        ufrag, password = ctypes.c_void_p(), ctypes.c_void_p()
        get = nice.nice_agent_get_local_credentials
        get(self.agent, self.stream, ctypes.byref(ufrag), ctypes.byref(password))
        self.signals.tell(ufrag=owned(ufrag.value).decode(), pwd=owned(password.value).decode())
        return nice.nice_agent_gather_candidates(self.agent, self.stream)

    def on_candidate(self, agent, candidate, _):
        sdp = owned(nice.nice_agent_generate_local_candidate_sdp(agent, candidate)).decode()
        # Candidates of the host over TCP are nothing that the others here have a use for.
        if sdp.split()[2].lower() == "udp":
            self.signals.tell(candidate=sdp.removeprefix("a="))

    def on_gathered(self, *_):
        self.signals.tell(end=True)
        self.is_local_whole = True
        self.check()

    def check(self):
        """Begins once both sides know all: libnice stays with what it nominated, and so must not begin with the worse ones."""
        if not (self.is_local_whole and self.is_remote_whole):
            return
        every = None
        for candidate in self.remote:
            every = glib.g_slist_append(every, candidate)
        nice.nice_agent_set_remote_candidates(self.agent, self.stream, COMPONENT, every)
        nice.nice_agent_peer_candidate_gathering_done(self.agent, self.stream)
        glib.g_slist_free(every)
        for candidate in self.remote:
            nice.nice_candidate_free(candidate)

    def on_state(self, agent, stream, component, state, _):
        self.state = state

    def on_data(self, agent, stream, component, size, data, _):
        self.heard += ctypes.string_at(data, min(size, len(MARK))) == MARK

    def on_message(self, message):
        if "ufrag" in message:
            ufrag, password = message["ufrag"].encode(), message["pwd"].encode()
            nice.nice_agent_set_remote_credentials(self.agent, self.stream, ufrag, password)
        elif "candidate" in message:
            sdp = b"a=" + message["candidate"].encode()
            candidate = nice.nice_agent_parse_remote_candidate_sdp(self.agent, self.stream, sdp)
            if candidate:
                self.remote.append(candidate)
        elif message.get("end"):
            self.is_remote_whole = True
            self.check()
        elif message.get("done"):
            self.is_other_done = True

    def turn(self):
        """Does whatever there is to be done now."""
        while glib.g_main_context_iteration(None, 0):
            pass
        for message in self.signals.heard():
            self.on_message(message)
        time.sleep(0.004)

    def send(self):
        self.sent += 1
        data = (MARK + self.sent.to_bytes(4, "big")).ljust(SIZE, b"\0")
        nice.nice_agent_send(self.agent, self.stream, COMPONENT, len(data), data)

    def wait(self, is_over, patience_s):
        """Whether it came about in time."""
        until = time.monotonic() + patience_s
        while not is_over() and time.monotonic() < until:
            self.turn()
        return is_over()

    def talk(self, seconds):
        """Sends for so long, and goes on until the other side is done too."""
        began = due = time.monotonic()
        is_told = False
        while not (is_told and self.is_other_done) and time.monotonic() < began + seconds + LINGER_S:
            self.turn()
            if time.monotonic() >= due:
                due += EVERY_S
                self.send()
            if not is_told and time.monotonic() >= began + seconds:
                self.signals.tell(done=True)
                is_told = True
        self.wait(lambda: False, LAST_S)


def call(seconds):
    began = time.monotonic()
    client = Client(Signals())
    said = {"connected": False}
    if client.begin() and client.wait(lambda: client.state in (READY, FAILED), PATIENCE_S) and client.state == READY:
        said["connected_after_ms"] = (time.monotonic() - began) * 1e3
        client.talk(seconds)
        said["connected"] = client.heard > 0
    print(json.dumps(said | {"sent": client.sent, "heard": client.heard}))
    sys.stdout.flush()
    nice.nice_agent_remove_stream(client.agent, client.stream)
    return 0 if said["connected"] else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long it sends data")
    declare()
    sys.exit(call(parser.parse_args().seconds))
