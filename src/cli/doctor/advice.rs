//! [`Advisor`]: the fix for each fault, in the words of the ingress controller at hand.

use super::fault::Fault;
use rookery_operator::crd::IngressController;

/// What was tried when something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first request.
    Handshake,
    /// Requests that belong together, by polling.
    Polling,
    /// A WebSocket, of its own or after polling.
    WebSocket,
    /// A connection that is idle between heartbeats.
    Hold,
}

/// Names fixes.
pub(super) struct Advisor {
    /// The ingress controller.
    pub(super) controller: IngressController,
    /// The URL that is looked at.
    pub(super) url: String,
}

impl Advisor {
    /// What to do about a fault, in one or more lines.
    pub(super) fn fix(&self, step: Step, fault: &Fault) -> String {
        match fault {
            Fault::Unresolved { .. } => "create the DNS record; where it exists only outside this \
                network, name the ingress controller's address: --connect-to HOST[:PORT] \
                (`helm test`: tests.ingressAddress)"
                .to_owned(),
            Fault::Unreachable { .. } => "look whether the ingress controller runs and listens on \
                that port, and whether a firewall or a NetworkPolicy is between"
                .to_owned(),
            Fault::Tls { certificate: true, .. } => "put a certificate for this host into the \
                Secret that ingress.tls.secretName names; for one that is signed by your own \
                authority, set SSL_CERT_FILE, or try with --insecure (tests.insecure)"
                .to_owned(),
            Fault::Tls { .. } => format!(
                "look whether {} is served with TLS: ingress.tls must be set, and the URL is then \
                 https",
                self.url
            ),
            Fault::Refused(_, code) => refused(code.as_deref()),
            Fault::UnknownSession { cookies, .. } if !cookies.is_empty() => "the cookie does not \
                lead back to the server that it stands for: it is of something else than the \
                ingress of this service, or a server went away meanwhile (run this again); \
                whatever stands before the ingress must pass Cookie and Set-Cookie on unchanged"
                .to_owned(),
            Fault::UnknownSession { .. } => self.sticky(),
            Fault::Ended => "a server stopped meanwhile, as in a rollout: run this again; if it \
                stays, look at the servers' logs"
                .to_owned(),
            Fault::Status { status, body, .. } => self.status(step, *status, body),
            Fault::Foreign { .. } => format!(
                "something else than Rookery answers: look which Service the Ingress of {} sends \
                 this path to",
                self.url
            ),
            Fault::Cut { .. } | Fault::Silent { .. } if step == Step::WebSocket => self.upgrade(),
            Fault::Cut { .. } | Fault::Silent { .. } => self.timeouts(),
        }
    }

    /// How requests of one client get to one server.
    pub(super) fn sticky(&self) -> String {
        let cookie = match self.controller {
            IngressController::Traefik => {
                "several servers answer, and nothing keeps a client at one: set ingress.sticky: \
                 true and ingress.controller: traefik, which gives the Service the annotation \
                 traefik.ingress.kubernetes.io/service.sticky.cookie: \"true\""
            }
            IngressController::Haproxy => {
                "several servers answer, and nothing keeps a client at one: set ingress.sticky: \
                 true and ingress.controller: haproxy, which gives the Ingress the annotation \
                 haproxy.org/cookie-persistence: rookery"
            }
        };
        format!(
            "{cookie}\n\
             whatever stands before the ingress must pass Cookie and Set-Cookie on; clients that \
             use WebSockets alone (transports: [\"websocket\"]) need no stickiness"
        )
    }

    fn status(&self, step: Step, status: u16, body: &str) -> String {
        match status {
            404 if body.contains("Socket.IO answers at") => "Rookery answers, but its endpoint is \
                at another path: give --path, and the same `path` to clients"
                .to_owned(),
            404 => "the ingress has no rule for this host and path: compare ingress.host and \
                ingress.className with the URL and with `kubectl get ingress`"
                .to_owned(),
            400 if body.contains("Transport unknown") => "polling is off (socketio.transports): \
                give --websocket-only"
                .to_owned(),
            401 | 403 if step == Step::Handshake && !body.contains("code") => "something before \
                Rookery wants credentials: let the Socket.IO path through without"
                .to_owned(),
            300..=399 => "the ingress redirects, and Socket.IO clients do not follow it: use the \
                URL that it redirects to"
                .to_owned(),
            413 => "something before Rookery limits bodies: allow as much as socketio.maxPayload"
                .to_owned(),
            429 | 503 if body.contains("at a limit") => {
                "a limit is reached: raise limits.connections or limits.connectRate".to_owned()
            }
            502 | 503 => "the ingress has no ready server: look at `kubectl get rk` and \
                `kubectl describe rk`; while a service comes up, give --wait 60s"
                .to_owned(),
            504 | 408 => self.timeouts(),
            _ if step == Step::WebSocket => self.upgrade(),
            _ => {
                "look at the ingress controller's and the servers' logs for this request".to_owned()
            }
        }
    }

    fn upgrade(&self) -> String {
        let controller = match self.controller {
            IngressController::Traefik => {
                "Traefik passes WebSockets on by itself: look for a middleware of this route that \
                 buffers or drops headers (buffering, headers, compress)"
            }
            IngressController::Haproxy => {
                "HAProxy passes WebSockets on by itself: look for `option httpclose`, or a rule \
                 that drops the headers Connection and Upgrade, in its configuration snippets"
            }
        };
        format!(
            "the WebSocket's upgrade does not get through. {controller}\n\
             a load balancer or CDN before the ingress must have WebSockets allowed, or pass TCP on"
        )
    }

    fn timeouts(&self) -> String {
        let controller = match self.controller {
            IngressController::Traefik => {
                "its entry point's transport.respondingTimeouts (readTimeout, writeTimeout, \
                 idleTimeout), and forwardingTimeouts.responseHeaderTimeout"
            }
            IngressController::Haproxy => {
                "timeout-tunnel (WebSockets), timeout-server and timeout-client in its ConfigMap"
            }
        };
        format!(
            "something on the way ends idle connections too early; it must wait longer than \
             socketio.pingInterval and pingTimeout together (45s): {controller}; and the idle \
             timeout of a load balancer before it\n\
             or lower socketio.pingInterval below that limit"
        )
    }
}

fn refused(code: Option<&str>) -> String {
    match code {
        Some("unauthenticated") => "clients need a token: give --token or ROOKERY_TOKEN (`helm \
            test`: tests.tokenSecret); `rookery token` makes one"
            .to_owned(),
        Some("token_expired") => "give a token that is still good".to_owned(),
        Some("backend_unavailable") => "the application's backend does not answer the connect \
            webhook: look at backend.url"
            .to_owned(),
        Some("draining") => "the server is about to stop: run this again".to_owned(),
        _ => "look at auth and namespaces in the configuration".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisor(controller: IngressController) -> Advisor {
        Advisor { controller, url: "http://h".to_owned() }
    }

    #[test]
    fn each_controller_has_its_own_words() {
        let lost = Fault::UnknownSession { what: "a poll", cookies: Vec::new() };
        let cut = Fault::Cut {
            what: "a poll",
            after: std::time::Duration::from_secs(10),
            reason: "it was closed".to_owned(),
        };
        for (controller, sticky, idle) in [
            (IngressController::Traefik, "service.sticky.cookie", "respondingTimeouts"),
            (IngressController::Haproxy, "haproxy.org/cookie-persistence", "timeout-tunnel"),
        ] {
            let advisor = advisor(controller);
            assert!(advisor.fix(Step::Polling, &lost).contains(sticky));
            assert!(advisor.fix(Step::Hold, &cut).contains(idle));
            assert!(advisor.fix(Step::WebSocket, &cut).contains("upgrade does not get through"));
        }
    }

    #[test]
    fn a_status_tells_who_said_it() {
        let advisor = advisor(IngressController::Traefik);
        let fix = |step, status, body: &str| {
            advisor.fix(step, &Fault::status("a request", status, body.as_bytes()))
        };
        assert!(fix(Step::Handshake, 404, "404 page not found").contains("ingress.host"));
        assert!(fix(Step::Handshake, 404, "Socket.IO answers at /x/\n").contains("--path"));
        assert!(fix(Step::Handshake, 503, "no available server").contains("kubectl get rk"));
        assert!(fix(Step::Handshake, 503, "at a limit; try again").contains("limits."));
        assert!(
            fix(Step::Polling, 400, r#"{"code":1,"message":"Session ID unknown"}"#)
                .contains("sticky")
        );
        assert!(fix(Step::WebSocket, 400, "Bad Request").contains("upgrade"));
        assert!(fix(Step::Handshake, 301, "").contains("redirects"));
        assert!(fix(Step::Hold, 504, "").contains("idle"));
    }
}
