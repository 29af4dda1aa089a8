//! What became of a request: the word of the metric's label.

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Credentials were handed out.
    Granted,
    /// "Request Malformed": the root element is good, what it holds is not.
    Malformed,
    /// "Request Too Large": more credentials than one request may ask for; or, over HTTPS, a body that is too long.
    TooLarge,
    /// "Version Mismatch".
    VersionMismatch,
    /// "Server Busy": the front end asks too often.
    Busy,
    /// "Forbidden": the front end was let in, and is not to be any more.
    Forbidden,
    /// A body that holds no request.
    Unreadable,
    /// A body of another type.
    MediaType,
    /// A method or a place that is not served.
    NotServed,
    /// OPTIONS.
    Asked,
    /// Two line ends.
    KeepAlive,
    /// A message that gets no answer.
    Ignored,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 12] = [
        Self::Granted,
        Self::Malformed,
        Self::TooLarge,
        Self::VersionMismatch,
        Self::Busy,
        Self::Forbidden,
        Self::Unreadable,
        Self::MediaType,
        Self::NotServed,
        Self::Asked,
        Self::KeepAlive,
        Self::Ignored,
    ];

    /// The word of the metric's label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::VersionMismatch => "version_mismatch",
            Self::Busy => "busy",
            Self::Forbidden => "forbidden",
            Self::Unreadable => "unreadable",
            Self::MediaType => "media_type",
            Self::NotServed => "not_served",
            Self::Asked => "options",
            Self::KeepAlive => "keep_alive",
            Self::Ignored => "ignored",
        }
    }
}
