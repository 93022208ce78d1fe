//! The addresses to which notifications may be sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks of IPv4 that are not on the public internet, and addresses there that lead elsewhere.
const NOT_PUBLIC_V4: [Ipv4Net; 17] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    // Shared by customers of a provider. Alibaba Cloud's metadata are here.
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    // The service of Azure for its virtual machines.
    v4([168, 63, 129, 16], 32),
    // Link-local, with the metadata of most clouds.
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    // Protocol assignments, with the metadata of Oracle's cloud.
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    // Relays of 6to4.
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    // Reserved, with the broadcast address.
    v4([240, 0, 0, 0], 4),
    v4([255, 255, 255, 255], 32),
];

/// The only network of IPv6 with public addresses, apart from [`NAT64`].
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0], 3);

/// Networks in [`PUBLIC_V6`] that are not public: protocol assignments with Teredo, and documentation.
const NOT_PUBLIC_V6: [Ipv6Net; 3] = [v6([0x2001, 0], 23), v6([0x2001, 0xdb8], 32), v6([0x3fff, 0], 20)];

/// Networks whose addresses contain an address of IPv4, to which a gateway sends.
const NAT64: Ipv6Net = v6([0x64, 0xff9b], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0], 16);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b]: [u16; 2], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), length)
}

/// The addresses to which notifications may be sent: public ones, and those that the operator allows.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    allowed: Vec<IpNet>,
}

impl Addresses {
    pub(super) fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether notifications may be sent to this address.
    pub(super) fn permit(&self, address: IpAddr) -> bool {
        self.allow(address)
            || match address.to_canonical() {
                IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address)),
                IpAddr::V6(address) => match embedded(address) {
                    Some(embedded) => self.permit(embedded.into()),
                    None => {
                        PUBLIC_V6.contains(&address)
                            && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
                    }
                },
            }
    }

    /// Whether this is an address of this machine that the operator allows.
    pub(super) fn allow_loopback(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() && self.allow(address)
    }

    /// Whether the operator allows the address, also if it is written as one of IPv6.
    fn allow(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address) || network.contains(&canonical))
    }
}

/// The address of IPv4 to which a gateway sends what is sent to this one.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, a, b, _, _, _, c, d] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address {
        _ if NAT64.contains(&address) => Some(join(c, d)),
        _ if SIX_TO_FOUR.contains(&address) => Some(join(a, b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted(allowed: &str, address: &str) -> bool {
        let allowed = allowed.split_whitespace().map(|network| network.parse().unwrap()).collect();
        Addresses::new(allowed).permit(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_are_permitted() {
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2600:1f18::1",
            "2a00:1450:4001:81b::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(permitted("", address), "{address}");
        }
    }

    #[test]
    fn all_other_addresses_are_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:a9fe:a9fe",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permitted("", address), "{address}");
        }
    }

    #[test]
    fn the_operator_allows_networks_in_any_spelling_of_their_addresses() {
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1"] {
            assert!(permitted("10.1.0.0/16", address), "{address}");
            assert!(!permitted("10.2.0.0/16 fd00::/8", address), "{address}");
        }
        assert!(permitted("::1/128", "::1") && !permitted("::1/128", "127.0.0.1"));
        assert!(permitted("::ffff:127.0.0.0/104", "::ffff:127.0.0.1"));
        let loopback = Addresses::new(vec!["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        let allowed = |address: &str| loopback.allow_loopback(address.parse().unwrap());
        assert!(allowed("127.0.0.1") && allowed("::ffff:127.0.0.1"));
        assert!(!allowed("127.0.0.2") && !allowed("10.0.0.1") && !allowed("::1") && !allowed("8.8.8.8"));
    }
}
