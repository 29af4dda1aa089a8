//! One call: what it is made with, and what came of it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the agents' clock has to begin at some instant"
)]

use std::time::Duration;
use std::time::Instant;

use crate::ice::Clock;
use crate::ice::Event;
use crate::ice::Input;
use crate::ice::Policy;
use crate::ice::Role;
use crate::place::SETTLING;
use crate::proto::client::ProxyLogin;
use crate::proto::types::Secret;
use crate::testbed::Place;
use crate::testbed::Verdict;
use crate::testbed::edge::Note;
use crate::testbed::expected;
use crate::testbed::proxy::Rules;
use crate::testbed::record::Sighting;
use crate::testbed::report::Run;
use crate::testbed::scenario::Link;
use crate::testbed::scenario::Scenarios;

use super::caller::Caller;
use super::clock::Micros;
use super::clock::SECOND;
use super::clock::micros;
use super::machine::Machine;
use super::places::PORT_TLS;
use super::places::Site;
use super::world::World;
use crate::proto::types::Dice;

/// The password of every user of the laboratory.
const PASSWORD: &[u8] = b"a password of the laboratory";
/// What has been sent by then arrives, by however bad a link, or never does.
const DRAIN: Micros = 10 * SECOND;
/// Of the media of so long a time before it ends the route decides.
const JUDGED: Micros = 2 * SECOND;
/// How long servers may take to take back what they gave: one that does not answer is given up after 39.5 s.
const CLOSING: Micros = 60 * SECOND;
/// A call that neither connected nor failed by then is over all the same.
const CALL_MAX: Micros = 180 * SECOND;

/// What a call is made with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the left client and the right one stand.
    pub places: [Place; 2],
    /// What every chance is drawn from: the same plan gives the same run, to the byte.
    pub seed: u64,
    /// What lies between each place and the internet.
    pub links: [Link; 2],
    /// How long a word of one client takes to the other.
    pub signalling: Duration,
    /// How long media flows after the last change of path. A call that is relayed by then goes on for a while with less of it,
    /// in case that it becomes direct.
    pub media: Duration,
    /// Which candidates each client uses.
    pub policies: [Policy; 2],
    /// The users' names, which may choose a scenario.
    pub users: [String; 2],
    /// How the server misbehaves.
    pub scenarios: Scenarios,
    /// As whom the clients ask the proxy.
    pub login: Option<ProxyLogin>,
    /// Who may use it; `None`: anybody.
    pub proxy: Option<ProxyLogin>,
    /// Whether it is kept what each point of the laboratory saw.
    pub records: bool,
    /// Both clients go on sending without consent: wrong ones, for tests.
    #[cfg(test)]
    pub(crate) ignores_consent: bool,
}

impl Plan {
    /// A call between two places over good links, with a server that behaves.
    #[must_use]
    pub fn new(left: Place, right: Place, seed: u64) -> Self {
        let link = Link { delay: Duration::from_millis(10), ..Link::default() };
        Self {
            places: [left, right],
            seed,
            links: [link; 2],
            signalling: Duration::from_millis(50),
            media: Duration::from_secs(5),
            policies: [Policy::All; 2],
            users: ["left".to_owned(), "right".to_owned()],
            scenarios: Scenarios::default(),
            login: None,
            proxy: None,
            records: false,
            #[cfg(test)]
            ignores_consent: false,
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict, with its figures.
    pub run: Run,
    /// What the left agent and the right one told, and when.
    pub events: [Vec<(Duration, Event)>; 2],
    /// What the server's saboteur told.
    pub notes: Vec<Note>,
    /// Relay sockets that the server still has when both agents have closed.
    pub relays: usize,
    /// What was seen, if it was kept.
    pub sightings: Vec<Sighting>,
    /// Every byte that left anybody, and when, folded into a number.
    pub digest: u64,
}

/// Makes a call.
#[must_use]
pub fn call(plan: &Plan) -> Outcome {
    let mut world = world(plan);
    world.begin();
    let media = micros(plan.media);
    world.media.busy = media;
    world.run(CALL_MAX, |world| {
        let is_settled = |world: &World| {
            let both = world.callers.iter().all(|caller| caller.connected.is_some());
            let switched = world.callers.iter().map(|caller| caller.switched).max().unwrap_or_default();
            let is_direct = |caller: &Caller| caller.agent.path().is_some_and(|path| !path.is_relayed());
            both && world.micros >= switched + media
                && (world.micros >= switched + micros(SETTLING) || world.callers.iter().all(is_direct))
        };
        world.callers.iter().any(|caller| caller.has_failed) || is_settled(world)
    });
    let ended = world.micros;
    world.media.is_over = true;
    world.run(ended + DRAIN, |_| false);
    let run = judge(plan, &world, ended);
    (0..2).for_each(|side| world.input(side, Input::Close));
    let until = world.micros + CLOSING;
    world.run(until, |world| world.callers.iter().all(|caller| caller.is_closed));
    let told = |(at, event)| (Duration::from_micros(at), event);
    let World { callers, machine, record, digest, .. } = world;
    Outcome {
        run,
        events: callers.map(|caller| caller.events.into_iter().map(told).collect()),
        relays: machine.relays(),
        notes: machine.notes,
        sightings: record.unwrap_or_default(),
        digest,
    }
}

fn world(plan: &Plan) -> World {
    let mut dice = Dice::new(plan.seed);
    let sites = [0, 1].map(|side: u8| {
        let at = usize::from(side);
        Site::new(side, plan.places[at], plan.links[at], &mut dice)
    });
    // Only differences of it count.
    let clock = Clock::starting_at(Instant::now());
    let password = Secret::new(PASSWORD);
    let callers = [Role::Controlling, Role::Controlled].map(|role| {
        let side = usize::from(role == Role::Controlled);
        let (policy, user, host) = (plan.policies[side], &plan.users[side], sites[side].host);
        let mut caller = Caller::new(role, policy, user, &password, clock, host, &mut dice);
        caller.login = plan.login.clone();
        #[cfg(test)]
        caller.agent.ignore_consent(plan.ignores_consent);
        caller
    });
    let machine = Machine::new(password, plan.scenarios.clone(), &mut dice);
    let mut world = World::new(sites, callers, machine, micros(plan.signalling), plan.records);
    world.rules = Rules { login: plan.proxy.clone(), ports: vec![PORT_TLS] };
    world
}

/// What the media of the last second says.
fn judge(plan: &Plan, world: &World, ended: Micros) -> Run {
    let mut notes = Vec::new();
    let names = ["left", "right"];
    for (caller, name) in world.callers.iter().zip(names) {
        notes.extend(caller.events.iter().filter_map(|(_, event)| match event {
            Event::Failed(why) => Some(format!("the {name} agent failed: {}", why.word())),
            _ => None,
        }));
    }
    let both = world.callers.iter().map(|caller| caller.connected).collect::<Option<Vec<_>>>();
    let connected = both.and_then(|both| both.into_iter().max());
    let since = ended.saturating_sub(JUDGED);
    let routes = [0, 1].map(|side| world.media.route(side, since));
    if world.stands_still {
        notes.push("the laboratory stood still: somebody is never done".to_owned());
    }
    let verdict = match routes {
        _ if world.stands_still || world.callers.iter().any(|caller| caller.has_failed) => Verdict::Failed,
        // A relay on either way is a relay.
        [Some(one), Some(other)] => one.max(other),
        _ => {
            let mute = routes.iter().zip(names).filter(|(route, _)| route.is_none());
            notes.extend(mute.map(|(_, name)| format!("media of the {name} side does not arrive")));
            Verdict::Failed
        }
    };
    let [left, right] = plan.places;
    Run {
        left,
        right,
        seed: plan.seed,
        verdict,
        expected: Some(expected(left, right)),
        connected: connected.map(Duration::from_micros),
        traffic: world.media.traffic(),
        notes,
        flight: world.flight(&plan.users),
    }
}
