//! The URLs of receivers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::address::Addresses;

/// The longest URL, in characters.
pub const URL_MAX_CHARS: usize = 2_048;

/// Why notifications cannot be sent to a URL. The message belongs after the name of the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The text is not a URL, or has white space.
    #[error("must be an https URL; this text is not a URL")]
    NotUrl,
    /// The URL is too long.
    #[error("must be an https URL of at most {URL_MAX_CHARS} characters")]
    TooLong,
    /// The scheme is another one.
    #[error("must be an https URL")]
    Scheme,
    /// The URL has a user name or a password.
    #[error("must be a URL without a user name and a password")]
    UserInfo,
    /// The URL has a fragment.
    #[error("must be a URL without a fragment (#)")]
    Fragment,
    /// The host is an address that is not allowed.
    #[error("must be a URL of a public host; the address of this one is not allowed")]
    Address,
}

/// Parses a URL of a receiver, and checks all of it that needs no name resolution.
pub(super) fn parse(text: &str, addresses: &Addresses) -> Result<Url, UrlError> {
    // The parser would remove these, so the URL would differ from what the subscriber reads back.
    if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(UrlError::NotUrl);
    }
    if text.len() > URL_MAX_CHARS {
        return Err(UrlError::TooLong);
    }
    let url = Url::parse(text).map_err(|_| UrlError::NotUrl)?;
    if url.as_str().len() > URL_MAX_CHARS {
        return Err(UrlError::TooLong);
    }
    check(&url, addresses).map(|()| url)
}

/// Checks all of a URL that needs no name resolution. The parser has brought addresses in decimal,
/// octal or hexadecimal numbers to their usual form.
pub(super) fn check(url: &Url, addresses: &Addresses) -> Result<(), UrlError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    let host = url.host_str().unwrap_or_default();
    let literal = literal(host);
    match url.scheme() {
        "https" => {}
        "http" if is_own(host, literal, addresses) => {}
        _ => return Err(UrlError::Scheme),
    }
    match literal {
        Some(address) if !addresses.permit(address) => Err(UrlError::Address),
        _ => Ok(()),
    }
}

/// Whether the host is this machine, and the operator allows that.
fn is_own(host: &str, literal: Option<IpAddr>, addresses: &Addresses) -> bool {
    match literal {
        Some(address) => addresses.allow_loopback(address),
        None => {
            is_localhost(host) && localhost().into_iter().any(|address| addresses.allow_loopback(address))
        }
    }
}

/// Whether the name means this machine. It resolves to no other address.
pub(super) fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

/// The addresses of this machine.
pub(super) fn localhost() -> [IpAddr; 2] {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

/// The host, if it is an address. The client connects to it without name resolution.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// The host and the path of a URL, for logs and lists. The rest may have a secret.
#[must_use]
pub fn display_url(url: &Url) -> String {
    format!("{}{}", url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(allowed: &[&str], text: &str) -> Result<String, UrlError> {
        let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
        parse(text, &Addresses::new(allowed)).map(String::from)
    }

    #[test]
    fn a_url_is_https_of_a_name_or_a_public_address() {
        for url in [
            "https://example.com/hook",
            "https://example.com:8443/hook?code=secret",
            "https://8.8.8.8/",
            "https://[2600:1f18::1]/",
        ] {
            assert_eq!(check_with(&[], url).as_deref(), Ok(url));
        }
    }

    #[test]
    fn each_error_names_its_cause() {
        let longest = format!("https://example.com/{}", "x".repeat(URL_MAX_CHARS - 20));
        assert!(check_with(&[], &longest).is_ok());
        for (url, expected) in [
            ("", UrlError::NotUrl),
            ("/hook", UrlError::NotUrl),
            ("https://", UrlError::NotUrl),
            (" https://example.com", UrlError::NotUrl),
            ("https://exa\nmple.com", UrlError::NotUrl),
            ("https://1.2.3.4.5", UrlError::NotUrl),
            (&format!("{longest}x"), UrlError::TooLong),
            (&format!("https://example.com/{}", "é".repeat(1_000)), UrlError::TooLong),
            (&format!("https://example.com/{}", "é".repeat(500)), UrlError::TooLong),
            ("http://example.com", UrlError::Scheme),
            ("http://localhost", UrlError::Scheme),
            ("http://127.0.0.1", UrlError::Scheme),
            ("ftp://example.com", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("data:text/plain,x", UrlError::Scheme),
            ("https://user@example.com", UrlError::UserInfo),
            ("https://:password@example.com", UrlError::UserInfo),
            ("https://example.com/#", UrlError::Fragment),
            ("https://127.0.0.1", UrlError::Address),
        ] {
            assert_eq!(check_with(&[], url), Err(expected), "{url}");
        }
    }

    #[test]
    fn an_address_is_found_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.0.1.",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "0x7f000001",
            "0x7f.0.0.1",
            "0X7F.1",
            "127.0.0.%31",
            "１２７.0.0.1",
            "127。0。0。1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "[fd00:ec2::254]",
        ] {
            assert_eq!(check_with(&[], &format!("https://{host}/")), Err(UrlError::Address), "{host}");
        }
    }

    #[test]
    fn http_serves_only_an_allowed_loopback_address() {
        let allowed = ["127.0.0.1/32", "10.0.0.0/8"];
        for url in ["http://127.0.0.1:8080/", "http://localhost:8080/", "https://10.0.0.1/"] {
            assert!(check_with(&allowed, url).is_ok(), "{url}");
        }
        for url in ["http://127.0.0.2/", "http://10.0.0.1/", "http://[::1]/", "http://localhost.example/"] {
            assert_eq!(check_with(&allowed, url), Err(UrlError::Scheme), "{url}");
        }
    }

    #[test]
    fn a_shown_url_has_only_host_and_path() {
        let url = Url::parse("https://example.com:8443/hook/1?code=secret").unwrap();
        assert_eq!(display_url(&url), "example.com/hook/1");
    }
}
