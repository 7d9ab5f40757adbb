use http::uri::PathAndQuery;
use tokio::task::JoinHandle;
use tonic::Streaming;
use tonic::transport::Channel;

use super::*;
use crate::pods::fake;
use crate::pods::sample::Sample;

/// A served scaler, and a gRPC client of it.
struct Served {
    client: tonic::client::Grpc<Channel>,
    calls: IntCounterVec,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn new(scraped: &[(&str, Option<u64>)]) -> Self {
        let sample = |connections| Sample { connections, ..Sample::default() };
        let scraped: Vec<_> =
            scraped.iter().map(|(name, connections)| (*name, connections.map(sample))).collect();
        let stop = CancellationToken::new();
        let scaler = ExternalScaler::new(fake::pods(&scraped), &Registry::new()).unwrap();
        let calls = scaler.calls.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(scaler.serve(listener, stop.clone(), Duration::ZERO));
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        Served { client: tonic::client::Grpc::new(channel), calls, stop, task }
    }

    async fn call<Q, A>(&mut self, name: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.client.ready().await.unwrap();
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let answer = self.client.unary(tonic::Request::new(request), path(name), codec).await?;
        Ok(answer.into_inner())
    }

    async fn open(&mut self) -> Result<Streaming<IsActiveResponse>, Status> {
        self.client.ready().await.unwrap();
        let codec: ProstCodec<ScaledObjectRef, IsActiveResponse> = ProstCodec::default();
        let request = tonic::Request::new(object(&[]));
        let stream = self.client.server_streaming(request, path("StreamIsActive"), codec).await?;
        Ok(stream.into_inner())
    }

    fn calls(&self, code: &str) -> u64 {
        self.calls.with_label_values(&[code]).get()
    }
}

fn path(name: &str) -> PathAndQuery {
    format!("/externalscaler.ExternalScaler/{name}").parse().unwrap()
}

fn object(metadata: &[(&str, &str)]) -> ScaledObjectRef {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ScaledObjectRef {
        name: "chat".to_owned(),
        namespace: "apps".to_owned(),
        scaler_metadata: metadata.collect(),
    }
}

fn metrics_request(metadata: &[(&str, &str)], metric: &str) -> GetMetricsRequest {
    GetMetricsRequest { scaled_object_ref: Some(object(metadata)), metric_name: metric.to_owned() }
}

#[tokio::test]
async fn keda_reads_the_connections_of_all_pods_of_a_resource() {
    let mut served = Served::new(&[("chat-a", Some(40)), ("chat-b", Some(2))]).await;
    let metadata = [("scalerAddress", "x:1"), ("rookery", "chat"), ("connectionsPerPod", "30")];
    let specs: GetMetricSpecResponse =
        served.call("GetMetricSpec", object(&metadata)).await.unwrap();
    let [spec] = &specs.metric_specs[..] else { panic!("{specs:?}") };
    assert_eq!(spec.metric_name, "rookery_connections");
    assert_eq!((spec.target_size, spec.target_size_float), (30, 30.0));
    let request = metrics_request(&metadata, &spec.metric_name);
    let answer: GetMetricsResponse = served.call("GetMetrics", request).await.unwrap();
    let [value] = &answer.metric_values[..] else { panic!("{answer:?}") };
    assert_eq!(value.metric_name, "rookery_connections");
    assert_eq!((value.metric_value, value.metric_value_float), (42, 42.0));
    let active: IsActiveResponse = served.call("IsActive", object(&metadata)).await.unwrap();
    assert!(active.result);
    assert_eq!(served.calls("OK"), 3);
}

#[tokio::test]
async fn a_mistake_is_answered_with_what_to_write() {
    let mut served = Served::new(&[("chat-a", Some(40))]).await;
    let wrong = [("connectionsPerPod", "many")];
    for refused in [
        served.call::<_, IsActiveResponse>("IsActive", object(&wrong)).await.map(drop),
        served.call::<_, GetMetricSpecResponse>("GetMetricSpec", object(&wrong)).await.map(drop),
        served
            .call::<_, GetMetricsResponse>("GetMetrics", metrics_request(&[], "cpu"))
            .await
            .map(drop),
        served
            .call::<_, GetMetricsResponse>("GetMetrics", GetMetricsRequest::default())
            .await
            .map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    assert_eq!(served.calls("INVALID_ARGUMENT"), 4);
    let unknown = served.call::<_, IsActiveResponse>("StreamMetricSpec", object(&[])).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented, "which KEDA expects");
}

#[tokio::test]
async fn a_service_whose_pods_cannot_be_read_keeps_its_size() {
    let metadata = [("connectionsPerPod", "50")];
    let request = || metrics_request(&metadata, "rookery_connections");
    let mut served = Served::new(&[("chat-a", Some(40)), ("chat-b", None)]).await;
    let status = served.call::<_, GetMetricsResponse>("GetMetrics", request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("1 of 2"), "{status}");
    let mut served = Served::new(&[]).await;
    let status = served.call::<_, GetMetricsResponse>("GetMetrics", request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn streams_are_bounded_and_end_when_the_operator_stops() {
    let mut served = Served::new(&[("chat-a", Some(40))]).await;
    let mut streams = Vec::new();
    for _ in 0..MAX_STREAMS {
        let mut stream = served.open().await.unwrap();
        assert!(stream.message().await.unwrap().unwrap().result);
        streams.push(stream);
    }
    assert_eq!(served.open().await.unwrap_err().code(), Code::ResourceExhausted);
    let active: IsActiveResponse = served.call("IsActive", object(&[])).await.unwrap();
    assert!(active.result, "other calls get through");
    served.stop.cancel();
    for mut stream in streams {
        assert_eq!(stream.message().await.unwrap(), None);
    }
    served.task.await.unwrap();
}
