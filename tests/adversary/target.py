"""The server under attack, its counters, and an attacker who knows what he should hear.

Silence is never judged by a clock: what follows the attack on the same five-tuple is answered in its order, by the
worker and by the control thread, so an answer to the attack would have come before the answers to these fences.
"""

import collections
import contextlib
import hashlib
import json
import re
import time

import craft
import harness
import place
from harness import check
from transport import Udp

SILENCE = "silence"
# Where attackers are.
OURS = [f"{host}/32" for host in (place.HERE4, *place.HERE4_MORE)] if place.ON_CABLE else ["127.0.0.0/8"]
OURS.append(f"{place.HERE6}/128")
# What attackers speak who say nothing else of it: the last of these.
OVER = [Udp]


@contextlib.contextmanager
def over(transport):
    """Within it targets listen for this transport, and their attackers come over it."""
    OVER.append(transport)
    try:
        yield
    finally:
        OVER.pop()


class Target(harness.Server):
    """A server with counters. `lines` go to the configuration's `[limits]` as they are; `exempt` takes loopback out of
    the strangers' budget, for attacks that are about something else."""

    def __init__(self, *, exempt=False, lines=(), **more):
        more.setdefault("streams", not OVER[-1].datagrams)
        super().__init__(admin=True, more='[drain]\ndeadline = "1s"\n', **more)
        self.lines = [*lines] + ([f"unproven_exempt = {json.dumps(OURS)}"] if exempt else [])

    def config(self):
        return super().config().replace("[limits]\n", "\n".join(["[limits]", *self.lines, ""]))

    def counters(self):
        """Every counter and gauge, summed over the workers: name, or name{labels less the worker}."""
        text, found = self.page(), collections.Counter()
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? ([0-9.]+)$", text, re.MULTILINE):
            kept = ",".join(label for label in labels.split(",") if label and not label.startswith("worker="))
            found[name + (f"{{{kept}}}" if kept else "")] += float(value)
        return found

    def page(self):
        """The metrics."""
        with self.get() as page:
            return page.read().decode()

    def settles(self, wanted):
        """Waits until gauges have their values: the page is written a moment after an answer leaves."""
        until = time.monotonic() + 5
        while True:
            counters = self.counters()
            found = {name: int(counters[name]) for name in wanted}
            if found == wanted or time.monotonic() > until:
                check(found == wanted, f"{wanted}, not {found}")
                return counters
            time.sleep(0.01)

    def attacker(self, host=place.SERVER4, source=None, credential=(harness.USER, harness.PASSWORD)):
        return Attacker(OVER[-1](self.address(host), source), *credential)

    def alive(self):
        """The process that was started still runs and serves a newcomer."""
        check(self.process.poll() is None, "the server lives")
        with self.attacker() as newcomer:
            newcomer.allocate()
            newcomer.end()
        check("panicked" not in self.output(), "nothing panicked")


def grown(before, after, prefix=""):
    """What counters grew, and by how much."""
    return {name: int(after[name] - before[name]) for name in after if name.startswith(prefix) and after[name] != before[name]}


def dropped(before, after):
    """Packets that went nowhere, by reason; those that the control thread could not use as `discarded`."""
    reasons = {
        re.search(r'reason="(\w+)"', name)[1]: count
        for name, count in grown(before, after, "swingbridge_packets_dropped_total").items()
    }
    discarded = grown(before, after, "swingbridge_requests_discarded_total")
    return reasons | ({"discarded": sum(discarded.values())} if discarded else {})


class Attacker:
    """One five-tuple that knows a user and a password, right or wrong."""

    def __init__(self, transport, username, password):
        self.transport = transport
        self.username, self.password = username.encode(), password.encode()
        self.realm = self.nonce = self.key = None
        self.relayed = []
        self.heard = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.transport.close()

    # ---- what a client may say -------------------------------------------------------------------------------------

    def take(self, answer):
        """The realm and nonce of a challenge."""
        self.realm, self.nonce = answer.attributes[craft.REALM], answer.attributes[craft.NONCE]
        self.key = craft.long_term_key(self.username, self.realm, self.password)

    def challenge(self):
        answer = self.ask(craft.message(craft.ALLOCATE, attributes=[craft.UDP]))
        check(answer.code == 401, f"a first Allocate is challenged, not {answer.code}")
        self.take(answer)
        return answer

    def identity(self):
        return [(craft.USERNAME, self.username), (craft.REALM, self.realm), (craft.NONCE, self.nonce)]

    def request(self, method, attributes=(), peers=(), **more):
        """A signed request, as bytes."""
        of = more.pop("of", None) or craft.transaction()
        all_of_it = [craft.peer(*peer, of) for peer in peers] + list(attributes) + self.identity()
        return craft.message(method, attributes=all_of_it, of=of, key=more.pop("key", self.key), **more)

    def ask(self, raw, tries=(0.5, 1, 2, 4)):
        """Sends until the answer comes."""
        for wait_s in tries:
            self.transport.send(raw)
            if answer := self.await_answer(raw[8:20], wait_s):
                return answer
        raise AssertionError("no answer")

    def await_answer(self, transaction, timeout_s):
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            raw = self.transport.receive(left)
            if raw is None:
                continue
            if len(raw) >= 20 and raw[8:20] == transaction and raw[0] & 0xC0 == 0:
                return craft.Answer(raw)
            self.heard.append(raw)
        return None

    def do(self, method, attributes=(), peers=()):
        """A request that is to succeed; takes up a new nonce where the server wants one."""
        for _ in range(3):
            answer = self.ask(self.request(method, attributes, peers))
            if answer.code == 438:
                self.take(answer)
                continue
            check(answer.kind == craft.SUCCESS, f"method {method} succeeds, not {answer.code}")
            check(answer.signed_by(self.key), "a success is signed")
            return answer
        raise AssertionError("438 again and again")

    def allocate(self, *attributes, dual=False):
        if not self.key:
            self.challenge()
        both = [(craft.ADDITIONAL_ADDRESS_FAMILY, bytes([2, 0, 0, 0]))] if dual else []
        answer = self.do(craft.ALLOCATE, [craft.UDP, *both, *attributes])
        numbers = [value for number, value in answer.list if number == craft.XOR_RELAYED_ADDRESS]
        self.relayed = [craft.read_xor_address(value, answer.transaction) for value in numbers]
        return answer

    def refresh(self, seconds=600):
        return self.do(craft.REFRESH, [craft.lifetime(seconds)])

    def end(self):
        return self.refresh(0)

    def permit(self, *hosts):
        return self.do(craft.CREATE_PERMISSION, peers=[(host, 0) for host in hosts])

    def bind(self, number, peer):
        return self.do(craft.CHANNEL_BIND, [craft.channel(number)], [peer])

    def indication(self, peer, payload, **more):
        of = craft.transaction()
        inside = [craft.peer(*peer, of), (craft.ATTR_DATA, payload)]
        return craft.message(craft.SEND, craft.INDICATION, inside, of, **more)

    # ---- what it hears -----------------------------------------------------------------------------------------------

    def fence(self):
        """Both ways through the server are walked behind what was sent before. Everything heard on the way is kept."""
        ask_worker = craft.message(craft.BINDING)
        self.transport.send(ask_worker)
        check(self.await_answer(ask_worker[8:20], 5), "a Binding request is answered")
        if self.nonce:
            wrong = hashlib.md5(b"a wrong key").digest()
            ask_control = self.request(craft.REFRESH, [craft.lifetime(600)], key=wrong)
            self.transport.send(ask_control)
            check(self.await_answer(ask_control[8:20], 5), "a request with a wrong key is answered")

    def outcome(self, raw):
        """What the server makes of some bytes: SILENCE, or the words of `verdict`."""
        self.heard.clear()
        self.transport.send(raw)
        self.fence()
        check(len(self.heard) <= 1, f"{len(self.heard)} answers to one datagram")
        return self.verdict(self.heard.popleft()) if self.heard else SILENCE

    def outcome_of_allocate(self, attributes):
        """An Allocate may be answered late, when its socket is open: its answer is awaited."""
        return self.verdict(self.ask(self.request(craft.ALLOCATE, [craft.UDP, *attributes])).raw)

    def verdict(self, raw):
        """`success signed`, `401 unsigned`, `400 signed` and so on."""
        answer = craft.Answer(raw)
        word = "success" if answer.kind == craft.SUCCESS else str(answer.code)
        try:
            signed = answer.signed_by(self.key) if self.key else None
        except ValueError:
            return f"{word} signed with a wrong key"
        return f"{word} {'signed' if signed else 'unsigned'}"

    def expect(self, raw, wanted, claim):
        """One datagram, its one right outcome."""
        outcome = self.outcome(raw)
        check(outcome == wanted, f"{claim}: {wanted}, not {outcome}; sent {raw.hex()}")
