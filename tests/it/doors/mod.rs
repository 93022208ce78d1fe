//! What both doors have in common: encryption, limits, age, and what browsers are
//! told.

mod age;
mod browsers;
mod limits;
mod tls;
