//! webrtc-rs's ICE agents call each other through the NATs of `webrtc_util::vnet`, with our server between them, and each call
//! ends as the standards say. How it ended is what the internet of the virtual network saw, not what an agent says.
//!
//! `swingbridge-vnet`: prints a line for each pair of NATs, and ends with an error if one is not as expected.

mod agent;
mod server;
mod world;

use std::error::Error;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::timeout;
use webrtc_util::vnet::nat::EndpointDependencyType;
use webrtc_util::vnet::nat::EndpointDependencyType::EndpointAddrDependent;
use webrtc_util::vnet::nat::EndpointDependencyType::EndpointAddrPortDependent;
use webrtc_util::vnet::nat::EndpointDependencyType::EndpointIndependent;
use webrtc_util::vnet::nat::NatType;

use agent::Caller;
use world::Seen;
use world::World;

type Failure = Box<dyn Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

/// A name, how it maps, how it filters (RFC 4787 §§ 4.1, 5).
type Nat = (&'static str, EndpointDependencyType, EndpointDependencyType);

const FULL_CONE: Nat = ("full-cone", EndpointIndependent, EndpointIndependent);
const ADDRESS_RESTRICTED: Nat = ("address-restricted", EndpointIndependent, EndpointAddrDependent);
const PORT_RESTRICTED: Nat = ("port-restricted", EndpointIndependent, EndpointAddrPortDependent);
const SYMMETRIC: Nat = ("symmetric", EndpointAddrPortDependent, EndpointAddrPortDependent);

/// What the table of docs/testbed.md says of them.
const CASES: [(Nat, Nat, Road); 7] = [
    (FULL_CONE, FULL_CONE, Road::Direct),
    (PORT_RESTRICTED, PORT_RESTRICTED, Road::Direct),
    (SYMMETRIC, FULL_CONE, Road::Direct),
    (ADDRESS_RESTRICTED, SYMMETRIC, Road::Direct),
    (SYMMETRIC, PORT_RESTRICTED, Road::Relayed),
    (PORT_RESTRICTED, SYMMETRIC, Road::Relayed),
    (SYMMETRIC, SYMMETRIC, Road::Relayed),
];

/// How the data of a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Direct,
    Relayed,
}

/// Each side's datagrams of which all but these must arrive.
const MESSAGES: u32 = 50;
const MAY_BE_MISSING: u32 = 5;
/// How long a call may take, which takes five seconds.
const PATIENCE: Duration = Duration::from_secs(12);
const ATTEMPTS_MAX: usize = 5;

fn main() -> Result<()> {
    // All at once, each in a world and on a thread of its own: they wait most of the time.
    let calls = CASES.map(|case| (case, thread::spawn(move || settled(case.0, case.1))));
    let mut wrong = Vec::new();
    for ((left, right, expected), call) in calls {
        match call.join().map_err(|_| "a call panicked")? {
            Ok((road, seen)) if road == expected => {
                println!("{} and {}: {road:?}, {seen:?}", left.0, right.0)
            }
            told => wrong.push(format!("{} and {} are to end {expected:?}: {told:?}", left.0, right.0)),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

/// How a call ended. One that stands still is made again in a new world: the routers of webrtc-util and its hosts wait for each
/// other's locks for ever where a packet goes out as another comes in and either task has used up its turn. A call that ends
/// has ended, however it did.
fn settled(left: Nat, right: Nat) -> Result<(Road, Seen)> {
    for _ in 0..ATTEMPTS_MAX {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(async { timeout(PATIENCE, call(left, right)).await });
        // What stands still is left where it is.
        runtime.shutdown_background();
        if let Ok(ended) = done {
            return ended;
        }
    }
    Err(format!("{ATTEMPTS_MAX} calls stood still").into())
}

/// One call: by which road its data went, and what was seen.
async fn call(left: Nat, right: Nat) -> Result<(Road, Seen)> {
    let world = World::new([left, right].map(|(_, mapping_behavior, filtering_behavior)| NatType {
        mapping_behavior,
        filtering_behavior,
        ..NatType::default()
    }))
    .await?;
    let server = tokio::spawn(server::serve(world.server.clone()));
    let one = Caller::new(&world.clients[0], true).await?;
    let other = Caller::new(&world.clients[1], false).await?;
    one.gather().await?;
    other.gather().await?;
    one.learn(&other).await?;
    other.learn(&one).await?;
    let (to_one, to_other) = (one.credentials().await, other.credentials().await);
    let (here, there) = tokio::try_join!(one.connect(to_other), other.connect(to_one))?;
    let heard = tokio::try_join!(agent::talk(&*here, MESSAGES), agent::talk(&*there, MESSAGES))?;
    if heard.0.min(heard.1) + MAY_BE_MISSING < MESSAGES {
        return Err(format!("of {MESSAGES} datagrams each way {heard:?} arrived").into());
    }
    let seen = world.seen();
    one.close().await?;
    other.close().await?;
    server.abort();
    world.close().await?;
    let road = if seen.relayed == 0 { Road::Direct } else { Road::Relayed };
    if road == Road::Relayed && seen.direct > 0 {
        return Err(format!("data went by both roads: {seen:?}").into());
    }
    Ok((road, seen))
}
