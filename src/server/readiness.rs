//! Keeps the conditions of `/readyz` up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use rookery_config::WhenDown;
use rookery_ops::readiness::Readiness;
use rookery_server::backplane::Backplane;
use rookery_server::gateway::Gateway;

/// How often the conditions are looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Follows the token keys and Redis until `stop`.
pub async fn follow(
    readiness: Readiness,
    gateway: Arc<Gateway>,
    backplane: Option<Backplane>,
    stop: CancellationToken,
) {
    let keys = readiness.condition("auth", "no key set was fetched from auth.jwt.jwksUrl yet");
    let redis = readiness.condition("redis", "not connected to Redis (redis.whenDown: refuse)");
    let refuse = gateway.config.redis.as_ref().is_some_and(|r| r.when_down == WhenDown::Refuse);
    loop {
        keys.set(gateway.authenticator.verifier.as_ref().is_none_or(|v| v.is_ready()));
        redis.set(!refuse || backplane.as_ref().is_none_or(Backplane::is_up));
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}
