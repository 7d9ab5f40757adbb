//! What is refused without an operator: what the operator would refuse, and an autoscaler without a metric.

use super::release::{Release, helm_is_missing};

#[test]
fn what_the_operator_refuses_is_refused_with_a_sentence() {
    if helm_is_missing() {
        return;
    }
    let base = Release::of(
        "anonymous: true\nredis: { url: 'redis://redis:6379' }\nautoscaling: { enabled: false }\n",
    );
    for (set, says) in [
        ("replicas.min=3,replicas.max=2", "replicas: min (3) is above max (2)"),
        ("autoscaling.connectionsPerPod=50001", "a server takes only 50000 (config.limits.conn"),
        ("config.limits.connections=9", "is 10000, but a server takes only 9"),
        ("autoscaling.stabilization=61m", "must be at most 1h"),
        (
            "autoscaling.cpuUtilization=70,resources.limits.cpu=1",
            "resources.requests.cpu is missing",
        ),
        ("config.redis.url=redis://other", "config.redis.url is also in redis"),
        ("redis.url=null,config.redis.whenDown=refuse", "config.redis has no URL"),
        ("config.listen=127.0.0.1:3000", "config.listen is 127.0.0.1:3000, where nobody outside"),
        ("config.listen=0.0.0.0:0", "config.listen has no fixed port"),
        ("config.internal=[::1]:9090", "config.internal is [::1]:9090, where nobody"),
        ("config.auth.apiKeysFile=/etc/keys/a", "which no Secret of `secrets` brings"),
        (
            "secrets[0].secretName=a,secrets[0].mountPath=/etc/k,config.auth.apiKeysFile=/etc/keys",
            "config.auth.apiKeysFile names /etc/keys",
        ),
        (
            "config.redis.tls.certFile=/etc/keys/c,config.redis.tls.keyFile=/etc/keys/k",
            "config.redis.tls.certFile names /etc/keys/c, which no Secret",
        ),
        ("config.redis.passwordFile=/etc/keys/p", "config.redis.passwordFile names /etc/keys/p"),
        ("secrets[0].secretName=a,secrets[0].mountPath=/etc/rookery/x", "would hide the conf"),
        ("secrets[0].secretName=a,secrets[0].mountPath=/etc", "would hide the configuration"),
        ("secrets[0].secretName=a,secrets[0].mountPath=/a/../b", "expected the full path"),
        (
            "secrets[0].secretName=a,secrets[0].mountPath=/a,\
             secrets[1].secretName=b,secrets[1].mountPath=/a/",
            "again; give each Secret a folder",
        ),
        ("podTemplate.labels.app\\.kubernetes\\.io/instance=x", "by which the servers are found"),
        ("redis.host=other", "exactly one"),
        ("redis.port=6380", "port and tls go with host"),
        ("redis.username=a", "username needs passwordSecret"),
        ("redis.caSecret.name=a,redis.caSecret.key=b", "caSecret needs TLS"),
        ("rollout.maxSurge=0", "maxSurge and maxUnavailable are both 0"),
        ("podTemplate.env.ROOKERY_REDIS=x", "variable ROOKERY_REDIS, which would contradict"),
        ("podTemplate.extraEnv[0].name=POD_NAMESPACE", "variable POD_NAMESPACE"),
        ("podTemplate.annotations.rookery\\.dev/config-checksum=x", "is the chart's own"),
        (
            "podTemplate.volumeMounts[0].name=a,podTemplate.volumeMounts[0].mountPath=/etc/rookery",
            "would hide the configuration",
        ),
        ("podTemplate.volumes[0].name=config", "the name \"config\" is taken"),
        ("podTemplate.volumes[0].name=secret-7", "the name \"secret-7\" is taken"),
        ("podTemplate.sidecars[0].name=rookery", "the name \"rookery\" of a container is taken"),
        (
            "podTemplate.sidecars[0].name=a,podTemplate.initContainers[0].name=a",
            "the name \"a\" of a container is taken",
        ),
        ("service.loadBalancerClass=x", "service.loadBalancerClass needs type: LoadBalancer"),
        ("service.externalTrafficPolicy=Local", "needs type: LoadBalancer or type: NodePort"),
        (
            "service.type=LoadBalancer,service.loadBalancerSourceRanges={192.0.2.0}",
            "expected a network such as 192.0.2.0/24",
        ),
        ("monitoring.interval=999ms", "monitoring.interval must be at least 1s"),
    ] {
        let release = base.with(set);
        let said = release.refused(true);
        assert!(said.contains(says), "{set}: no `{says}` in\n{said}");
        release.refused_by_operator();
    }
    let empty = Release::of("anonymous: true\nconfig: { redis: {} }\n");
    assert!(empty.refused(true).contains("config.redis has no URL"));
    empty.refused_by_operator();
}

#[test]
fn an_autoscaler_that_could_not_read_its_metric_is_refused_with_the_choices() {
    if helm_is_missing() {
        return;
    }
    let release = Release::of("anonymous: true\nredis: { url: 'redis://redis:6379' }\n");
    let said = release.refused(true);
    for choice in [
        "autoscaling.keda.serverAddress",
        "autoscaling.metrics=external",
        "autoscaling.cpuUtilization",
        "autoscaling.enabled=false",
    ] {
        assert!(said.contains(choice), "{choice} is not in {said}");
    }
}
