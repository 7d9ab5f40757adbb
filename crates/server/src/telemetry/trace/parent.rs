//! The [`TraceParent`]: the trace and span that a publication continues.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use rand::Rng as _;

/// The flags that are passed on: sampled, and random trace id.
///
/// Source: W3C Trace Context, level 2, section 3.2.2.5.
const KNOWN_FLAGS: u8 = 0b11;

/// A trace, the span in it that is the parent, and whether it is sampled.
///
/// Its text form is the value of a `traceparent` header (W3C Trace Context, level 2, section 3.2).
/// `tracestate` is neither read nor passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl TraceParent {
    /// Parses a `traceparent`; `None` where it is malformed. Of a later version, the parts known
    /// from version 00 are used (section 3.2.4).
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let [version, trace, span, flags, ..] = parts[..] else { return None };
        if version.len() != 2 || version == "ff" || (version == "00" && parts.len() != 4) {
            return None;
        }
        hex(version, 2)?;
        let trace = TraceId::from(u128::from_str_radix(hex(trace, 32)?, 16).ok()?);
        let span = SpanId::from(u64::from_str_radix(hex(span, 16)?, 16).ok()?);
        let flags = u8::from_str_radix(hex(flags, 2)?, 16).ok()? & KNOWN_FLAGS;
        let valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        valid.then_some(TraceParent { trace, span, flags: TraceFlags::new(flags) })
    }

    /// The parent for the children of `span`; `None` where the span has no valid context.
    pub fn of(span: &SpanContext) -> Option<Self> {
        span.is_valid().then(|| TraceParent {
            trace: span.trace_id(),
            span: span.span_id(),
            flags: span.trace_flags(),
        })
    }

    /// The parent of a trace of its own that is not sampled.
    pub(super) fn unsampled() -> Self {
        let mut rng = rand::rng();
        let trace = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64().max(1));
        TraceParent {
            trace: TraceId::from(trace),
            span: SpanId::from(rng.next_u64().max(1)),
            flags: TraceFlags::NOT_SAMPLED,
        }
    }

    /// Whether the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        self.flags.is_sampled()
    }

    /// The same as a remote span context of OpenTelemetry.
    pub(super) fn remote(self) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, true, TraceState::NONE)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8())
    }
}

/// Returns `text` if it consists of `length` lower-case hexadecimal digits.
fn hex(text: &str, length: usize) -> Option<&str> {
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == length && digits).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_traceparent_is_parsed_and_printed_unchanged() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert!(parent.is_sampled());
        assert_eq!(parent.to_string(), GOOD);
        let not = TraceParent::parse(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!not.is_sampled());
    }

    #[test]
    fn a_trace_that_is_not_sampled_is_valid_and_says_so() {
        let (one, other) = (TraceParent::unsampled(), TraceParent::unsampled());
        assert_eq!(TraceParent::parse(&one.to_string()), Some(one));
        assert!(!one.is_sampled());
        assert_ne!(one, other);
    }

    #[test]
    fn a_later_version_is_passed_on_as_version_00() {
        for later in [
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more-and-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fd",
        ] {
            assert_eq!(TraceParent::parse(later).unwrap().to_string(), GOOD, "{later}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_rejected() {
        for bad in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f35-00f067aa0ba902b7-01",
            "---",
            "",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = TraceParent::parse(&text);
        }

        #[test]
        fn a_parsed_traceparent_survives_a_round_trip(
            trace in 1..=u128::MAX, span in 1..=u64::MAX, flags in any::<u8>(),
        ) {
            let text = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
            let parent = TraceParent::parse(&text).unwrap();
            prop_assert_eq!(TraceParent::parse(&parent.to_string()), Some(parent));
        }
    }
}
