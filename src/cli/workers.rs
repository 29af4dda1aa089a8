//! The workers of `serve`, from the descriptors they will need to the refusal of what they cannot have.

use std::sync::Arc;

use crate::config::Settings;
use crate::relay;
use crate::relay::StartError;
use crate::relay::Tier;
use crate::ring::Wake;

use super::Exit;
use super::explain;
use super::losses::Watched;
use super::serve::bind_cure;
use super::serve::refused;

/// The data plane at work.
pub(super) struct Workers {
    pub(super) handles: Vec<relay::Handle>,
    /// What their requests and reports wake.
    pub(super) wake: Arc<Wake>,
    /// What their relay ports stand on.
    pub(super) tier: Tier,
    pub(super) watched: Watched,
}

/// Starts the workers as `config` says. With `may_leave_out` an address that this machine does not grant is left out.
pub(super) fn start(
    settings: &Settings,
    config: &mut relay::Config,
    may_leave_out: bool,
    warnings: &mut Vec<String>,
) -> Result<Workers, Exit> {
    explain::descriptors(settings, warnings)?;
    let wake = Wake::new().map(Arc::new);
    let wake = wake.map_err(|error| refused(&format!("no event descriptor: {error}")))?;
    let handles = start_workers(config, &wake, may_leave_out, warnings)?;
    let tier = handles.first().map_or(Tier::Sockets, |handle| handle.tier);
    let watched = Watched::of(&handles);
    Ok(Workers { handles, wake, tier, watched })
}

/// Starts the workers. With the embedded defaults an address that this machine does not grant is left out and said
/// aloud; an address that the operator named is an error.
fn start_workers(
    config: &mut relay::Config,
    wake: &Arc<Wake>,
    may_leave_out: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<relay::Handle>, Exit> {
    loop {
        match relay::start(config, wake) {
            Ok(handles) => return Ok(handles),
            Err(StartError::Listen(refusal))
                if may_leave_out && config.listen_udp.len() > 1 && refusal.is_of_this_machine() =>
            {
                warnings.push(format!("left out: {refusal}"));
                config.listen_udp.retain(|address| *address != refusal.address);
            }
            Err(error) => return Err(refused(&format!("{error}{}", cure(&error)))),
        }
    }
}

fn cure(error: &StartError) -> String {
    match error {
        StartError::Listen(refusal) => bind_cure(refusal).to_owned(),
        StartError::Path(refusal) => {
            format!("\n  = help: {}; `serve --explain-path` tells what can be had", refusal.cure)
        }
        StartError::Worker { .. } => String::new(),
    }
}
