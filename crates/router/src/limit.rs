//! Limits: how many requests of a service are at its replicas at once, how many are sent again, and how many may come.

mod budget;
mod concurrency;
mod gradient;
mod rate;

pub use self::rate::SharedRates;
pub(crate) use self::{
    budget::RetryBudget,
    concurrency::{Gate, Place, Shed},
    rate::{RateLimiter, SHARED_HELP, within},
};
