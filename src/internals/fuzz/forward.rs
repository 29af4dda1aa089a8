//! The packet path: a table is built from the input, clients and peers send through it, and the naive model of
//! `proto::media` must come to the same verdicts.

use crate::proto::media::model;
use crate::proto::media::model::Step;

use super::choices::Choices;
use super::mend::mended;

/// Steps of one input: the model searches lists, so more would only be slower.
const STEPS_MAX: usize = 200;

pub(super) fn body(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (strict, dual) = (choices.flag(), choices.flag());
    let mut steps = Vec::new();
    while !choices.is_over() && steps.len() < STEPS_MAX {
        steps.push(step(&mut choices));
    }
    model::agree(strict, dual, steps);
}

/// One of the model's steps, or bytes that may be anything.
fn step(choices: &mut Choices<'_>) -> Step {
    match choices.below(8) {
        0..=4 => Step::draw(&mut |bound| choices.below(bound)),
        5 => {
            let client = model::draw_client(&mut |bound| choices.below(bound));
            Step::FromClient(client, bytes(choices).to_vec())
        }
        6 => {
            let client = model::draw_client(&mut |bound| choices.below(bound));
            Step::FromClient(client, mended(bytes(choices), b""))
        }
        _ => {
            let relay = model::draw_relay(&mut |bound| choices.below(bound));
            let peer = model::draw_peer(&mut |bound| choices.below(bound));
            Step::FromPeer(relay, peer, bytes(choices).to_vec())
        }
    }
}

fn bytes<'a>(choices: &mut Choices<'a>) -> &'a [u8] {
    let len = usize::from(choices.byte());
    choices.take(len)
}
