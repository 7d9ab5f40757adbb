use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use tower::ServiceExt as _;

use rookery_ops::admin::router;
use rookery_ops::readiness::Readiness;

use super::Metrics;

async fn scraped(metrics: &Arc<Metrics>, query: &str) -> String {
    let gather = metrics.clone();
    let router = router(move |names| gather.gather(names), Readiness::default());
    let request = Request::get(format!("/metrics{query}")).body(Body::empty()).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

fn families(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[tokio::test]
async fn a_scrape_may_select_families_by_name() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let all = scraped(&metrics, "").await;
    assert!(families(&all).len() > 10, "{all}");
    let both = "?name[]=rookery_connections&name%5B%5D=rookery_redis_up";
    assert_eq!(families(&scraped(&metrics, both).await), ["rookery_connections"]);
    metrics.with_redis().unwrap();
    metrics.redis_up.set(1);
    let text = scraped(&metrics, both).await;
    assert_eq!(families(&text), ["rookery_connections", "rookery_redis_up"]);
    assert!(text.contains("rookery_redis_up 1\n"), "{text}");
    let mixed = "?name[]=rookery_rooms&name[]=rookery_connections&name[]=nothing";
    let text = scraped(&metrics, mixed).await;
    assert_eq!(families(&text), ["rookery_connections", "rookery_rooms"]);
    assert_eq!(families(&scraped(&metrics, "?name[]=nothing").await), Vec::<&str>::new());
}
