//! A message taken apart as the standards draw it, by nobody's codec: what a disagreement is explained with.

/// MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, in the order in which they may stand.
const ENDING: [u16; 3] = [0x0008, 0x001C, 0x8028];
const FINGERPRINT: u16 = 0x8028;

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
    /// Behind its padding.
    pub(crate) end: usize,
}

/// A datagram that begins like a STUN message.
#[derive(Clone, Debug)]
pub(crate) struct Naive<'a> {
    /// Bytes of the datagram.
    len: usize,
    /// Bytes that the header counts.
    declared: usize,
    /// Attributes, as far as they are whole.
    pub(crate) attrs: Vec<Attr<'a>>,
}

impl<'a> Naive<'a> {
    /// `None` where there is no header of a STUN message.
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Self> {
        if datagram.len() < 20 || datagram[0] >= 0x40 || datagram[4..8] != [0x21, 0x12, 0xA4, 0x42] {
            return None;
        }
        let declared = usize::from(datagram[2]) * 256 + usize::from(datagram[3]);
        let (mut attrs, mut at) = (Vec::new(), 20);
        while at + 4 <= datagram.len().min(20 + declared) {
            let kind = u16::from_be_bytes([datagram[at], datagram[at + 1]]);
            let len = usize::from(datagram[at + 2]) * 256 + usize::from(datagram[at + 3]);
            let Some(value) = datagram.get(at + 4..at + 4 + len) else { break };
            at += 4 + len.next_multiple_of(4);
            attrs.push(Attr { kind, value, end: at });
        }
        Some(Self { len: datagram.len(), declared, attrs })
    }

    /// More bytes than the header counts.
    pub(crate) fn is_longer_than_it_says(&self) -> bool {
        self.len > 20 + self.declared
    }

    pub(crate) fn is_unaligned(&self) -> bool {
        !self.declared.is_multiple_of(4)
    }

    pub(crate) fn has(&self, kind: u16) -> bool {
        self.first(kind).is_some()
    }

    pub(crate) fn first(&self, kind: u16) -> Option<&Attr<'a>> {
        self.attrs.iter().find(|attr| attr.kind == kind)
    }

    pub(crate) fn fingerprint_is_not_last(&self) -> bool {
        self.attrs.iter().any(|attr| attr.kind == FINGERPRINT && attr.end != self.len)
    }

    /// Whether behind the first of the three ending attributes stands anything but the others, in their order.
    pub(crate) fn goes_on_behind_its_end(&self) -> bool {
        let rank = |attr: &Attr<'_>| ENDING.iter().position(|kind| *kind == attr.kind);
        let tail: Vec<_> = self.attrs.iter().skip_while(|attr| rank(attr).is_none()).map(rank).collect();
        !tail.iter().all(Option::is_some) || !tail.is_sorted_by(|one, next| one < next)
    }

    /// Whether several attributes have this type.
    pub(crate) fn repeats(&self, kind: u16) -> bool {
        self.attrs.iter().filter(|attr| attr.kind == kind).count() > 1
    }
}
