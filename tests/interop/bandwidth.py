"""`[limits] bandwidth_per_user`: eight allocations of one user, on several of four workers, carry together what one user may,
no less and no more than a twentieth beside it, in both directions and on every tier."""

import contextlib
import time

import harness
import media
import tiers
from harness import check
from harness import proved

ALLOCATIONS, WORKERS, WORKERS_USED_MIN = 8, 4, 3
LIMIT_KBIT_S, BURST_S, SPAN_S = 800, 2, 10
RATE = LIMIT_KBIT_S * 1_000 / 8
# Bytes of a packet between relay and peer: the IP header, the UDP header, and what the application sends.
PACKET, HEADERS = 1_000, 28
# Five times what may pass.
OFFERED = 5
TOLERANCE = 0.05
# Of both metrics that such a packet can end in.
HELD_BACK = ',reason="user_bandwidth"'


class Offer:
    """What all calls offer together: never silent for so long that the bucket could be full meanwhile."""

    def __init__(self, calls):
        self.calls, self.turn, self.began = calls, 0, time.monotonic()
        self.longest_silence_s = 0.0

    def packet(self):
        call = self.calls[self.turn % len(self.calls)]
        to_client = self.turn // len(self.calls) % 2
        self.turn += 1
        call.to_client() if to_client else call.to_peer()

    def run(self, span_s):
        last = time.monotonic()
        while (now := time.monotonic()) - self.began < span_s:
            self.longest_silence_s = max(self.longest_silence_s, now - last)
            last = now
            due = (now - self.began) * RATE * OFFERED / PACKET
            while self.turn < due:
                self.packet()
            time.sleep(0.002)

    def empty_the_bucket(self):
        """More at once than a full bucket holds."""
        for _ in range(int(RATE * BURST_S / PACKET) + 100):
            self.packet()


def on_several_workers(server, held):
    """Eight calls of one user, at most three at a worker."""
    kept, at = [], {}
    for _ in range(200):
        before = server.of_workers("swingbridge_relay_sockets")
        call = media.Call(server, PACKET - HEADERS)
        held.callback(call.close)
        after = server.of_workers("swingbridge_relay_sockets")
        [worker] = [worker for worker in after if after[worker] != before[worker]]
        if at.get(worker, 0) == 3:
            call.client.refresh(0)
            continue
        at[worker] = at.get(worker, 0) + 1
        kept.append(call)
        if len(kept) == ALLOCATIONS:
            break
    check(len(kept) == ALLOCATIONS and len(at) >= WORKERS_USED_MIN, f"the calls are on several workers: {at}")
    return kept, len(at)


def measured(server, calls, ears):
    """(bytes that passed beyond the bucket's fill, the least and the most that may have), or None where this process slept
    for so long that the bucket may have been full meanwhile."""

    def held_back():
        return sum(server.of_workers("swingbridge_packets_dropped_total", HELD_BACK).values())

    refused_before, sent_before = held_back(), sum(call.sent() for call in calls)
    offer = Offer(calls)
    calls[0].to_peer()
    check(not ears.hear_all(lambda: not any(call.heard() for call in calls)), "the first packet passes")
    first_passed = time.monotonic()
    offer.run(SPAN_S)
    last_began = time.monotonic()
    offer.empty_the_bucket()

    def unaccounted():
        sent = sum(call.sent() for call in calls) - sent_before
        return sent - sum(call.heard() for call in calls) - (held_back() - refused_before)

    check(not ears.hear_all(unaccounted), f"each packet is heard or was held back, but for {unaccounted()}")
    ended = time.monotonic()
    if offer.longest_silence_s > BURST_S / 2:
        return None
    passed = sum(call.heard() for call in calls) * PACKET - RATE * BURST_S
    return passed, RATE * (last_began - first_passed), RATE * (ended - offer.began)


def on_tier(ground):
    limits = {"bandwidth_per_user": f"{LIMIT_KBIT_S}kbit/s", "bandwidth_burst": f"{BURST_S}s"}
    changes = [("workers = 2", f"workers = {WORKERS}")]
    for _ in range(3):
        with tiers.Server(ground, admin=True, limits=limits, changes=changes) as server, contextlib.ExitStack() as held:
            calls, workers = on_several_workers(server, held)
            ears = held.enter_context(media.Ears())
            for call in calls:
                for sock, hear in call.ears():
                    ears.add(sock, hear)
            result = measured(server, calls, ears)
        if result:
            break
    check(result, "this machine lets a test run without sleeping for a second")
    passed, least, most = result
    told = f"{passed / most:.4f} to {passed / least:.4f} of the limit"
    check(least * (1 - TOLERANCE) <= passed <= most * (1 + TOLERANCE), f"the limit is kept within 5 %: {told}")
    check(min(len(call.at_peer) for call in calls) > 0, "every allocation got some of it")
    proved(f"{ground.tier}: {ALLOCATIONS} allocations of one user on {workers} workers carry {told} "
           f"in {SPAN_S} s, with {OFFERED} times as much offered, both ways")


def test():
    tiers.each(on_tier)


if __name__ == "__main__":
    harness.main(test, cable=False)
