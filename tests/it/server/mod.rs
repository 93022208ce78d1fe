//! Behaviour of both servers: TLS, limits, connection age, and browsers.

mod age;
mod browsers;
mod grpc_web;
mod limits;
mod pressure;
mod tls;
