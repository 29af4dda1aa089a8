//! Clients over DTLS (RFC 7350): what is inside their records goes the way of datagrams.

use std::time::Duration;
use std::time::Instant;

use crate::net::Departing;
use crate::net::Heading;
use crate::net::dtls::Heard;
use crate::net::dtls::MESSAGE_MAX;
use crate::net::dtls::Over;
use crate::proto::auth::challenge::Greeting;
use crate::proto::media::DropReason;
use crate::proto::media::FromClient;
use crate::proto::media::forward;
use crate::proto::types::FiveTuple;
use crate::proto::types::IpHeader;
use crate::proto::types::Tick;
use crate::proto::types::Transport;
use crate::proto::types::limits;
use crate::proto::wire::dtls::Hello;
use crate::relay::dtls::Greeted;
use crate::relay::egress::Bytes;
use crate::relay::egress::Departure;
use crate::relay::egress::Kind;
use crate::relay::egress::Way;

use super::Worker;
use super::departure_to;
use super::hand_up;

/// How often is looked for handshakes that must say something again, and for associations that do nothing of use.
pub(super) const LOOK: Duration = Duration::from_millis(250);

impl Worker<'_> {
    /// A record from a five-tuple that has no allocation over bare UDP.
    pub(super) fn hear_record(&mut self, tick: Tick, door: u16, place: usize, udp: FiveTuple) {
        let from = FiveTuple { transport: Transport::Dtls, ..udp };
        let slot = &mut *self.slot;
        let datagram = self.batch.datagram(place);
        let now = Instant::now();
        slot.dtls.at_work = Some(from);
        let hello = Hello::read(datagram);
        let greeted = hello.and_then(|hello| slot.dtls.greet(tick, now, from, &hello, datagram));
        match greeted {
            Some(Greeted::Verify(answer)) => {
                slot.stats.dtls.cookies.add(1);
                self.answer_hello(door, udp, &answer);
            }
            Some(Greeted::TooOld(alert)) => {
                slot.stats.dtls.refused.add(1);
                self.answer_hello(door, udp, &alert);
            }
            Some(Greeted::Begun(heard)) => {
                slot.stats.dtls.begun.add(1);
                slot.stats.dtls.associations.set(slot.dtls.len() as u64);
                self.attend(tick, from, Ok(heard));
            }
            Some(Greeted::Refused) => {
                slot.stats.dtls.refused.add(1);
                slot.stats.dtls.associations.set(slot.dtls.len() as u64);
            }
            None => match slot.dtls.hear(now, &from, datagram) {
                Some(heard) => self.attend(tick, from, heard),
                None => slot.stats.count_drop(DropReason::Unclassified),
            },
        }
        self.slot.dtls.at_work = None;
    }

    /// Never more bytes than the hello had, and nothing is kept.
    fn answer_hello(&mut self, door: u16, from: FiveTuple, answer: &[u8]) {
        let slot = &mut *self.slot;
        let place = self.egress.len();
        self.answers[place * limits::RESPONSE_MAX..][..answer.len()].copy_from_slice(answer);
        self.egress.push(Departure {
            way: Way::Listener(door),
            bytes: Bytes::Answer { place, len: answer.len() },
            heading: slot.doors[usize::from(door)].heading_to(&from, IpHeader::default()),
            kind: Kind::Answer,
            data_len: 0,
            relay: None,
        });
    }

    /// What an association came to say, to us and to its client.
    fn attend(&mut self, tick: Tick, from: FiveTuple, heard: Result<Heard, Over>) {
        let Ok(Heard { datagrams, messages, closed }) = heard else {
            return self.end_association(from, false);
        };
        self.send_records(from, &datagrams, IpHeader::default());
        for message in &messages {
            self.judge_message(tick, from, message);
        }
        if closed {
            self.end_association(from, true);
        }
    }

    fn judge_message(&mut self, tick: Tick, from: FiveTuple, message: &[u8]) {
        let slot = &mut *self.slot;
        match forward::from_client(&slot.table, tick, &from, IpHeader::default(), message) {
            FromClient::ToPeer { relay, peer, data, header } => {
                let len = data.len();
                // What waits to leave refers to the batch; this must not wait for what comes into its place.
                self.inbound[..len].copy_from_slice(data);
                let heading = Heading { header, ..Heading::to(peer.socket()) };
                let bytes = Bytes::Inbound { range: 0..len };
                self.egress.push(departure_to(&mut slot.path, relay, heading, bytes, len));
                self.flush();
            }
            FromClient::LiveRequest => {
                hand_up(&mut slot.live, &slot.stats, from, message);
                slot.dtls.note_request(tick, &from, true);
            }
            FromClient::StrangerRequest => self.greet_over_dtls(tick, from, message),
            FromClient::Drop(reason) => slot.stats.count_drop(reason),
        }
    }

    /// A stranger's request. Its source showed a cookie, so no budget holds for it.
    fn greet_over_dtls(&mut self, tick: Tick, from: FiveTuple, message: &[u8]) {
        let slot = &mut *self.slot;
        let mut out = [0; limits::RESPONSE_MAX];
        match slot.challenger.greet(tick, &from, message, &mut out) {
            Greeting::Answer { len, code, to: _ } => {
                slot.stats.count_answer(code);
                slot.dtls.note_request(tick, &from, false);
                self.say_over_dtls(from, &out[..len], IpHeader::default());
            }
            Greeting::ToControl => {
                hand_up(&mut slot.fresh, &slot.stats, from, message);
                slot.dtls.note_request(tick, &from, true);
            }
            Greeting::Malformed => slot.stats.count_drop(DropReason::StrangerMalformed),
        }
    }

    /// Sends one message to a client; answers whether it left.
    pub(super) fn say_over_dtls(&mut self, to: FiveTuple, message: &[u8], header: IpHeader) -> bool {
        if message.len() > MESSAGE_MAX {
            self.slot.stats.count_drop(DropReason::TooLarge);
            return false;
        }
        match self.slot.dtls.say(&to, message) {
            Some(Ok(heard)) => self.send_records(to, &heard.datagrams, header),
            Some(Err(Over)) => {
                self.end_association(to, false);
                false
            }
            None => {
                self.slot.stats.count_drop(DropReason::SendFailed);
                false
            }
        }
    }

    /// Sends a peer's data, `data_len` bytes of it, to a client.
    pub(super) fn relay_over_dtls(
        &mut self,
        to: FiveTuple,
        place: usize,
        frame: std::ops::Range<usize>,
        data_len: usize,
    ) {
        let message = self.batch.bytes(place, frame).to_vec();
        if self.say_over_dtls(to, &message, IpHeader::default()) {
            self.slot.stats.to_clients.add(1, data_len as u64);
        }
    }

    fn send_records(&mut self, to: FiveTuple, datagrams: &[Vec<u8>], header: IpHeader) -> bool {
        let slot = &mut *self.slot;
        let Some((_, door)) = slot.door_of(to.server) else {
            slot.stats.count_drop(DropReason::SendFailed);
            return false;
        };
        let heading = door.heading_to(&to, header);
        let departing = datagrams.iter().map(|bytes| Departing::new(bytes, &heading));
        let mut failed = 0;
        self.sender.send(&door.listener, departing, |_, _| failed += 1);
        (0..failed).for_each(|_| slot.stats.count_drop(DropReason::SendFailed));
        failed == 0
    }

    /// Ends an association. If the control task may know of its client, it hears of it.
    fn end_association(&mut self, from: FiveTuple, tell: bool) {
        let slot = &mut *self.slot;
        let Some((last, asked)) = slot.dtls.end(&from, tell) else { return };
        slot.stats.dtls.ended.add(1);
        slot.stats.dtls.associations.set(slot.dtls.len() as u64);
        if asked || slot.table.has_client(&from) {
            slot.streams.gone.push_back(from);
        }
        self.send_records(from, &last.datagrams, IpHeader::default());
    }

    /// Handshakes that wait for an answer in vain say it again; associations that have had no allocation and asked for
    /// nothing for too long end.
    pub(super) fn look_after_dtls(&mut self) {
        let slot = &mut *self.slot;
        let tick = slot.tick();
        let look_ms = LOOK.as_millis() as u64;
        if slot.dtls.len() == 0 || tick.as_millis() < slot.dtls_looked_ms + look_ms {
            return;
        }
        slot.dtls_looked_ms = tick.as_millis();
        for (from, heard) in slot.dtls.due(Instant::now()) {
            self.attend(tick, from, heard);
        }
        let slot = &mut *self.slot;
        let table = &slot.table;
        for from in slot.dtls.idle(tick, |from| table.has_client(from)) {
            self.end_association(from, true);
        }
    }
}
