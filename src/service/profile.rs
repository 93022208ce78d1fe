//! The description of a user by an access token.

/// The description of a user by the user's access token. The service has no directory, so it has no
/// other one, and stores none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The name of the user, for people.
    pub display_name: Option<String>,
    /// The name with which the user signs in.
    pub user_principal_name: Option<String>,
    /// The email address.
    pub mail: Option<String>,
}
