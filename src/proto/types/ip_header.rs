//! What an IP header says beside its addresses.

/// The fields of a datagram's IP header that a relay treats (RFC 8656 §§ 13 and 14), under the names that both
/// families share. The default is that of a datagram the system itself would make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpHeader {
    /// Time To Live or Hop Limit, 0 to 255. `None` on the way in: the kernel did not say; on the way out: the
    /// system's own value.
    pub hop_limit: Option<u8>,
    /// Type of Service or Traffic Class: DSCP in the upper six bits, ECN in the lower two.
    pub traffic_class: u8,
    /// On the way in: the DF bit, as far as it can be seen; no UDP socket sees it, and then it counts as 0
    /// (RFC 8656 § 14). On the way out: the datagram must leave whole or not at all.
    pub dont_fragment: bool,
}
