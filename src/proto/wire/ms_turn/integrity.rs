//! MESSAGE-INTEGRITY as STUN had it before RFC 5389: what is covered is filled up with zeros to a multiple of 64 bytes.
//! The zeros are never sent.

use crate::proto::wire::rfc8656::integrity::Algorithm;
use crate::proto::wire::rfc8656::integrity::MacKey;
use crate::proto::wire::rfc8656::integrity::Presented;
use crate::proto::wire::rfc8656::integrity::ZeroFill;

/// Bytes of a MESSAGE-INTEGRITY's value.
pub const LEN: usize = 20;

/// MESSAGE-INTEGRITY of `message` whose header stands at `offset`.
pub(super) const fn presented(message: &[u8], offset: Option<usize>) -> Presented<'_> {
    Presented::new(message, offset, None).filled(ZeroFill::To64)
}

/// Fills `value` with the MAC of what stands in front of the attribute.
pub(super) fn sign(key: &MacKey, covered: &[u8], value: &mut [u8]) {
    key.sign(Algorithm::Sha1, ZeroFill::To64, covered, value);
}
