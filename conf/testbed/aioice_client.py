#!/usr/bin/env python3
"""aioice as a program for `swingbridge testbed run`: pip install aioice.

    swingbridge testbed run --left symmetric --right symmetric -- \
        python3 conf/testbed/aioice_client.py -- python3 conf/testbed/aioice_client.py

It knows one way to one server: --transport udp (default), tcp or tls.
"""

import argparse
import asyncio
import json
import os
import sys
import time

import aioice

MARK = b"\x80swingbridge"


def wanted():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", choices=("udp", "tcp", "tls"), default="udp")
    # How long the laboratory wants the call to last, if it says so.
    seconds = float(os.environ.get("SWINGBRIDGE_SECONDS", 3))
    parser.add_argument("--seconds", type=float, default=seconds, help="how long it sends data")
    return parser.parse_args()


def agent(transport):
    """An agent with the server that the laboratory tells of."""
    uris = os.environ["SWINGBRIDGE_TURN_URIS"].split()
    scheme, end = ("turns:", "=tcp") if transport == "tls" else ("turn:", f"={transport}")
    uri = next(uri for uri in uris if uri.startswith(scheme) and uri.endswith(end))
    host, port = uri.removeprefix(scheme).split("?")[0].rsplit(":", 1)
    server = (host, int(port))
    # TLS believes what SSL_CERT_FILE names, which the laboratory sets.
    return aioice.Connection(
        ice_controlling=os.environ["SWINGBRIDGE_ROLE"] == "left",
        stun_server=server if transport == "udp" else None,
        turn_server=server,
        turn_username=os.environ["SWINGBRIDGE_USERNAME"],
        turn_password=os.environ["SWINGBRIDGE_PASSWORD"],
        turn_transport="udp" if transport == "udp" else "tcp",
        turn_ssl=transport == "tls",
        use_ipv6=False,
    )


async def tell(writer, **message):
    writer.write(json.dumps(message).encode() + b"\n")
    await writer.drain()


async def hear(reader, ice):
    """Takes the other side's candidates until there are no more."""
    async for line in reader:
        message = json.loads(line)
        if "ufrag" in message:
            ice.remote_username, ice.remote_password = message["ufrag"], message["pwd"]
        elif "candidate" in message:
            sdp = message["candidate"].removeprefix("candidate:")
            await ice.add_remote_candidate(aioice.Candidate.from_sdp(sdp))
        elif message.get("end"):
            await ice.add_remote_candidate(None)
            return


async def send(ice, until):
    sent = 0
    while time.monotonic() < until:
        sent += 1
        await ice.send(MARK + sent.to_bytes(4, "big") + bytes(144))
        await asyncio.sleep(0.02)
    return sent


async def listen(ice, heard):
    while True:
        heard.append(await ice.recv())


async def call(args):
    began = time.monotonic()
    ice = agent(args.transport)
    reader, writer = await asyncio.open_unix_connection(os.environ["SWINGBRIDGE_SIGNALLING"])
    await ice.gather_candidates()
    await tell(writer, ufrag=ice.local_username, pwd=ice.local_password)
    for candidate in ice.local_candidates:
        await tell(writer, candidate="candidate:" + candidate.to_sdp())
    await tell(writer, end=True)
    await asyncio.wait_for(hear(reader, ice), 30)
    await asyncio.wait_for(ice.connect(), 30)
    connected = time.monotonic()
    heard = []
    listening = asyncio.create_task(listen(ice, heard))
    sent = await send(ice, connected + args.seconds)
    await tell(writer, done=True)
    # It answers checks until the other side is done too.
    async for line in reader:
        if json.loads(line).get("done"):
            break
    await asyncio.sleep(0.3)
    listening.cancel()
    await ice.close()
    said = {"connected": bool(heard), "connected_after_ms": (connected - began) * 1e3}
    print(json.dumps(said | {"sent": sent, "heard": len(heard)}))
    return 0 if heard else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(call(wanted())))
