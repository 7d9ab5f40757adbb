//! [`probe`]: tries a backend before anything depends on it.

use rookery_config as config;
use rookery_policy::Params;
use serde_json::Map;

use super::client::{BackendError, HttpClient, Post};
use super::failure::Failure;
use super::notification::new_id;
use super::reply::Reply;
use super::request::{Content, Request, RequestKind};
use crate::telemetry::trace::Tracer;

/// What a backend made of a test request. The texts are sentences for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answers as it must.
    Good(String),
    /// It answers, but perhaps not as it must.
    Doubtful(String),
    /// It cannot be used.
    Unusable(String),
}

/// Sends a signed request of the type `check`, which asks for nothing. A backend that does not know
/// the type may answer anything.
///
/// # Errors
/// When a file of the configuration cannot be used, so that nothing was sent.
pub async fn probe(config: &config::Backend) -> Result<Verdict, BackendError> {
    let client = HttpClient::new(config)?;
    let request = Request {
        kind: RequestKind::Check,
        namespace: "/",
        params: &Params::default(),
        id: "",
        user: None,
        claims: &Map::new(),
        content: Content::Check {},
    };
    let (id, body) = (new_id(), request.to_json());
    let span = Tracer::off().call_backend("check", "/");
    let timeout = config.timeout.0;
    let post = Post { id: &id, traceparent: span.traceparent(), body: &body, timeout };
    let reply = client.post(post).await;
    Ok(judge(reply.map(|body| Reply::parse(&body).map_err(|error| error.to_string()))))
}

fn judge(reply: Result<Result<Reply, String>, Failure>) -> Verdict {
    match reply {
        Ok(Ok(_)) => Verdict::Good("it answered a test request with a valid reply".to_owned()),
        Ok(Err(error)) => Verdict::Doubtful(format!(
            "it answered a test request, but {error}; such a reply to a client's event fails with \
             backend_unavailable"
        )),
        Err(Failure::Status(status @ (401 | 403))) => Verdict::Doubtful(format!(
            "it refused a test request with the status {status}: compare the key of \
             backend.signingKeyFile with the backend's, and the clocks"
        )),
        Err(Failure::Status(404)) => Verdict::Doubtful(
            "it answered a test request with the status 404: check the path of backend.url, unless \
             the backend answers so to types that it does not know"
                .to_owned(),
        ),
        Err(Failure::Status(status @ 400..=499)) => Verdict::Good(format!(
            "it answered a test request, whose type it does not know, with the status {status}"
        )),
        Err(Failure::Status(status @ 300..=399)) => Verdict::Unusable(format!(
            "it redirected a test request (status {status}): redirects are not followed; write the \
             URL that it leads to as backend.url"
        )),
        Err(failure) => {
            Verdict::Unusable(format!("it cannot be used: {failure}; check backend.url"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_status(status: u16) -> Verdict {
        judge(Err(Failure::Status(status)))
    }

    #[test]
    fn a_backend_that_does_not_know_the_type_is_good_and_one_that_refuses_the_key_is_doubtful() {
        assert!(matches!(judge(Ok(Ok(Reply::default()))), Verdict::Good(_)));
        assert!(matches!(of_status(400), Verdict::Good(_)));
        assert!(matches!(of_status(422), Verdict::Good(_)));
        for status in [401, 403, 404] {
            assert!(matches!(of_status(status), Verdict::Doubtful(_)), "{status}");
        }
        assert!(matches!(judge(Ok(Err("bad".to_owned()))), Verdict::Doubtful(_)));
        for status in [301, 307, 500, 503] {
            assert!(matches!(of_status(status), Verdict::Unusable(_)), "{status}");
        }
        assert!(matches!(judge(Err(Failure::Timeout)), Verdict::Unusable(_)));
    }
}
