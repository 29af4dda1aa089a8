//! Reading, verifying and writing messages takes nothing from the heap.
#![allow(unsafe_code, reason = "an allocator can only be counted from within one")]

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::alloc::System;
use std::cell::Cell;

use swingbridge::proto::types::ChannelNumber;
use swingbridge::proto::types::Lifetime;
use swingbridge::proto::types::PeerAddr;
use swingbridge::proto::types::RelayAddr;
use swingbridge::proto::wire::ErrorCode;
use swingbridge::proto::wire::Method;
use swingbridge::proto::wire::Outcome;
use swingbridge::proto::wire::Response;
use swingbridge::proto::wire::TransactionId;
use swingbridge::proto::wire::channel_data;
use swingbridge::proto::wire::classify::classify;
use swingbridge::proto::wire::indication;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::decode::decode_response;
use swingbridge::proto::wire::rfc8656::encode::MessageWriter;
use swingbridge::proto::wire::rfc8656::encode::encode_response;
use swingbridge::proto::wire::rfc8656::integrity::Algorithm;
use swingbridge::proto::wire::rfc8656::integrity::MacKey;
use swingbridge::proto::wire::rfc8656::integrity::Signature;

thread_local! {
    /// Allocations of this thread; the test harness has threads of its own.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that is going away has no counter any more; its allocations are nobody's.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed on to `System` as it came; the counter allocates nothing, being a const-initialised
// thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `pointer` came from `System` with `layout`; the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(body: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    body();
    ALLOCATIONS.get() - before
}

const TRANSACTION: TransactionId = TransactionId::with_cookie(*b"transaction!");

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1, 2, 3]))) > 0);
}

#[test]
fn a_request_is_built_read_and_verified_without_the_heap() {
    let key = MacKey::new(b"key");
    let mut out = [0; 1_024];
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
        let taken = allocations(|| {
            let mut writer = MessageWriter::request(&mut out, Method::CreatePermission, TRANSACTION);
            writer
                .attribute(attributes::USERNAME, b"1800000000:alice")
                .attribute(attributes::REALM, b"edge.example.net")
                .attribute(attributes::NONCE, b"obMatJos2AAABaaaaaaaaaaaaaaa")
                .attribute(0x7FFF, b"unknown")
                .peer(PeerAddr::new(([192, 0, 2, 1], 7).into()))
                .peer(PeerAddr::new(([192, 0, 2, 2], 7).into()))
                .integrity(Signature { key: &key, algorithm })
                .fingerprint();
            let len = writer.finish().unwrap();
            let read = decode_request(&out[..len]).unwrap();
            assert!(read.auth.integrity.verify(&key));
            assert_eq!((read.peers.iter().count(), read.unknown.as_slice().len()), (2, 1));
        });
        assert_eq!(taken, 0, "{algorithm:?}");
    }
}

#[test]
fn an_answer_is_built_read_and_verified_without_the_heap() {
    let key = MacKey::new(b"key");
    let mut out = [0; 1_024];
    for algorithm in [Algorithm::Sha1, Algorithm::Sha256] {
        let taken = allocations(|| {
            let mut response = Response::new(Method::Allocate, TRANSACTION, Outcome::Success);
            response.mapped_address = Some(([192, 0, 2, 1], 32_853).into());
            response.relayed_address = Some(RelayAddr::new(([203, 0, 113, 7], 50_000).into()));
            response.lifetime = Some(Lifetime::from_secs(600));
            response.software = Some("Swingbridge");
            let len =
                encode_response(&response, Some(Signature { key: &key, algorithm }), true, &mut out).unwrap();
            assert!(decode_response(&out[..len]).unwrap().integrity.verify(&key));

            response = Response::new(Method::Allocate, TRANSACTION, Outcome::Error(ErrorCode::StaleNonce));
            response.realm = Some(b"realm");
            response.nonce = Some(b"nonce");
            assert!(encode_response(&response, None, true, &mut out).is_ok());
        });
        assert_eq!(taken, 0, "{algorithm:?}");
    }
}

#[test]
fn media_is_framed_and_unframed_without_the_heap() {
    let peer = PeerAddr::new(([192, 0, 2, 1], 7).into());
    let mut send = [0; 2_048];
    let mut writer = MessageWriter::new(
        &mut send,
        swingbridge::proto::wire::rfc8656::framing::MessageClass::Indication,
        Method::Unknown(indication::SEND),
        TRANSACTION,
    );
    let len = writer.peer(peer).attribute(attributes::DATA, &[7; 1_200]).finish().unwrap();
    let mut channel = [0; 1_204];
    channel[..4].copy_from_slice(&channel_data::header(ChannelNumber::MIN, 1_200));
    let mut headroom = [0; indication::DATA_HEADER_MAX];

    let taken = allocations(|| {
        std::hint::black_box(classify(&send[..len], None));
        assert_eq!(indication::decode_send(&send[..len]).unwrap().data.len(), 1_200);
        assert_eq!(channel_data::decode(&channel).unwrap().1.len(), 1_200);
        assert!(indication::write_data_header(&mut headroom, TRANSACTION, peer, 1_200).is_ok());
    });
    assert_eq!(taken, 0);
}

#[test]
fn garbage_is_refused_without_the_heap() {
    let garbage = [0xA5; 1_200];
    let taken = allocations(|| {
        for len in 0..garbage.len() {
            assert!(decode_request(&garbage[..len]).is_err());
            assert!(decode_response(&garbage[..len]).is_err());
            assert!(indication::decode_send(&garbage[..len]).is_err());
        }
    });
    assert_eq!(taken, 0);
}
