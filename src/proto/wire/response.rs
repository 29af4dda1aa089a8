//! An answer as the server means it, whichever dialect it leaves in.

use std::net::SocketAddr;

use crate::proto::types::ConnectionId;
use crate::proto::types::Family;
use crate::proto::types::Lifetime;
use crate::proto::types::RelayAddr;

use super::LegacyAttributes;
use super::request::Method;
use super::request::TransactionId;
use super::request::UnknownAttributes;

/// Error codes of RFC 8489 § 14.8, RFC 8656 § 19, RFC 6062 § 6.3 and RFC 8016 § 3.4 that this server gives, and 431–435 of
/// [MS-TURN].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the standards' reason phrases")]
pub enum ErrorCode {
    TryAlternate,
    BadRequest,
    Unauthenticated,
    Forbidden,
    MobilityForbidden,
    UnknownAttribute,
    IntegrityCheckFailure,
    MissingUsername,
    MissingRealm,
    MissingNonce,
    AllocationMismatch,
    StaleNonce,
    AddressFamilyNotSupported,
    WrongCredentials,
    UnsupportedTransportProtocol,
    PeerAddressFamilyMismatch,
    ConnectionAlreadyExists,
    ConnectionTimeoutOrFailure,
    AllocationQuotaReached,
    ServerError,
    InsufficientCapacity,
}

impl ErrorCode {
    /// Every code, in ascending order.
    pub const ALL: [Self; 21] = [
        Self::TryAlternate,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::MobilityForbidden,
        Self::UnknownAttribute,
        Self::IntegrityCheckFailure,
        Self::MissingUsername,
        Self::MissingRealm,
        Self::MissingNonce,
        Self::AllocationMismatch,
        Self::StaleNonce,
        Self::AddressFamilyNotSupported,
        Self::WrongCredentials,
        Self::UnsupportedTransportProtocol,
        Self::PeerAddressFamilyMismatch,
        Self::ConnectionAlreadyExists,
        Self::ConnectionTimeoutOrFailure,
        Self::AllocationQuotaReached,
        Self::ServerError,
        Self::InsufficientCapacity,
    ];

    /// The number, 300–699.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::TryAlternate => 300,
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::MobilityForbidden => 405,
            Self::UnknownAttribute => 420,
            Self::IntegrityCheckFailure => 431,
            Self::MissingUsername => 432,
            Self::MissingRealm => 434,
            Self::MissingNonce => 435,
            Self::AllocationMismatch => 437,
            Self::StaleNonce => 438,
            Self::AddressFamilyNotSupported => 440,
            Self::WrongCredentials => 441,
            Self::UnsupportedTransportProtocol => 442,
            Self::PeerAddressFamilyMismatch => 443,
            Self::ConnectionAlreadyExists => 446,
            Self::ConnectionTimeoutOrFailure => 447,
            Self::AllocationQuotaReached => 486,
            Self::ServerError => 500,
            Self::InsufficientCapacity => 508,
        }
    }

    /// The code with this number, if it is one of ours.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }
}

/// Whether the request succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A success response.
    Success,
    /// An error response with ERROR-CODE; its reason phrase is empty, which keeps the answer small.
    Error(ErrorCode),
}

/// One answer. A field that is `None` or empty is not sent.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// The method of the request.
    pub method: Method,
    /// The transaction of the request.
    pub transaction: TransactionId,
    /// Success or error.
    pub outcome: Outcome,
    /// XOR-MAPPED-ADDRESS.
    pub mapped_address: Option<SocketAddr>,
    /// XOR-RELAYED-ADDRESS.
    pub relayed_address: Option<RelayAddr>,
    /// LIFETIME.
    pub lifetime: Option<Lifetime>,
    /// RESERVATION-TOKEN.
    pub reservation_token: Option<[u8; 8]>,
    /// UNKNOWN-ATTRIBUTES.
    pub unknown_attributes: UnknownAttributes,
    /// REALM.
    pub realm: Option<&'a [u8]>,
    /// NONCE.
    pub nonce: Option<&'a [u8]>,
    /// PASSWORD-ALGORITHMS: the raw value.
    pub password_algorithms: Option<&'a [u8]>,
    /// SOFTWARE: a bare product name, only in answers to authenticated requests.
    pub software: Option<&'a str>,
    /// THIRD-PARTY-AUTHORIZATION (RFC 7635 § 6.1): the name of this server.
    pub third_party: Option<&'a [u8]>,
    /// ALTERNATE-SERVER, of the client's family and in answers with integrity alone (RFC 8489 § 10).
    pub alternate_server: Option<SocketAddr>,
    /// A second XOR-RELAYED-ADDRESS, behind [`Self::relayed_address`].
    pub additional_relayed_address: Option<RelayAddr>,
    /// ADDRESS-ERROR-CODE: the family that a dual allocation did not get, and why (RFC 8656 § 18.12).
    pub address_error: Option<(Family, ErrorCode)>,
    /// MOBILITY-TICKET (RFC 8016 § 3.3).
    pub mobility_ticket: Option<&'a [u8]>,
    /// A second ALTERNATE-SERVER, of the other family, behind [`Self::alternate_server`].
    pub additional_alternate_server: Option<SocketAddr>,
    /// What [MS-TURN] alone has; of MS-SERVICE-QUALITY a server says nothing.
    pub legacy: LegacyAttributes,
    /// CONNECTION-ID (RFC 6062 § 6.2.1).
    pub connection_id: Option<ConnectionId>,
}

impl Response<'_> {
    /// An answer that carries nothing yet.
    #[must_use]
    pub fn new(method: Method, transaction: TransactionId, outcome: Outcome) -> Self {
        Self {
            method,
            transaction,
            outcome,
            mapped_address: None,
            relayed_address: None,
            lifetime: None,
            reservation_token: None,
            unknown_attributes: UnknownAttributes::default(),
            realm: None,
            nonce: None,
            password_algorithms: None,
            software: None,
            third_party: None,
            alternate_server: None,
            additional_relayed_address: None,
            address_error: None,
            mobility_ticket: None,
            additional_alternate_server: None,
            legacy: LegacyAttributes::default(),
            connection_id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_are_found_by_their_number() {
        assert!(ErrorCode::ALL.is_sorted());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ErrorCode::from_number(404), None);
    }

    // proves rfc6062:6.3-1
    #[test]
    fn connections_have_two_codes() {
        assert_eq!(ErrorCode::ConnectionAlreadyExists.number(), 446);
        assert_eq!(ErrorCode::ConnectionTimeoutOrFailure.number(), 447);
    }

    // proves rfc8656:19-1
    #[test]
    fn codes_have_the_numbers_of_the_standard() {
        for (code, number) in [
            (ErrorCode::Forbidden, 403),
            (ErrorCode::AllocationMismatch, 437),
            (ErrorCode::AddressFamilyNotSupported, 440),
            (ErrorCode::WrongCredentials, 441),
            (ErrorCode::UnsupportedTransportProtocol, 442),
            (ErrorCode::PeerAddressFamilyMismatch, 443),
            (ErrorCode::AllocationQuotaReached, 486),
            (ErrorCode::InsufficientCapacity, 508),
        ] {
            assert_eq!(code.number(), number);
        }
    }
}
