//! Between which NATs pairs of agents are made, and by which ways they reach the server, of the command line.

use std::time::Duration;

use crate::cli::args::LoadArgs;
use crate::load::Fault;
use crate::load::fault::FaultKind;
use crate::load::nats::Nats;
use crate::load::plan::Carrier;
use crate::load::plan::Server;
use crate::place::Place;
use crate::place::SETTLING;

/// Stands for every pair of places.
const ALL: &str = "all";

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Request, what)
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The pairs of places, each once.
    pub(super) places: Vec<[Place; 2]>,
    /// How long a relayed pair may yet become direct.
    pub(super) settling: Duration,
}

/// The pairs of places that were asked for, each once, and how long a relayed pair may yet become direct.
///
/// # Errors
/// Where one is none, or something was asked for that does not go with NATs.
pub(super) fn asked(args: &LoadArgs) -> Result<Option<Asked>, Fault> {
    let mut places = Vec::new();
    for text in &args.amount.nat {
        let more = if text == ALL { every() } else { vec![pair(text)?] };
        for pair in more {
            if !places.contains(&pair) {
                places.push(pair);
            }
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    if !args.machine.source.is_empty() {
        return Err(wrong("--source says nothing beside --nat: each agent has addresses of its own")
            .cure("leave it out"));
    }
    Ok(Some(Asked { places, settling: args.amount.settle.unwrap_or(SETTLING) }))
}

fn every() -> Vec<[Place; 2]> {
    Place::ALL.iter().flat_map(|left| Place::ALL.map(|right| [*left, right])).collect()
}

fn pair(text: &str) -> Result<[Place; 2], Fault> {
    let Some((left, right)) = text.split_once(':') else {
        return Err(wrong(format!("--nat {text} is no pair of places"))
            .cure("write --nat LEFT:RIGHT, such as symmetric:cgn, or --nat all"));
    };
    let place = |word: &str| word.parse::<Place>().map_err(|error| wrong(format!("--nat {text}: {error}")));
    Ok([place(left)?, place(right)?])
}

/// What the plan has of it. Of `servers` the first stays, and the others become further ways to it; a proxy becomes one more.
///
/// # Errors
/// Where a proxy has nothing to lead to.
pub(super) fn between(asked: Asked, servers: &mut Vec<Server>) -> Result<Nats, Fault> {
    let proxy = servers.first().and_then(|server| server.proxy.clone());
    servers.iter_mut().for_each(|server| server.proxy = None);
    let mut ways = servers.split_off(servers.len().min(1));
    if let Some(proxy) = proxy {
        let all = || servers.iter().chain(&ways);
        // A proxy of a company lets tunnels to TLS through, if anything.
        let by = |carrier: Carrier| all().find(|server| server.carrier == carrier);
        let Some(server) = by(Carrier::Tls).or_else(|| by(Carrier::Tcp)).cloned() else {
            return Err(wrong("a proxy takes connections alone, and no URI is over TCP or TLS")
                .cure("write the server's URI over TLS too, such as turns:127.0.0.1:443"));
        };
        ways.push(Server { proxy: Some(proxy), ..server });
    }
    Ok(Nats { places: asked.places, ways, settling: asked.settling, is_unfiltered: false })
}

#[cfg(test)]
mod tests {
    use crate::load::plan::Proxy;
    use crate::load::plan::Trust;
    use crate::load::plan::Who;
    use crate::proto::client::HttpProxy;

    use super::*;

    fn server(uri: &str, carrier: Carrier, proxy: Option<&Proxy>) -> Server {
        Server {
            uri: uri.to_owned(),
            host: "127.0.0.1".to_owned(),
            address: "127.0.0.1:3478".parse().expect("a literal"),
            carrier,
            who: Who::Many(Vec::new()),
            trust: Trust::System,
            watch: None,
            proxy: proxy.cloned(),
        }
    }

    #[test]
    fn further_uris_are_further_ways_and_a_proxy_is_one_more_to_the_safest() {
        let asked = || Asked { places: vec![[Place::Open; 2]], settling: SETTLING };
        let proxy = Proxy {
            url: HttpProxy::parse("http://127.0.0.9:3128").expect("a proxy"),
            address: "127.0.0.9:3128".parse().expect("a literal"),
        };
        let all = [("u", Carrier::Udp), ("t", Carrier::Tcp), ("s", Carrier::Tls)];
        for (given, has_proxy, ways) in [
            (&all[..], false, &["t", "s"][..]),
            (&all[..], true, &["t", "s", "s by proxy"]),
            (&all[..2], true, &["t", "t by proxy"]),
            (&all[..1], false, &[]),
        ] {
            let proxy = has_proxy.then_some(&proxy);
            let mut servers: Vec<_> =
                given.iter().map(|(uri, carrier)| server(uri, *carrier, proxy)).collect();
            let nats = between(asked(), &mut servers).expect("it is sound");
            let name = |way: &Server| way.uri.clone() + if way.proxy.is_some() { " by proxy" } else { "" };
            assert_eq!(nats.ways.iter().map(name).collect::<Vec<_>>(), ways);
            assert!(servers.len() == 1 && servers[0].uri == "u" && servers[0].proxy.is_none());
        }
        let fault = between(asked(), &mut vec![server("u", Carrier::Udp, Some(&proxy))]).expect_err("no way");
        assert!(fault.what.contains("a proxy takes connections alone"), "{fault}");
    }
}
