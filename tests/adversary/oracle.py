"""What the standard says a server must make of some bytes: an independent reading of RFC 8489 sections 6.3 and 9.2.4, and
of a stream's bytes by RFC 8489 section 5 and RFC 8656 section 12.5.
"""

import hmac
import struct
import zlib

import craft

KNOWN = {
    craft.MAPPED_ADDRESS,
    craft.USERNAME,
    craft.MESSAGE_INTEGRITY,
    craft.ERROR_CODE,
    craft.UNKNOWN_ATTRIBUTES,
    craft.CHANNEL_NUMBER,
    craft.LIFETIME,
    craft.XOR_PEER_ADDRESS,
    craft.ATTR_DATA,
    craft.REALM,
    craft.NONCE,
    craft.XOR_RELAYED_ADDRESS,
    craft.REQUESTED_ADDRESS_FAMILY,
    craft.EVEN_PORT,
    craft.REQUESTED_TRANSPORT,
    craft.MESSAGE_INTEGRITY_SHA256,
    craft.PASSWORD_ALGORITHM,
    craft.USERHASH,
    craft.XOR_MAPPED_ADDRESS,
    craft.RESERVATION_TOKEN,
    0x001A,  # DONT-FRAGMENT
    craft.CONNECTION_ID,
}
METHODS = {craft.BINDING, craft.ALLOCATE, craft.REFRESH, craft.CREATE_PERMISSION, craft.CHANNEL_BIND}
# RFC 6062's methods, which make sense over streams only and are attacked elsewhere.
OF_STREAMS = {10, 11, 12}
METHODS |= {craft.CONNECT, craft.CONNECTION_BIND}
SILENCE, PASSES = "silence", "passes"
# What becomes of a connection whose client says no more, in the words of the counters: closed before anything of it was
# served (it speaks something else; its first message is none; it left), or after (it left; what follows is no message).
NOT_SERVED, NO_MESSAGE, LEFT = "turned away: not_served", "turned away: framing", "turned away: left"
ENDED, BROKEN = "ended: client", "ended: framing"
# Who has no allocation has nothing to say that is longer.
STRANGERS_LONGEST = 8_192


def frame(raw):
    """Method and the attributes (place, type, value) of a whole request; None for what must be dropped in silence."""
    if len(raw) < 20 or raw[0] & 0xC0:
        return None
    kind_method, length, cookie = struct.unpack("!HHI", raw[:8])
    if cookie != craft.COOKIE or length % 4 or length + 20 != len(raw) or kind_method & 0x110:
        return None
    method = (kind_method & 0xF) | (kind_method & 0xE0) >> 1 | (kind_method & 0x3E00) >> 2
    found, at = [], 20
    while at < len(raw):
        if at + 4 > len(raw):
            return None
        number, size = struct.unpack("!HH", raw[at : at + 4])
        if at + 4 + size > len(raw):
            return None
        value = raw[at + 4 : at + 4 + size]
        if number == craft.FINGERPRINT:
            covered = raw[:2] + struct.pack("!H", at + 8 - 20) + raw[4:at]
            last = at + 8 == len(raw)
            if not last or size != 4 or struct.unpack("!I", value)[0] != zlib.crc32(covered) ^ 0x5354554E:
                return None
        found.append((at, number, value))
        at += 4 + size + (-size % 4)
    return method, found


def that_count(attributes):
    """The first of each type, and nothing behind the integrity but MESSAGE-INTEGRITY-SHA256."""
    counting, sealed = {}, False
    for at, number, value in attributes:
        if number == craft.FINGERPRINT or (sealed and number != craft.MESSAGE_INTEGRITY_SHA256):
            continue
        counting.setdefault(number, (at, value))
        if number == craft.MESSAGE_INTEGRITY_SHA256:
            break
        sealed = sealed or number == craft.MESSAGE_INTEGRITY
    return counting


def is_intact(raw, key, at, value, number):
    covered = raw[:2] + struct.pack("!H", at + 4 + len(value) - 20) + raw[4:at]
    return hmac.compare_digest(hmac.new(key, covered, craft.MACS[number]).digest(), value)


def judge(raw, attacker, live):
    """SILENCE, an answer as `Attacker.verdict` words it, or PASSES: authentication has nothing to say against it."""
    framed = frame(raw)
    if not framed or framed[0] not in METHODS:
        return SILENCE
    method, attributes = framed
    counting = that_count(attributes)
    value = {number: each for number, (_, each) in counting.items()}
    if method == craft.BINDING:
        strange = any(number < 0x8000 and number not in KNOWN for number in value)
        return "420 unsigned" if strange else "success unsigned"
    macs = [number for number in craft.MACS if len(value.get(number, b"")) == craft.MACS[number]().digest_size]
    if not macs:
        return "401 unsigned"
    if not {craft.REALM, craft.NONCE} <= value.keys() or not {craft.USERNAME, craft.USERHASH} & value.keys():
        return "400 unsigned"
    nonce = value[craft.NONCE]
    offered = nonce.startswith(b"obMatJos2AAA") and nonce[12:13] in (b"B", b"D")
    chosen = {craft.PASSWORD_ALGORITHM, craft.PASSWORD_ALGORITHMS} & value.keys()
    if offered and chosen:
        return "400 unsigned"
    if not live and nonce != attacker.nonce:
        return "438 unsigned"
    number = macs[-1]
    right = value.get(craft.USERNAME) == attacker.username and value[craft.REALM] == attacker.realm
    if not right or not is_intact(raw, attacker.key, *counting[number], number):
        return "401 unsigned"
    return PASSES if nonce == attacker.nonce else "438 signed"


def next_frame(raw, longest=1 << 17):
    """The size of the message that a stream's bytes begin with; 0 if it is not whole yet, None if it can be none."""
    if not raw:
        return 0
    cookie = struct.pack("!I", craft.COOKIE)
    is_stun = raw[0] < 0x40
    if raw[0] >= 0x80 or (is_stun and not cookie.startswith(raw[4:8])):
        return None
    if len(raw) < 4:
        return 0
    length = struct.unpack("!H", raw[2:4])[0]
    size = 20 + length if is_stun else 4 + length + -length % 4
    if size > longest or (is_stun and length % 4):
        return None
    return size if len(raw) >= size else 0


def stream(raw, attacker):
    """The answers to a stranger's stream, in their order, and what becomes of the connection when he says no more."""
    cookie = struct.pack("!I", craft.COOKIE)
    if raw and (raw[0] > 1 or not cookie.startswith(raw[4:8])):
        return [], NOT_SERVED
    if len(raw) < 8:
        return [], LEFT
    answers, served = [], False
    while size := next_frame(raw, STRANGERS_LONGEST):
        outcome = judge(raw[:size], attacker, False)
        if outcome != SILENCE:
            answers.append(outcome)
        raw, served = raw[size:], True
    if served:
        return answers, ENDED if size == 0 else BROKEN
    return answers, LEFT if size == 0 else NO_MESSAGE


__all__ = ["PASSES", "SILENCE", "frame", "judge", "next_frame", "stream"]
