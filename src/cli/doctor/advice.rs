//! [`Advisor`]: names the fix for each fault, with the settings of the ingress controller.

use super::fault::Fault;
use rookery_operator::crd::IngressController;

/// What was attempted when a fault occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The first request.
    Handshake,
    /// Several requests of a polling session.
    Polling,
    /// A WebSocket, from the start or by an upgrade.
    WebSocket,
    /// A session that is idle between heartbeats.
    Hold,
}

/// Names the fix for a fault.
pub(super) struct Advisor {
    /// The ingress controller that the fixes are for.
    pub(super) controller: IngressController,
    /// The URL that is checked.
    pub(super) url: String,
}

impl Advisor {
    /// The fix for a fault, in one or more lines.
    pub(super) fn fix(&self, step: Step, fault: &Fault) -> String {
        match fault {
            Fault::Unresolved { .. } => {
                "create the DNS record; if it exists only outside this network, \
                give the ingress controller's address: --connect-to HOST[:PORT] (`helm test`: \
                tests.ingressAddress)"
                    .to_owned()
            }
            Fault::Unreachable { .. } => {
                "check that the ingress controller is running and listens on \
                that port, and that no firewall or NetworkPolicy blocks it"
                    .to_owned()
            }
            Fault::Tls { certificate: true, .. } => "put a certificate for this host into the \
                Secret that ingress.tls.secretName names; for one signed by your own authority, \
                set SSL_CERT_FILE, or use --insecure (tests.insecure)"
                .to_owned(),
            Fault::Tls { .. } => format!(
                "check that {} is served with TLS: set ingress.tls, and use https in the URL",
                self.url
            ),
            Fault::Refused { code, .. } => refused(code.as_deref()),
            Fault::UnknownSession { cookies, .. } if !cookies.is_empty() => "the cookie did not \
                route to the session's server: it was not set by this service's ingress, or a \
                server stopped meanwhile (run this again); a proxy in front of the ingress must \
                pass Cookie and Set-Cookie through unchanged"
                .to_owned(),
            Fault::UnknownSession { .. } => self.sticky(),
            Fault::SessionClosed => {
                "a server stopped meanwhile, as in a rollout: run this again; if \
                it persists, check the servers' logs"
                    .to_owned()
            }
            Fault::Status { status, body, .. } => self.status(step, *status, body),
            Fault::NotEngineIo { .. } => format!(
                "something other than Rookery responds: check which Service the Ingress of {} \
                 routes this path to",
                self.url
            ),
            Fault::CutOff { .. } | Fault::TimedOut { .. } if step == Step::WebSocket => {
                self.upgrade()
            }
            Fault::CutOff { .. } | Fault::TimedOut { .. } => self.timeouts(),
        }
    }

    /// How to route the requests of a client to one server.
    pub(super) fn sticky(&self) -> String {
        let cookie = match self.controller {
            IngressController::Traefik => {
                "requests of one client reach several servers: set ingress.sticky: \
                 true and ingress.controller: traefik, which gives the Service the annotation \
                 traefik.ingress.kubernetes.io/service.sticky.cookie: \"true\""
            }
            IngressController::Haproxy => {
                "requests of one client reach several servers: set ingress.sticky: \
                 true and ingress.controller: haproxy, which gives the Ingress the annotation \
                 haproxy.org/cookie-persistence: rookery"
            }
        };
        format!(
            "{cookie}\n\
             a proxy in front of the ingress must pass Cookie and Set-Cookie through; clients that \
             use only WebSockets (transports: [\"websocket\"]) need no sticky sessions"
        )
    }

    fn status(&self, step: Step, status: u16, body: &str) -> String {
        match status {
            404 if body.contains("Socket.IO answers at") => "Rookery responds, but its endpoint \
                has another path: set --path, and the same `path` in clients"
                .to_owned(),
            404 => "the ingress has no rule for this host and path: compare ingress.host and \
                ingress.className with the URL and with `kubectl get ingress`"
                .to_owned(),
            400 if body.contains("Transport unknown") => "polling is disabled \
                (socketio.transports): use --websocket-only"
                .to_owned(),
            401 | 403 if step == Step::Handshake && !body.contains("code") => "a proxy in \
                front of Rookery requires credentials: exempt the Socket.IO path"
                .to_owned(),
            300..=399 => "the ingress redirects, and Socket.IO clients do not follow it: use the \
                URL that it redirects to"
                .to_owned(),
            413 => {
                "a proxy in front of Rookery limits the size of bodies: allow socketio.maxPayload"
                    .to_owned()
            }
            429 | 503 if body.contains("at a limit") => {
                "a limit was reached: raise limits.connections or limits.connectRate".to_owned()
            }
            502 | 503 => "the ingress has no ready server: check `kubectl get rk` and \
                `kubectl describe rk`; while a service starts, use --wait 60s"
                .to_owned(),
            504 | 408 => self.timeouts(),
            _ if step == Step::WebSocket => self.upgrade(),
            _ => "check the logs of the ingress controller and the servers for this request"
                .to_owned(),
        }
    }

    fn upgrade(&self) -> String {
        let controller = match self.controller {
            IngressController::Traefik => {
                "Traefik supports WebSockets by default: check this route for a middleware that \
                 buffers or removes headers (buffering, headers, compress)"
            }
            IngressController::Haproxy => {
                "HAProxy supports WebSockets by default: check its configuration snippets for \
                 `option httpclose`, or a rule that removes the headers Connection and Upgrade"
            }
        };
        format!(
            "the WebSocket upgrade is blocked. {controller}\n\
             a load balancer or CDN in front of the ingress must allow WebSockets, or forward TCP"
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
            "a proxy closes idle connections too early; its timeout must exceed \
             socketio.pingInterval plus pingTimeout (45s): {controller}; also check the idle \
             timeout of a load balancer in front of it\n\
             or lower socketio.pingInterval below that timeout"
        )
    }
}

fn refused(code: Option<&str>) -> String {
    match code {
        Some("unauthenticated") => "clients need a token: set --token or ROOKERY_TOKEN (`helm \
            test`: tests.tokenSecret); `rookery token` signs one"
            .to_owned(),
        Some("token_expired") => "use a token that has not expired".to_owned(),
        Some("backend_unavailable") => "the application's backend does not respond to the \
            connect webhook: check backend.url"
            .to_owned(),
        Some("draining") => "the server is draining: run this again".to_owned(),
        _ => "check auth and namespaces in the configuration".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisor(controller: IngressController) -> Advisor {
        Advisor { controller, url: "http://h".to_owned() }
    }

    #[test]
    fn fixes_name_the_controller_s_settings() {
        let unknown = Fault::UnknownSession { what: "a poll", cookies: Vec::new() };
        let cut_off = Fault::CutOff {
            what: "a poll",
            after: std::time::Duration::from_secs(10),
            reason: "it was closed".to_owned(),
        };
        for (controller, sticky, idle) in [
            (IngressController::Traefik, "service.sticky.cookie", "respondingTimeouts"),
            (IngressController::Haproxy, "haproxy.org/cookie-persistence", "timeout-tunnel"),
        ] {
            let advisor = advisor(controller);
            assert!(advisor.fix(Step::Polling, &unknown).contains(sticky));
            assert!(advisor.fix(Step::Hold, &cut_off).contains(idle));
            assert!(advisor.fix(Step::WebSocket, &cut_off).contains("upgrade is blocked"));
        }
    }

    #[test]
    fn the_fix_for_a_status_depends_on_who_sent_it() {
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
