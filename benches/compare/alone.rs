//! The program of a path in the kernel, alone: what one frame costs in it, without drivers and sockets. `tests/run kernel` prints
//! the same by the same functions, for each direction and with and without limits.

use swingbridge::relay::kernel::Mode;

use super::cost;
use super::cost::Ends;
use super::jobs::Metric;
use super::lines;
use super::machine::as_the_wire;
use super::measure::Taken;
use super::topology::Namespace;

/// Measures it with every check on: both buckets are drawn from. Of the two directions the dearer counts.
///
/// # Errors
/// What is in the way, in a sentence.
pub(crate) fn alone(path: &str, is_v6: bool) -> Result<Taken, String> {
    let (mode, ends) =
        (if path == lines::XDP { Mode::Xdp } else { Mode::Tc }, if is_v6 { Ends::V6 } else { Ends::V4 });
    let network = Namespace::make("alone", 0)?;
    for line in cost::NETWORK.lines().map(str::trim).filter(|line| !line.is_empty()) {
        network.ip(line)?;
    }
    let measure = || -> Result<u128, String> {
        let ground = cost::Ground::new(mode, true).map_err(|refused| refused.to_string())?;
        let ways = ends.frames().map(|(_, frame)| ground.cost(&frame));
        let mut dearer = 0;
        for cost in ways {
            dearer = dearer.max(cost?.median_ns);
        }
        Ok(dearer)
    };
    let dearer = as_the_wire(Some(&network.name), measure)??;
    let mut taken = Taken::default();
    taken.figures.push((Metric::Cpu, dearer as f64));
    Ok(taken)
}
