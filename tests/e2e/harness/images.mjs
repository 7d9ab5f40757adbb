// The images that the cluster runs. All but the first are published.

/** Rookery's image, built and loaded before the tests. */
export const ROOKERY = process.env.E2E_IMAGE ?? "rookery.local/rookery:e2e";

/** Redis. */
export const REDIS = process.env.E2E_REDIS_IMAGE ?? "redis:7";

/** Prometheus. */
export const PROMETHEUS = process.env.E2E_PROMETHEUS_IMAGE ?? "prom/prometheus:v2.55.1";

/** An image's name as the chart's values have it. */
export function parts(image) {
  const colon = image.lastIndexOf(":");
  return { repository: image.slice(0, colon), tag: image.slice(colon + 1) };
}
