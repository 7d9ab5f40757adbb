//! KEDA's external scaler: serves the counts of custom.metrics.k8s.io over gRPC, for clusters in
//! which KEDA scales (KEDA documentation, "External Scalers"). HTTP/2 without TLS; every replica
//! serves it. A client learns numbers per `Rookery` and nothing else.

mod messages;
mod request;
mod total;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use futures_util::{Stream, StreamExt as _, stream};
use prometheus::{IntCounterVec, Opts, Registry};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tracing::debug;

use self::messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec,
    MetricValue, ScaledObjectRef,
};
use self::request::ScaledRookery;
use self::total::total;
use crate::pods::{PodMetric, Pods, redistributed};
use rookery_ops::listener;
use rookery_ops::throttle::{Throttle, limited};

/// Deadline of a call, for a stream until it starts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 << 10;

/// Maximum number of open streams. KEDA has one connection for all resources, on which the listener
/// takes 100 requests at a time: the others must get through.
const MAX_STREAMS: usize = 64;

/// Maximum duration of a stream. KEDA opens it again.
const STREAM_LIFETIME: Duration = Duration::from_secs(3600);

/// How long a replica that stops still serves, while the cluster removes it from the Service.
pub const SHUTDOWN_DELAY: Duration = Duration::from_secs(2);

/// How long calls in progress may take after that.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// The external scaler.
pub struct ExternalScaler {
    pods: Pods,
    /// Calls, by gRPC status `code`.
    calls: IntCounterVec,
    streams: Arc<Semaphore>,
    refusals: Throttle,
    /// Cancelled when the streams end.
    closing: CancellationToken,
}

impl ExternalScaler {
    /// Creates the scaler; [`serve`](Self::serve) serves it.
    ///
    /// # Errors
    /// If `registry` already has a metric of the same name.
    pub fn new(pods: Pods, registry: &Registry) -> prometheus::Result<Self> {
        let calls = IntCounterVec::new(
            Opts::new(
                "rookery_operator_scaler_requests_total",
                "Calls of KEDA's external scaler, by gRPC status code.",
            ),
            &["code"],
        )?;
        registry.register(Box::new(calls.clone()))?;
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        let (refusals, closing) = (Throttle::default(), CancellationToken::new());
        Ok(ExternalScaler { pods, calls, streams, refusals, closing })
    }

    /// Serves the scaler on `listener` until `shutdown_delay` after `stop` is cancelled.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        shutdown_delay: Duration,
    ) {
        let closing = self.closing.clone();
        let close = async {
            stop.cancelled().await;
            tokio::time::sleep(shutdown_delay).await;
            closing.cancel();
        };
        let router = router(Arc::new(self));
        tokio::join!(close, listener::serve(listener, router, closing.clone(), SHUTDOWN_GRACE));
    }

    fn is_active(&self, object: &ScaledObjectRef) -> Result<IsActiveResponse, Status> {
        ScaledRookery::of(object)?;
        // Always: without a pod there could be no client who would make it active again.
        Ok(IsActiveResponse { result: true })
    }

    /// The answer of [`is_active`](Self::is_active), on a stream that stays open.
    fn stream_is_active(
        &self,
        object: &ScaledObjectRef,
    ) -> Result<impl Stream<Item = Result<IsActiveResponse, Status>> + Send + use<>, Status> {
        let answer = self.is_active(object)?;
        let permit = self.streams.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "there are {MAX_STREAMS} streams already; use a trigger of type external"
            ))
        })?;
        let closing = self.closing.clone();
        let end = async move {
            let _ = closing.run_until_cancelled(tokio::time::sleep(STREAM_LIFETIME)).await;
        };
        let answers = stream::iter([Ok(answer)]).chain(stream::pending()).take_until(Box::pin(end));
        Ok(answers.map(move |answer| {
            let _held = &permit;
            answer
        }))
    }

    fn metric_spec(&self, object: &ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
        let targets = ScaledRookery::of(object)?.targets.into_iter();
        let metric_specs = targets.map(|(metric, target)| MetricSpec {
            metric_name: metric.name().to_owned(),
            target_size: i64::try_from(target).unwrap_or(i64::MAX),
            target_size_float: target as f64,
        });
        Ok(GetMetricSpecResponse { metric_specs: metric_specs.collect() })
    }

    fn metrics(&self, request: &GetMetricsRequest) -> Result<GetMetricsResponse, Status> {
        let object = request.scaled_object_ref.as_ref();
        let object =
            object.ok_or_else(|| Status::invalid_argument("scaledObjectRef is missing"))?;
        let scaled = ScaledRookery::of(object)?;
        let metric = PodMetric::by_name(&request.metric_name).ok_or_else(|| {
            Status::invalid_argument(format!("there is no metric {:?}", request.metric_name))
        })?;
        let target = scaled.target(metric);
        let pods = self.pods.of(&scaled.namespace, &scaled.rookery);
        let value = total(&redistributed(&pods, metric), target).map_err(|reason| {
            let (namespace, rookery) = (&scaled.namespace, &scaled.rookery);
            Status::unavailable(format!("Rookery {rookery} in namespace {namespace}: {reason}"))
        })?;
        Ok(GetMetricsResponse {
            metric_values: vec![MetricValue {
                metric_name: request.metric_name.clone(),
                metric_value: i64::try_from(value).unwrap_or(i64::MAX),
                metric_value_float: value as f64,
            }],
        })
    }

    /// Counts and logs the result of a call.
    fn record<T>(&self, result: Result<T, Status>) -> Result<T, Status> {
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        self.calls.with_label_values(&[label(code)]).inc();
        match &result {
            Err(status) if code == Code::InvalidArgument => {
                limited!(self.refusals, warn, reason = status.message(), "refused a call of KEDA");
            }
            Err(status) => debug!(reason = status.message(), "cannot answer a call of KEDA"),
            Ok(_) => {}
        }
        result
    }
}

/// The status code as gRPC's documentation spells it ("Status codes and their use in gRPC").
fn label(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        _ => "UNKNOWN",
    }
}

fn router(scaler: Arc<ExternalScaler>) -> Router {
    Router::new()
        .route("/externalscaler.ExternalScaler/IsActive", post(is_active))
        .route("/externalscaler.ExternalScaler/StreamIsActive", post(stream_is_active))
        .route("/externalscaler.ExternalScaler/GetMetricSpec", post(metric_spec))
        .route("/externalscaler.ExternalScaler/GetMetrics", post(metrics))
        .fallback(|| async { unimplemented() })
        .with_state(scaler)
}

fn unimplemented() -> Response {
    Status::unimplemented("there is no such call").into_http()
}

async fn is_active(State(scaler): State<Arc<ExternalScaler>>, request: Request) -> Response {
    unary(scaler, request, |scaler, object| scaler.is_active(object)).await
}

async fn metric_spec(State(scaler): State<Arc<ExternalScaler>>, request: Request) -> Response {
    unary(scaler, request, |scaler, object| scaler.metric_spec(object)).await
}

async fn metrics(State(scaler): State<Arc<ExternalScaler>>, request: Request) -> Response {
    unary(scaler, request, |scaler, request| scaler.metrics(request)).await
}

async fn stream_is_active(State(scaler): State<Arc<ExternalScaler>>, request: Request) -> Response {
    let recorder = scaler.clone();
    let service = tower::service_fn(move |request: tonic::Request<ScaledObjectRef>| {
        let answers = scaler.record(scaler.stream_is_active(request.get_ref()));
        std::future::ready(answers.map(tonic::Response::new))
    });
    let mut grpc = grpc::<ScaledObjectRef, IsActiveResponse>();
    respond(&recorder, grpc.server_streaming(service, request)).await
}

/// Answers a call with one request and one response.
async fn unary<Q, A>(
    scaler: Arc<ExternalScaler>,
    request: Request,
    handle: fn(&ExternalScaler, &Q) -> Result<A, Status>,
) -> Response
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let recorder = scaler.clone();
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let answer = scaler.record(handle(&scaler, request.get_ref()));
        std::future::ready(answer.map(tonic::Response::new))
    });
    let mut grpc = grpc::<Q, A>();
    respond(&recorder, grpc.unary(service, request)).await
}

fn grpc<Q, A>() -> Grpc<ProstCodec<A, Q>>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_REQUEST_BYTES)
}

/// The answer, or that the request did not arrive in time.
async fn respond(
    scaler: &ExternalScaler,
    answer: impl Future<Output = http::Response<tonic::body::Body>>,
) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer.map(axum::body::Body::new),
        Err(_) => {
            let late = Status::deadline_exceeded("the request did not arrive in time");
            let late: Result<(), Status> = scaler.record(Err(late));
            late.err().unwrap_or_else(|| Status::unknown("")).into_http()
        }
    }
}

#[cfg(test)]
mod tests;
