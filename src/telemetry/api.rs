//! The two APIs, as labels of telemetry.

/// The API that received a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The gRPC API.
    Grpc,
    /// The HTTP API.
    Http,
}

impl Api {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// The name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}
