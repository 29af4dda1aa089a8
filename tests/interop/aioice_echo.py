"""Two aioice agents that may use nothing but relayed candidates echo one megabyte, every byte compared."""

import asyncio
import os
import random

import aioice
import harness
from harness import check
from harness import proved
from place import SERVER4
from place import SERVER6

PACKET_BYTES = 1_000
PACKETS = 1_048
WINDOW = 16


async def connect(server, host, credential, transport):
    """Two agents, joined; the one controls, the other is controlled."""
    username, password = credential
    agents = [
        aioice.Connection(
            ice_controlling=controlling,
            turn_server=server.address(host),
            turn_username=username,
            turn_password=password,
            turn_transport="udp" if transport == "udp" else "tcp",
            turn_ssl=transport == "tls",
            transport_policy=aioice.TransportPolicy.RELAY,
        )
        for controlling in (True, False)
    ]
    one, other = agents
    await asyncio.gather(*(agent.gather_candidates() for agent in agents))
    for agent in agents:
        kinds = [candidate.type for candidate in agent.local_candidates]
        check(kinds and set(kinds) == {"relay"}, f"an agent has relayed candidates and no other: {kinds}")
    for here, there in ((one, other), (other, one)):
        for candidate in here.local_candidates:
            await there.add_remote_candidate(candidate)
        await there.add_remote_candidate(None)
        there.remote_username, there.remote_password = here.local_username, here.local_password
    await asyncio.gather(*(agent.connect() for agent in agents))
    return one, other


async def echo(one, other):
    """Sends the megabyte, no more than a window of it under way at once, and compares what comes back."""
    seeded = random.Random(1)
    sent = [number.to_bytes(4, "big") + seeded.randbytes(PACKET_BYTES - 4) for number in range(PACKETS)]

    async def mirror():
        while True:
            await other.send(await other.recv())

    mirroring = asyncio.create_task(mirror())
    back = {}
    try:
        for start in range(0, PACKETS, WINDOW):
            window = sent[start : start + WINDOW]
            for packet in window:
                await one.send(packet)
            for _ in window:
                packet = await asyncio.wait_for(one.recv(), 5)
                back[int.from_bytes(packet[:4], "big")] = packet
    finally:
        mirroring.cancel()
    check([back.get(number) for number in range(PACKETS)] == sent, "every packet came back whole")


async def call(server, host, credential, transport="udp"):
    one, other = await asyncio.wait_for(connect(server, host, credential, transport), 20)
    try:
        await asyncio.wait_for(echo(one, other), 30)
    finally:
        await asyncio.gather(one.close(), other.close())


async def refused(server, credential):
    """A wrong password gets no candidate: so the right one is what opens the door."""
    agent = aioice.Connection(
        ice_controlling=True,
        turn_server=server.address(),
        turn_username=credential[0],
        turn_password=credential[1],
        transport_policy=aioice.TransportPolicy.RELAY,
    )
    await agent.gather_candidates()
    check(agent.local_candidates == [], "a wrong password gets no relayed candidate")
    await agent.close()


def test():
    size = PACKETS * PACKET_BYTES
    with harness.Server(auth="static") as server:
        credential = (harness.USER, harness.PASSWORD)
        asyncio.run(call(server, SERVER4, credential))
        proved(f"aioice, relay only, IPv4, a static user: {size} bytes there and back, every byte the same")
        if harness.has_ipv6():
            asyncio.run(call(server, SERVER6, credential))
            proved(f"aioice over IPv6 to the server, relayed over IPv4: {size} bytes there and back")
        else:
            harness.not_proved("ipv6", "this machine has no ::1")
        asyncio.run(refused(server, (harness.USER, "wrong")))
        proved("aioice gets no relayed candidate with a wrong password")
    with harness.Server(auth="secret") as server:
        credential = harness.time_limited(server.secret, "bob")
        asyncio.run(call(server, SERVER4, credential))
        proved(f"aioice, relay only, IPv4, a time-limited credential: {size} bytes there and back")
        asyncio.run(refused(server, harness.time_limited(server.secret, "bob", -1_000)))
        proved("aioice gets no relayed candidate with a credential that has ended")
    with harness.Server(auth="static", streams=True) as server:
        # aioice trusts what this names, and checks the address against the certificate.
        os.environ["SSL_CERT_FILE"] = f"{server.folder}/server.pem"
        for transport in ("tcp", "tls"):
            asyncio.run(call(server, SERVER4, (harness.USER, harness.PASSWORD), transport))
            proved(f"aioice over {transport}: {size} bytes there and back, every byte the same")


if __name__ == "__main__":
    harness.main(test)
