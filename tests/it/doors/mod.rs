//! What both doors have in common: encryption, limits, and what browsers are
//! told.

mod browsers;
mod grpc_web;
mod limits;
mod tls;
