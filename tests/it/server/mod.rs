//! What both APIs have in common: encryption, limits, age, and what browsers are
//! told.

mod age;
mod browsers;
mod grpc_web;
mod limits;
mod tls;
