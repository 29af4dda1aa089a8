//! What a run is to be. It goes to the process that carries it out as JSON, in the folder of the run.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::testbed::Place;
use crate::testbed::scenario::Link;

use super::addresses::Side;

/// What a run is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where the sides stand: left, right.
    pub places: [Place; 2],
    /// What lies between each and the internet.
    pub links: [Link; 2],
    /// The two programs with their arguments.
    pub commands: [Vec<String>; 2],
    /// How long the programs may take together. What still runs then is ended.
    pub timeout: Duration,
    /// What chance is drawn from.
    pub seed: u64,
    /// Where what the programs and the server print is kept; without it, nowhere.
    pub logs: Option<PathBuf>,
    /// What the server does wrong; without it, nothing.
    pub script: Option<Script>,
    /// Where a capture, the logs and what came of it are kept; without it, nowhere.
    pub record: Option<PathBuf>,
    /// What the NAT next to each program is made of.
    pub nats: NatBy,
}

/// What a NAT is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatBy {
    /// The model that the virtual laboratory has, too.
    #[default]
    Model,
    /// The kernel's own (nftables).
    Kernel,
}

impl NatBy {
    /// In reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Kernel => "kernel",
        }
    }
}

/// A scenario with faults, as it was written, and how the server and the programs are to play it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The name of the scenario.
    pub name: String,
    /// The text of its file.
    pub text: String,
    /// The longest lifetime that the server grants, in seconds; without it what is usual.
    pub lifetime_s: Option<u32>,
    /// How long the call has to last, in seconds, so that the verdict falls before its end.
    pub hold_s: u64,
}

impl Script {
    /// The user name with which a client on this side chooses the scenario.
    #[must_use]
    pub fn user(&self, side: Side) -> String {
        format!("{}.{}", self.name, side.name())
    }

    fn to_json(&self) -> Value {
        let Self { name, text, lifetime_s, hold_s } = self;
        json!({ "name": name, "text": text, "lifetime_s": lifetime_s, "hold_s": hold_s })
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            text: value["text"].as_str()?.to_owned(),
            lifetime_s: value["lifetime_s"].as_u64().and_then(|seconds| u32::try_from(seconds).ok()),
            hold_s: value["hold_s"].as_u64()?,
        })
    }
}

impl Plan {
    /// A call between these places by our own agents, with nothing wrong.
    #[cfg(test)]
    pub(super) fn between(places: [Place; 2]) -> Self {
        Self {
            places,
            links: Default::default(),
            commands: Default::default(),
            timeout: Duration::ZERO,
            seed: 1,
            logs: None,
            script: None,
            record: None,
            nats: NatBy::Model,
        }
    }

    /// As text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "places": self.places.map(Place::name),
            "links": self.links.each_ref().map(link_to_json),
            "commands": self.commands,
            "timeout_ms": u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            "seed": self.seed,
            "logs": self.logs.as_ref().map(|logs| logs.to_string_lossy()),
            "script": self.script.as_ref().map(Script::to_json),
            "record": self.record.as_ref().map(|record| record.to_string_lossy()),
            "nats": self.nats.name(),
        })
    }

    /// `None` for what is no plan.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let place = |at: usize| value["places"][at].as_str()?.parse().ok();
        let command = |at: usize| {
            let words = value["commands"][at].as_array()?.iter();
            words.map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        Some(Self {
            places: [place(0)?, place(1)?],
            links: [link_from_json(&value["links"][0])?, link_from_json(&value["links"][1])?],
            commands: [command(0)?, command(1)?],
            timeout: Duration::from_millis(value["timeout_ms"].as_u64()?),
            seed: value["seed"].as_u64()?,
            logs: value["logs"].as_str().map(PathBuf::from),
            script: match &value["script"] {
                Value::Null => None,
                script => Some(Script::from_json(script)?),
            },
            record: value["record"].as_str().map(PathBuf::from),
            nats: [NatBy::Model, NatBy::Kernel].into_iter().find(|nats| value["nats"] == nats.name())?,
        })
    }
}

fn link_to_json(link: &Link) -> Value {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    json!({
        "loss_ppm": link.loss_ppm,
        "duplication_ppm": link.duplication_ppm,
        "reorder_ppm": link.reorder_ppm,
        "delay_us": micros(link.delay),
        "jitter_us": micros(link.jitter),
        "rate": link.rate,
    })
}

fn link_from_json(value: &Value) -> Option<Link> {
    let ppm = |name: &str| value[name].as_u64().and_then(|ppm| u32::try_from(ppm).ok());
    let span = |name: &str| value[name].as_u64().map(Duration::from_micros);
    Some(Link {
        loss_ppm: ppm("loss_ppm")?,
        duplication_ppm: ppm("duplication_ppm")?,
        reorder_ppm: ppm("reorder_ppm")?,
        delay: span("delay_us")?,
        jitter: span("jitter_us")?,
        rate: value["rate"].as_u64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_as_it_was() {
        let link = Link {
            loss_ppm: 1,
            duplication_ppm: 2,
            reorder_ppm: 3,
            delay: Duration::from_micros(4),
            jitter: Duration::from_millis(5),
            rate: Some(6),
        };
        let plan = Plan {
            places: [Place::Cgn, Place::Only443],
            links: [link, Link::default()],
            commands: [vec!["a".into(), "b c".into()], vec!["d".into()]],
            timeout: Duration::from_secs(7),
            seed: u64::MAX,
            logs: Some("logs".into()),
            script: Some(Script {
                name: "a.b".into(),
                text: "about = \"x\"\n".into(),
                lifetime_s: Some(10),
                hold_s: 8,
            }),
            record: Some("record".into()),
            nats: NatBy::Kernel,
        };
        let text = plan.to_json().to_string();
        assert_eq!(Plan::from_json(&text.parse().expect("JSON")), Some(plan));
        assert_eq!(Plan::from_json(&json!({"places": ["open", "nowhere"]})), None);
    }
}
