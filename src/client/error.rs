//! What can go wrong.

use std::fmt;
use std::io;

use crate::proto::client::End;
use crate::proto::client::Failure;
use crate::proto::client::ProxyFailure;

/// Why something could not be done.
#[derive(Debug)]
pub enum Error {
    /// The server could not be reached, or not with the name that its certificate must have.
    Connect(io::Error),
    /// The server refused, or gave no answer that can be trusted.
    Failed(Failure),
    /// There is no allocation any more. `None` where nobody could say why.
    Over(Option<End>),
    /// No datagram can carry so much.
    TooLong {
        /// Bytes that were to be sent.
        len: usize,
        /// Bytes that can be.
        max: usize,
    },
    /// No way leads through the HTTP proxy.
    Proxy(ProxyFailure),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "the TURN server cannot be reached: {error}"),
            Self::Failed(Failure::Refused { code, alternate: None }) => {
                write!(f, "the TURN server refuses with error code {code}")
            }
            Self::Failed(Failure::Refused { code, alternate: Some(other) }) => {
                write!(f, "the TURN server refuses with error code {code} and names {other} instead")
            }
            Self::Failed(Failure::Timeout) => write!(f, "the TURN server does not answer"),
            Self::Failed(Failure::Integrity) => write!(f, "no answer of the TURN server can be trusted"),
            Self::Failed(Failure::Algorithm) => {
                write!(f, "the TURN server knows no password algorithm that is known here")
            }
            Self::Failed(Failure::Incomplete) => write!(f, "the TURN server's answer lacks what it is for"),
            Self::Failed(Failure::Full) => write!(f, "there are as many as there can be"),
            Self::Failed(Failure::Expired) => write!(f, "its time ran out before it could be renewed"),
            Self::Failed(Failure::Disconnected) => write!(f, "the connection to the TURN server ended"),
            Self::Failed(Failure::Unsupported) => {
                write!(f, "there is nothing of the sort with this allocation")
            }
            Self::Over(Some(End::Released)) => write!(f, "the allocation was given back"),
            Self::Over(Some(End::Unconfirmed)) => {
                write!(f, "the allocation was to be given back, and the TURN server did not say that it was")
            }
            Self::Over(Some(End::Lost(why))) => write!(f, "the allocation was lost: {}", Self::Failed(*why)),
            Self::Over(None) => write!(f, "the allocation is over"),
            Self::Proxy(why) => match why.cure() {
                Some(cure) => write!(f, "{why}: {cure}"),
                None => write!(f, "{why}"),
            },
            Self::TooLong { len, max } => write!(f, "{len} bytes are more than the {max} that can be sent"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error),
            Self::Proxy(why) => Some(why),
            Self::Failed(_) | Self::Over(_) | Self::TooLong { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_the_reader_can_do_something_about() {
        let alternate = Some("192.0.2.9:3478".parse().expect("an address"));
        let cases = [
            (
                Error::Proxy(ProxyFailure::LoginWanted),
                "the proxy wants a user and a password (407): give it a user and a password: \
                 http://NAME:PASSWORD@HOST:PORT",
            ),
            (
                Error::Failed(Failure::Refused { code: 300, alternate }),
                "the TURN server refuses with error code 300 and names 192.0.2.9:3478 instead",
            ),
            (
                Error::Over(Some(End::Lost(Failure::Disconnected))),
                "the allocation was lost: the connection to the TURN server ended",
            ),
            (
                Error::TooLong { len: 70_000, max: 65_000 },
                "70000 bytes are more than the 65000 that can be sent",
            ),
        ];
        for (error, told) in cases {
            assert_eq!(error.to_string(), told);
        }
    }
}
