//! Attaching: at every interface that is named, or at none. Only links are used, which end with the process, whatever ends it.

use std::io;

use aya::Ebpf;
use aya::programs::LinkOrder;
use aya::programs::ProgramError;
use aya::programs::SchedClassifier;
use aya::programs::TcAttachType;
use aya::programs::Xdp;
use aya::programs::tc::TcAttachOptions;
use aya::programs::xdp::XdpMode;

use super::Mode;
use super::Refused;
use super::netlink::Link;
use super::netlink::Netlink;

/// Attaches `ebpf` to each of `interfaces`. On an error what was attached by then is detached with `ebpf`, by its owner.
pub(super) fn attach(ebpf: &mut Ebpf, mode: Mode, interfaces: &[String]) -> Result<Vec<Link>, Refused> {
    let mut netlink = Netlink::new().map_err(|error| {
        Refused::new(format!("no netlink socket: {error}"), "allow AF_NETLINK to the process")
    })?;
    interfaces.iter().map(|name| attach_to(ebpf, mode, name, &mut netlink)).collect()
}

fn attach_to(ebpf: &mut Ebpf, mode: Mode, name: &str, netlink: &mut Netlink) -> Result<Link, Refused> {
    let link = netlink.link_by_name(name).map_err(|error| {
        Refused::new(format!("no interface `{name}`: {error}"), "mend `[relay] kernel_interfaces`")
    })?;
    if link.mac.is_none() {
        return Err(Refused::new(
            format!("`{name}` does not speak Ethernet"),
            "take it out of `[relay] kernel_interfaces`",
        ));
    }
    let attached = match mode {
        Mode::Tc => attach_tc(ebpf, name),
        Mode::Xdp | Mode::XdpGeneric if link.has_xdp => {
            let reason = format!("another XDP program stands at `{name}`");
            return Err(Refused::new(reason, "take it away, or choose `tc`, which stands beside others"));
        }
        Mode::Xdp => attach_xdp(ebpf, &link, XdpMode::Driver),
        Mode::XdpGeneric => attach_xdp(ebpf, &link, XdpMode::Skb),
    };
    attached.map_err(|error| refusal(&error, mode, name))?;
    Ok(link)
}

fn attach_tc(ebpf: &mut Ebpf, name: &str) -> Result<(), ProgramError> {
    let program: &mut SchedClassifier =
        ebpf.program_mut("tc_turn").ok_or(ProgramError::NotLoaded)?.try_into()?;
    // Behind whatever stands there: what others drop or take is theirs.
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    program.attach_with_options(name, TcAttachType::Ingress, options).map(drop)
}

fn attach_xdp(ebpf: &mut Ebpf, link: &Link, mode: XdpMode) -> Result<(), ProgramError> {
    let program: &mut Xdp = ebpf.program_mut("xdp_turn").ok_or(ProgramError::NotLoaded)?.try_into()?;
    program.attach_to_if_index(link.index, mode).map(drop)
}

fn refusal(error: &ProgramError, mode: Mode, name: &str) -> Refused {
    let mut cause: &dyn std::error::Error = error;
    let mut code = None;
    loop {
        code = code.or(cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error));
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => break,
        }
    }
    let reason = format!("`{name}` does not take the program: {cause}");
    match (mode, code) {
        (_, Some(libc::EPERM | libc::EACCES)) => {
            Refused::new(reason, "give the process CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")
        }
        (_, Some(libc::EBUSY | libc::EEXIST)) => {
            Refused::new(reason, "take away the XDP program that stands there, or choose `tc`")
        }
        (Mode::Tc, _) => Refused::new(reason, "run Linux 6.6 or later, or choose `xdp` or `sk_lookup`"),
        (Mode::Xdp | Mode::XdpGeneric, _) => Refused::new(reason, "its driver has no XDP: choose `tc`"),
    }
}
