//! What both doors have in common: encryption, limits, and what browsers are
//! told.

mod browsers;
mod limits;
mod tls;
