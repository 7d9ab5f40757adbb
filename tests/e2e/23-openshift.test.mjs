// Pods start under an admission like OpenShift's SecurityContextConstraints `restricted-v2`: no pod
// chooses its user, and each runs as a random one without fsGroup.
import assert from "node:assert/strict";
import { WEBSOCKET, connected } from "./harness/clients.mjs";
import { ROOKERY } from "./harness/images.mjs";
import { ingress } from "./harness/ingress.mjs";
import { all, apply, get, isReady, kubectl } from "./harness/kubectl.mjs";
import * as namespaces from "./harness/namespace.mjs";
import * as operator from "./harness/operator.mjs";
import { condition, rookery } from "./harness/rookery.mjs";
import { scenario } from "./harness/scenario.mjs";
import { until } from "./harness/until.mjs";

/** A user of the range that OpenShift gives a namespace. */
const RANDOM_USER = 1_000_650_000;

/** As long as a key of an API must be. */
const KEYS = "backend:0123456789abcdef0123456789abcdef\n";

/** Refuses pods that choose a user outside the range, or a group, in one namespace. */
function policy(namespace) {
  const inRange = "object.spec.securityContext.runAsUser >= 1000000000";
  const context = "has(object.spec.securityContext)";
  return [
    {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: namespace },
      spec: {
        failurePolicy: "Fail",
        matchConstraints: {
          resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }],
        },
        validations: [
          { expression: `!${context} || !has(object.spec.securityContext.runAsUser) || ${inRange}`, message: "runAsUser is outside the namespace's range" },
          { expression: `!${context} || !has(object.spec.securityContext.fsGroup)`, message: "fsGroup is outside the namespace's range" },
        ],
      },
    },
    {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: namespace },
      spec: {
        policyName: namespace,
        validationActions: ["Deny"],
        matchResources: { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } } },
      },
    },
  ];
}

/** A pod that chooses its user. */
function fixed(namespace) {
  const security = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] }, seccompProfile: { type: "RuntimeDefault" } };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name: "fixed" },
    spec: {
      containers: [{ name: "fixed", image: ROOKERY, securityContext: security }],
      securityContext: { runAsNonRoot: true, runAsUser: 65532 },
    },
  };
}

scenario("pods start where the cluster chooses their user", async (s) => {
  await operator.ensure();
  const namespace = await namespaces.create("openshift", { "pod-security.kubernetes.io/enforce": "restricted" });
  s.watch(namespace);
  s.atEnd(() => namespaces.remove(namespace));
  await apply(policy(namespace));
  s.atEnd(() => kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", namespace));
  await until("the policy is in effect", () =>
    apply(fixed(namespace), "--dry-run=server").then(
      () => false,
      (error) => /outside the namespace's range/.test(error.message),
    ),
  );
  await apply({ apiVersion: "v1", kind: "Secret", metadata: { namespace, name: "keys" }, stringData: { keys: KEYS } });

  const host = `chat.${namespace}.test`;
  const spec = {
    image: ROOKERY,
    ingress: { host, className: "traefik" },
    secrets: [{ secretName: "keys", mountPath: "/etc/keys" }],
    config: { auth: { anonymous: true, apiKeysFile: "/etc/keys/keys" } },
    drain: { lead: "0s", window: "1s" },
  };

  await s.step("a fixed user is refused, and the condition says so", async () => {
    await apply(rookery(namespace, "chat", spec));
    await until("the condition names the refusal", async () => {
      const ready = await condition(namespace, "chat", "Ready");
      return ready?.status === "False" && /outside the namespace's range/.test(ready.message);
    });
  });

  await s.step("with podTemplate.fixedUser: false the pods start, and a client gets in", async () => {
    await apply(rookery(namespace, "chat", { ...spec, podTemplate: { fixedUser: false } }));
    await kubectl("wait", "-n", namespace, "rookery/chat", "--for=condition=Ready", "--timeout=120s");
    const entrance = await ingress();
    await until("a client gets in", async () => {
      (await connected(entrance, host, WEBSOCKET, { patience: 5_000 })).close();
      return true;
    });
  });

  await s.step("the same pod starts as a random user of the root group", async () => {
    const [pod] = await all(namespace, "pods", "app.kubernetes.io/instance=chat");
    const { containers, volumes, securityContext, serviceAccountName } = pod.spec;
    assert.equal(securityContext.fsGroup, undefined);
    const random = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace, name: "random" },
      spec: {
        containers,
        volumes,
        serviceAccountName,
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: { ...securityContext, runAsUser: RANDOM_USER },
      },
    };
    // It is not one of the Deployment's, whose template hash is not its.
    random.spec.containers[0].env = [];
    await apply(random);
    await until("it is ready", async () => isReady(await get(namespace, "pod", "random")));
  });
});
