//! [`Code`] and [`Refusal`]: why the server refuses a client's request.

/// The error codes that clients see, in answers and in `connect_error`'s `data.code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A token is missing or not valid.
    Unauthenticated,
    /// The token has expired.
    TokenExpired,
    /// A rule denies the request.
    Forbidden,
    /// The event's arguments do not have the form that its rule expects.
    BadRequest,
    /// The field that names the operation has a value that the rule does not know.
    UnknownOperation,
    /// The event's values do not make a valid room name.
    RoomInvalid,
    /// The client is already in `limits.roomsPerClient` rooms.
    TooManyRooms,
    /// As many namespaces of patterns have clients as `limits.namespaces` allows, or the connection is in
    /// as many as it may be.
    TooManyNamespaces,
    /// The client sends more than `limits.eventsPerSecond` events per second.
    RateLimited,
    /// Redis is not connected and `redis.whenDown` is `refuse`.
    NotConnectedToRedis,
    /// The application's backend did not answer.
    BackendUnavailable,
    /// The instance is draining.
    Draining,
}

impl Code {
    /// All codes, in the order of their declaration.
    pub const ALL: [Code; 12] = [
        Code::Unauthenticated,
        Code::TokenExpired,
        Code::Forbidden,
        Code::BadRequest,
        Code::UnknownOperation,
        Code::RoomInvalid,
        Code::TooManyRooms,
        Code::TooManyNamespaces,
        Code::RateLimited,
        Code::NotConnectedToRedis,
        Code::BackendUnavailable,
        Code::Draining,
    ];

    /// The code as clients receive it, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Unauthenticated => "unauthenticated",
            Code::TokenExpired => "token_expired",
            Code::Forbidden => "forbidden",
            Code::BadRequest => "bad_request",
            Code::UnknownOperation => "unknown_operation",
            Code::RoomInvalid => "room_invalid",
            Code::TooManyRooms => "too_many_rooms",
            Code::TooManyNamespaces => "too_many_namespaces",
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

/// Why a request is refused. It is sent to the client, so the message names fields and limits but
/// never a secret or another client's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The error code, for programs.
    pub code: Code,
    /// The explanation, a sentence for people.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal with this code and message.
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
