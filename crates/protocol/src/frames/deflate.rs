//! Compressed messages of WebSockets (RFC 7692, section 7.2), each without a context: the same
//! message is the same bytes for every client, and no connection keeps anything.

use std::cell::Cell;

use bytes::Bytes;
use miniz_oxide::DataFormat;
use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::{FrameError, Sender, parse_head, put_compressed_head};

/// The end of a compressed message, which is not sent (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How hard a smaller form of a short message is tried for, from 1 to 10: it is made once, and sent to
/// many.
const LEVEL: u8 = 4;

/// The same for a message of more than [`SHORT`] bytes: its deliveries wait meanwhile, four times as
/// long at [`LEVEL`], for a tenth less.
const LEVEL_OF_LONG: u8 = 1;

/// The most bytes of a short message.
const SHORT: usize = 16 << 10;

/// The largest window of DEFLATE, 32 KiB, as a power of two.
const WINDOW_BITS: u8 = 15;

/// Blocks that a compressed message may have however short it is, and further bytes for which it may
/// have one more. Each block may have tables of its own, which take some microseconds to build, for a
/// few bits of the message; compressors write blocks of kilobytes.
const MIN_BLOCKS: usize = 256;
const BYTES_PER_BLOCK: usize = 128;

/// The smallest buffer for an inflated message, in bytes.
const MIN_BUFFER: usize = 256;

const FLAGS: u32 = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT
    | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
    | inflate_flags::TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;

thread_local! {
    /// Compresses the message at hand; about 320 KiB, from the first message on.
    static COMPRESSOR: Cell<Option<Box<CompressorOxide>>> = const { Cell::new(None) };
    /// Inflates the message at hand; about 10 KiB.
    static DECOMPRESSOR: Cell<Option<Box<DecompressorOxide>>> = const { Cell::new(None) };
}

/// Which messages are compressed for clients that take compressed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The fewest bytes of a message that is compressed, if that makes it smaller.
    pub threshold: usize,
}

/// A message compressed; `None` where that does not make it smaller.
pub fn compress(message: &[u8]) -> Option<Vec<u8>> {
    let mut compressor = COMPRESSOR.take().unwrap_or_else(|| {
        let (format, strategy) = (DataFormat::Raw, CompressionStrategy::Default);
        Box::new(CompressorOxide::with_params(format, LEVEL, strategy, WINDOW_BITS))
    });
    compressor.reset();
    compressor.set_compression_level_raw(if message.len() > SHORT { LEVEL_OF_LONG } else { LEVEL });
    let mut out = Vec::with_capacity(message.len() / 2 + TAIL.len());
    let most = message.len() + TAIL.len();
    let (status, _) = compress_to_output(&mut compressor, message, TDEFLFlush::Sync, |bytes| {
        out.extend_from_slice(bytes);
        out.len() < most
    });
    COMPRESSOR.set(Some(compressor));
    if status != TDEFLStatus::Okay || !out.ends_with(&TAIL) {
        return None;
    }
    out.truncate(out.len() - TAIL.len());
    (out.len() < message.len()).then_some(out)
}

/// The message that was compressed. Of one with more than `max` bytes, no more than about `max` are
/// inflated.
///
/// # Errors
/// Fails if the message is longer than `max`, is not valid, or has more blocks than any compressor
/// would write.
pub fn inflate(compressed: &[u8], max: usize) -> Result<Vec<u8>, FrameError> {
    let mut decompressor = DECOMPRESSOR.take().unwrap_or_default();
    let inflated = Inflation::new(&mut decompressor, compressed.len(), max).run(compressed);
    DECOMPRESSOR.set(Some(decompressor));
    let inflated = inflated?;
    if inflated.len() > max { Err(FrameError::TooLong) } else { Ok(inflated) }
}

/// A message that is being inflated.
struct Inflation<'a> {
    decompressor: &'a mut DecompressorOxide,
    out: Vec<u8>,
    /// Bytes of `out` that are inflated.
    written: usize,
    /// The most bytes of `out`: one more than a message may have.
    limit: usize,
    /// Blocks that the message may still have.
    blocks: usize,
}

impl<'a> Inflation<'a> {
    fn new(decompressor: &'a mut DecompressorOxide, compressed: usize, max: usize) -> Self {
        decompressor.init();
        let limit = max.saturating_add(1);
        Inflation {
            decompressor,
            out: vec![0; compressed.saturating_mul(4).max(MIN_BUFFER).min(limit)],
            written: 0,
            limit,
            blocks: MIN_BLOCKS + compressed / BYTES_PER_BLOCK,
        }
    }

    fn run(mut self, compressed: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut status = self.inflate(compressed)?;
        // A message that ends with a last block needs no end.
        if status != TINFLStatus::Done {
            status = self.inflate(&TAIL)?;
        }
        if !matches!(status, TINFLStatus::BlockBoundary | TINFLStatus::Done) {
            return Err(FrameError::Deflate);
        }
        self.out.truncate(self.written);
        Ok(self.out)
    }

    /// Inflates all of `rest`. The status says whether a block ends with it.
    fn inflate(&mut self, mut rest: &[u8]) -> Result<TINFLStatus, FrameError> {
        loop {
            let (status, read, wrote) =
                decompress(self.decompressor, rest, &mut self.out, self.written, FLAGS);
            rest = &rest[read..];
            self.written += wrote;
            match status {
                TINFLStatus::BlockBoundary | TINFLStatus::Done => {
                    self.blocks = self.blocks.checked_sub(1).ok_or(FrameError::Blocks)?;
                }
                TINFLStatus::NeedsMoreInput => return Ok(status),
                TINFLStatus::HasMoreOutput if self.out.len() < self.limit => {
                    let length = self.out.len().saturating_mul(2).min(self.limit);
                    self.out.resize(length, 0);
                    continue;
                }
                TINFLStatus::HasMoreOutput => return Err(FrameError::TooLong),
                _ => return Err(FrameError::Deflate),
            }
            if rest.is_empty() {
                return Ok(status);
            }
            if status == TINFLStatus::Done {
                // More may follow the last block (RFC 7692, section 7.2.3.4).
                self.decompressor.init();
            }
        }
    }
}

/// Frames of a server, which are whole messages each, with those compressed that have at least as many
/// bytes as the threshold and become smaller by it.
pub(crate) fn compress_frames(frames: &Bytes, deflate: Deflate) -> Bytes {
    let (mut out, mut taken, mut at) = (Vec::new(), 0, 0);
    while let Ok(Some(head)) = parse_head(&frames[at..], Sender::Server, false, usize::MAX / 2) {
        let (start, end) = (at + head.bytes, at + head.bytes + head.payload);
        let Some(payload) = frames.get(start..end) else { break };
        if payload.len() >= deflate.threshold
            && !head.opcode.is_control()
            && let Some(compressed) = compress(payload)
        {
            out.extend_from_slice(&frames[taken..at]);
            put_compressed_head(&mut out, head.opcode, compressed.len());
            out.extend_from_slice(&compressed);
            taken = end;
        }
        at = end;
    }
    if taken == 0 {
        return frames.clone();
    }
    out.extend_from_slice(&frames[taken..]);
    out.shrink_to_fit();
    out.into()
}
