//! The Kubernetes operator: what a `Rookery` resource asks for, made and kept.
//!
//! A reconciliation is `observe -> validate -> build -> apply -> status`, one file each;
//! `validate` and `build` are pure and need no cluster, which is how `rookery render` uses them.

pub mod build;
pub mod crd;
pub mod names;
pub mod validate;
