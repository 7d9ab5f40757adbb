//! [`Code`] and [`Refusal`]: how a client is told no.

/// The error codes that clients see, in answers and in `connect_error`'s `data.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No token where one is needed, or one that is not valid.
    Unauthenticated,
    /// The token's time is over.
    TokenExpired,
    /// A rule does not allow it.
    Forbidden,
    /// The event's arguments are not what its rule expects.
    BadRequest,
    /// The field that names the operation has no value that the rule knows.
    UnknownOperation,
    /// No room's name can be made of the event's values.
    RoomInvalid,
    /// The client is in `limits.roomsPerClient` rooms already.
    TooManyRooms,
    /// More than `limits.eventsPerSecond`.
    RateLimited,
    /// Redis is away and `redis.whenDown` is `refuse`.
    NotConnectedToRedis,
    /// The application's backend did not answer.
    BackendUnavailable,
    /// The instance is about to stop.
    Draining,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 11] = [
        Code::Unauthenticated,
        Code::TokenExpired,
        Code::Forbidden,
        Code::BadRequest,
        Code::UnknownOperation,
        Code::RoomInvalid,
        Code::TooManyRooms,
        Code::RateLimited,
        Code::NotConnectedToRedis,
        Code::BackendUnavailable,
        Code::Draining,
    ];

    /// The code as clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Unauthenticated => "unauthenticated",
            Code::TokenExpired => "token_expired",
            Code::Forbidden => "forbidden",
            Code::BadRequest => "bad_request",
            Code::UnknownOperation => "unknown_operation",
            Code::RoomInvalid => "room_invalid",
            Code::TooManyRooms => "too_many_rooms",
            Code::RateLimited => "rate_limited",
            Code::NotConnectedToRedis => "not_connected_to_redis",
            Code::BackendUnavailable => "backend_unavailable",
            Code::Draining => "draining",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something was refused: a code for programs and a sentence for people.
///
/// The sentence goes to the client, so it names fields and limits, never a secret or another
/// client's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_in_snake_case() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
