//! The body of a POST: read into one buffer, with bounds on its size, its pace and what all bodies
//! take together.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use crate::gateway::limits::{BodyPermit, LimitReached};

/// The bytes that the buffer of a longer body begins with: what did not arrive takes little.
const FIRST: usize = 16 << 10;

/// The bounds on a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyBounds {
    /// Its most bytes.
    pub max: usize,
    /// How long it may pause.
    pub idle: Duration,
    /// Bytes per second that it must have on average, after twice `idle`.
    pub rate: u64,
}

/// Why a body was not read.
#[derive(Debug)]
pub enum BodyError {
    /// It is longer than the bounds allow.
    TooLarge,
    /// It paused for too long, or its pace is too slow.
    TooSlow,
    /// The connection broke.
    Incomplete,
    /// All bodies together take what they may.
    Limit(LimitReached),
}

impl BodyBounds {
    /// Reads a body into one buffer, which `permit` allows for. It grows with what arrives, to the
    /// declared length at most, so that a body takes about its own size however it is divided.
    ///
    /// # Errors
    /// As soon as it is known that the body will not be read.
    pub async fn read<B>(self, body: B, permit: &mut BodyPermit) -> Result<Vec<u8>, BodyError>
    where
        B: Body<Data = Bytes>,
    {
        let hint = body.size_hint();
        if hint.lower() > self.max as u64 {
            return Err(BodyError::TooLarge);
        }
        let most = hint.exact().map_or(self.max, |length| length as usize);
        let mut body = std::pin::pin!(body);
        let mut buffer = Vec::new();
        let start = Instant::now();
        loop {
            let deadline = (Instant::now() + self.idle).min(start + self.allowed(buffer.len()));
            let frame = timeout_at(deadline, body.frame()).await;
            let Some(frame) = frame.map_err(|_| BodyError::TooSlow)? else { return Ok(buffer) };
            let Ok(data) = frame.map_err(|_| BodyError::Incomplete)?.into_data() else { continue };
            let length = buffer.len() + data.len();
            if length > self.max {
                return Err(BodyError::TooLarge);
            }
            if length > buffer.capacity() {
                let capacity = length.max(2 * buffer.capacity()).max(FIRST).min(most.max(length));
                permit.grow(capacity).map_err(BodyError::Limit)?;
                buffer.reserve_exact(capacity - buffer.len());
            }
            buffer.extend_from_slice(&data);
        }
    }

    /// How long a body may have taken by the time that this many bytes have arrived.
    fn allowed(self, received: usize) -> Duration {
        2 * self.idle + Duration::from_secs(1).mul_f64(received as f64 / self.rate.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt as _};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;
    use crate::gateway::forwarded::Origin;
    use crate::gateway::limits::Limits;
    use rookery_config as config;
    use rookery_config::units::Size;

    const BOUNDS: BodyBounds =
        BodyBounds { max: 1 << 20, idle: Duration::from_secs(10), rate: 1000 };

    fn limits(bodies: u64) -> Limits {
        Limits::new(config::Limits { bodies: Size(bodies), ..config::Limits::default() })
    }

    fn from(last: u8) -> Origin {
        Origin::of([198, 51, 100, last].into(), std::iter::empty(), &[])
    }

    /// A chunked body of `n` chunks, one each `pause`.
    fn chunks(n: usize, chunk: &'static [u8], pause: Duration) -> impl Body<Data = Bytes> {
        let chunks = stream::iter(0..n).then(move |_| async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk)))
        });
        StreamBody::new(chunks)
    }

    async fn read(body: impl Body<Data = Bytes>) -> Result<Vec<u8>, BodyError> {
        BOUNDS.read(body, &mut limits(64 << 20).body(from(1))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_single_bytes_takes_about_its_own_size() {
        let body = read(chunks(500_000, b"x", Duration::ZERO)).await.unwrap();
        assert_eq!(body.len(), 500_000);
        assert!(body.capacity() <= 1 << 20);
        let declared = read(Full::new(Bytes::from(vec![0; 300_000]))).await.unwrap();
        assert_eq!((declared.len(), declared.capacity()), (300_000, 300_000));
        assert_eq!(read(chunks(0, b"", Duration::ZERO)).await.unwrap(), b"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_too_long_is_refused_as_soon_as_that_is_known() {
        let declared = read(Full::new(Bytes::from(vec![0; (1 << 20) + 1]))).await;
        assert!(matches!(declared, Err(BodyError::TooLarge)));
        let endless = read(chunks(usize::MAX, b"0123456789", Duration::ZERO)).await;
        assert!(matches!(endless, Err(BodyError::TooLarge)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_read_while_it_makes_progress() {
        // A phone that sends 10 kB/s, in parts, over a minute.
        static PART: [u8; 10_000] = [7; 10_000];
        let body = read(chunks(60, &PART, Duration::from_secs(1))).await.unwrap();
        assert_eq!(body.len(), 600_000);
        // A few bytes with pauses.
        assert_eq!(read(chunks(3, b"42", Duration::from_secs(6))).await.unwrap().len(), 6);
        let pause = read(chunks(2, &PART, Duration::from_secs(11))).await;
        assert!(matches!(pause, Err(BodyError::TooSlow)));
        let start = Instant::now();
        let trickle = read(chunks(usize::MAX, b"x", Duration::from_secs(1))).await;
        assert!(matches!(trickle, Err(BodyError::TooSlow)));
        assert!(start.elapsed() < Duration::from_secs(25));
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_cannot_take_the_memory_for_all_bodies() {
        let limits = limits(1 << 20);
        let mut held = Vec::new();
        let refused = loop {
            let mut permit = limits.body(from(1));
            match permit.grow(64 << 10) {
                Ok(()) => held.push(permit),
                Err(reached) => break reached,
            }
        };
        assert_eq!((refused.reason.label(), held.len()), ("bodies", 4));
        let mut other = limits.body(from(2));
        assert!(other.grow(256 << 10).is_ok());
        assert!(other.grow(4 << 20).is_err());
        drop((held, other));
        assert!(limits.body(from(3)).grow(4 << 20).is_ok(), "a single body may be larger");
    }
}
