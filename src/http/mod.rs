//! HOW to ask: requests, redirects and what goes wrong with them. The only user of the HTTP library;
//! knows no target path and no progress.

mod client;
mod failure;
mod redirect;

pub use client::{Answer, Client, Clients, Framing};
