//! Judges one kind of wrong credential so many times, and does nothing else: `authenticate unknown|wrong|none TIMES`.
//! Under callgrind the difference of two runs is what one judgement costs in instructions, which no clock disturbs.

use std::hint::black_box;
use std::time::Duration;

use swingbridge::proto::auth::challenge::Challenger;
use swingbridge::proto::auth::challenge::authenticate;
use swingbridge::proto::auth::credential::CredentialConfig;
use swingbridge::proto::auth::credential::Credentials;
use swingbridge::proto::auth::integrity_key::PasswordAlgorithm;
use swingbridge::proto::auth::integrity_key::integrity_key;
use swingbridge::proto::auth::nonce::NonceKey;
use swingbridge::proto::auth::token::TokenConfig;
use swingbridge::proto::binding::Discovery;
use swingbridge::proto::types::ClientAddr;
use swingbridge::proto::types::Entropy;
use swingbridge::proto::types::FiveTuple;
use swingbridge::proto::types::Now;
use swingbridge::proto::types::Secret;
use swingbridge::proto::types::ServerAddr;
use swingbridge::proto::types::Transport;
use swingbridge::proto::types::Username;
use swingbridge::proto::types::limits::RESPONSE_MAX;
use swingbridge::proto::wire::Method;
use swingbridge::proto::wire::TransactionId;
use swingbridge::proto::wire::rfc8656::attributes;
use swingbridge::proto::wire::rfc8656::decode::decode_request;
use swingbridge::proto::wire::rfc8656::encode::MessageWriter;
use swingbridge::proto::wire::rfc8656::encode::encode_response;
use swingbridge::proto::wire::rfc8656::framing::COOKIE;
use swingbridge::proto::wire::rfc8656::integrity::Algorithm;
use swingbridge::proto::wire::rfc8656::integrity::Signature;

const REALM: &str = "swingbridge";
const KNOWN: &[u8] = b"user-0500";
const UNKNOWN: &[u8] = b"mallory-1";

struct Fixed(u8);

impl Entropy for Fixed {
    fn fill_secret(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(37).wrapping_add(11);
            *byte = self.0;
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().expect("unknown, wrong or none");
    let times: u32 = arguments.next().expect("how often").parse().expect("a number");
    let credentials = Credentials::new(CredentialConfig {
        realm: REALM.into(),
        users: (0..1_000)
            .map(|number| (Username::new(format!("user-{number:04}").as_bytes()), Secret::new(*b"right")))
            .collect(),
        secrets: vec![Secret::new(*b"first secret"), Secret::new(*b"second secret")],
        lifetime_max_s: 28_800,
        tokens: TokenConfig::default(),
        mras: Vec::new(),
    });
    let challenger = Challenger {
        realm: REALM.into(),
        nonce_key: NonceKey::generate(&mut Fixed(1)),
        nonce_lifetime: Duration::from_secs(3_600),
        discovery: Discovery::default(),
        third_party: None,
        legacy: false,
    };
    let from = FiveTuple {
        client: ClientAddr::new(([192, 0, 2, 1], 50_000).into()),
        server: ServerAddr::new(([198, 51, 100, 1], 3_478).into()),
        transport: Transport::Udp,
    };
    let now = Now { since_start: Duration::from_secs(5), unix: 1_800_000_000 };
    let name = if case == "unknown" { UNKNOWN } else { KNOWN };
    let request = request(&challenger, now, &from, name);
    for _ in 0..times {
        if case != "none" {
            black_box(judge(&challenger, &credentials, now, &from, black_box(&request)));
        }
    }
}

/// What the control thread does with it: decode, authenticate, refuse. Answers the bytes of the refusal.
fn judge(
    challenger: &Challenger,
    credentials: &Credentials,
    now: Now,
    from: &FiveTuple,
    bytes: &[u8],
) -> usize {
    let request = decode_request(bytes).expect("a request");
    let refusal =
        authenticate(challenger, credentials, now, from, &request, None).expect_err("a wrong password");
    let nonce = challenger.nonce_key.mint(now.tick(), from);
    let response = challenger.refusal_response(&request, &refusal, &nonce);
    let mut out = [0; RESPONSE_MAX];
    encode_response(&response, None, request.fingerprint, &mut out).expect("room")
}

/// An Allocate signed with a wrong password.
fn request(challenger: &Challenger, now: Now, from: &FiveTuple, name: &[u8]) -> Vec<u8> {
    let mut transaction = [7; 16];
    transaction[..4].copy_from_slice(&COOKIE);
    let nonce = challenger.nonce_key.mint(now.tick(), from);
    let key = integrity_key(PasswordAlgorithm::Md5, name, REALM.as_bytes(), b"wrong");
    let mut out = [0; RESPONSE_MAX];
    let mut writer = MessageWriter::request(&mut out, Method::Allocate, TransactionId(transaction));
    writer
        .attribute(attributes::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
        .attribute(attributes::USERNAME, name)
        .attribute(attributes::REALM, REALM.as_bytes())
        .attribute(attributes::NONCE, &nonce.0)
        .integrity(Signature { key: &key, algorithm: Algorithm::Sha1 });
    let len = writer.finish().expect("room");
    out[..len].to_vec()
}
