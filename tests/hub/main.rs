//! The hub module against a hub on the loopback.
#![cfg(feature = "cli")]

mod cached;
mod command;
mod download;
mod libraries;
mod refusals;
mod server;
mod support;
mod transfer;
