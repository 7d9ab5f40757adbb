//! What reads the answers of pods, for the fuzz targets.

pub use crate::pods::sample::{Sample, SampleError};
