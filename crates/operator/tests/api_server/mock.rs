//! An API server in memory that does as it is told, also wrong.

pub(crate) mod controllers;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod objects;
pub(crate) mod watching;
