//! What this process may do beyond the ordinary, and how it gives that back.

use std::io;

use rustix::system::uname;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use rustix::thread::capabilities;
use rustix::thread::set_capabilities;

/// A privilege that some tier of the path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// To load programs into the kernel.
    Bpf,
    /// To attach them to the network.
    NetAdmin,
    /// To send whole packets, and to hear ICMP errors.
    NetRaw,
    /// To have the kernel take a program whose pointers it cannot guard against speculation.
    Perfmon,
}

impl Capability {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bpf => "CAP_BPF",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::Perfmon => "CAP_PERFMON",
        }
    }

    /// Itself, and what stands for it: on a kernel before 5.8 there is no CAP_BPF and no CAP_PERFMON but in CAP_SYS_ADMIN.
    const fn set(self) -> CapabilitySet {
        match self {
            Self::Bpf => CapabilitySet::BPF.union(CapabilitySet::SYS_ADMIN),
            Self::NetAdmin => CapabilitySet::NET_ADMIN,
            Self::NetRaw => CapabilitySet::NET_RAW,
            Self::Perfmon => CapabilitySet::PERFMON.union(CapabilitySet::SYS_ADMIN),
        }
    }
}

/// Which of `wanted` this thread does not have.
#[must_use]
pub fn missing(wanted: &[Capability]) -> Vec<Capability> {
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    wanted.iter().copied().filter(|one| !effective.intersects(one.set())).collect()
}

/// Gives back everything that some tier may have needed but `kept`, in this thread and in those that it will start: nothing of
/// it can be had again. What else the process may do it keeps, such as to read the files that a reload names. Answers whether
/// there was anything to give back.
///
/// # Errors
/// What the kernel says.
pub fn give_back(kept: &[Capability]) -> io::Result<bool> {
    let all = CapabilitySet::BPF
        | CapabilitySet::NET_ADMIN
        | CapabilitySet::NET_RAW
        | CapabilitySet::PERFMON
        | CapabilitySet::SYS_ADMIN;
    let given = kept.iter().fold(all, |given, one| given - one.set());
    let had = capabilities(None)?;
    if !had.permitted.intersects(given) {
        return Ok(false);
    }
    // What leaves the permitted set leaves the ambient set with it.
    set_capabilities(
        None,
        CapabilitySets {
            effective: had.effective - given,
            permitted: had.permitted - given,
            inheritable: had.inheritable - given,
        },
    )?;
    Ok(true)
}

/// Major and minor number of the kernel; `None` if it names itself otherwise.
#[must_use]
pub fn kernel_version() -> Option<(u32, u32)> {
    let name = uname();
    let mut numbers = name.release().to_str().ok()?.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const ALL: [Capability; 3] = [Capability::Bpf, Capability::NetAdmin, Capability::NetRaw];

    #[test]
    fn the_kernel_names_its_version() {
        assert!(kernel_version().is_some_and(|version| version > (2, 6)));
    }

    #[test]
    fn what_was_given_back_is_missing_in_the_thread_and_in_those_that_it_starts() {
        let before = missing(&ALL);
        let had = before.clone();
        thread::spawn(move || {
            let before = had;
            give_back(&[Capability::NetAdmin]).expect("giving back is always allowed");
            let kept = missing(&[Capability::NetAdmin]);
            assert_eq!(
                (kept.len(), missing(&ALL).len()),
                (before.iter().filter(|one| **one == Capability::NetAdmin).count(), 2 + kept.len())
            );
            give_back(&[]).expect("giving back is always allowed");
            assert_eq!(missing(&ALL), ALL);
            let child = thread::spawn(|| missing(&ALL));
            assert_eq!(child.join().expect("it ran"), ALL);
            assert!(!give_back(&[]).expect("nothing is left"));
        })
        .join()
        .expect("it ran");
        assert_eq!(missing(&ALL), before, "others are not touched");
    }
}
