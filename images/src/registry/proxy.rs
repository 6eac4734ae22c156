//! Which proxy a request goes through, as Go programs decide it (`golang.org/x/net/http/httpproxy`).

use std::env;
use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use super::error::{ConnectError, RegistryError};
use super::url::Url;

/// The proxies of the environment.
pub struct Proxies {
    https: Option<Setting>,
    http: Option<Setting>,
    /// The hosts that are reached without a proxy.
    direct: String,
}

/// A variable that is set.
struct Setting {
    variable: &'static str,
    address: String,
}

impl Proxies {
    /// Reads the environment.
    pub fn from_env() -> Self {
        let setting = |names: [&'static str; 2]| {
            names.into_iter().find_map(|variable| {
                let address = env::var(variable).ok().filter(|address| !address.is_empty())?;
                Some(Setting { variable, address })
            })
        };
        let direct = setting(["NO_PROXY", "no_proxy"]);
        Self {
            https: setting(["HTTPS_PROXY", "https_proxy"]),
            http: setting(["HTTP_PROXY", "http_proxy"]),
            direct: direct.map_or_else(String::new, |setting| setting.address.to_lowercase()),
        }
    }

    /// The proxy for an address, if it is not reached directly.
    ///
    /// # Errors
    /// A variable that has no address of a proxy, or that of another kind than `http` and `https`.
    pub fn choose(&self, url: &Url) -> Result<Option<Proxy>, RegistryError> {
        let setting = if url.is_secure() { &self.https } else { &self.http };
        let Some(setting) = setting else { return Ok(None) };
        if is_direct(&self.direct, url) {
            return Ok(None);
        }
        let proxy = Proxy::new(setting.address.trim())
            .ok()
            .filter(|proxy| matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https));
        let why = ConnectError::ProxyAddress(setting.variable);
        let host = url.authority().to_owned();
        proxy.map(Some).ok_or(RegistryError::Connect { host, why })
    }
}

/// Whether a host is reached without a proxy: this machine, and what `direct` lists.
fn is_direct(direct: &str, url: &Url) -> bool {
    let host = url.uri().host().unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_matches(['[', ']']);
    let port = url.uri().port_u16().unwrap_or(if url.is_secure() { 443 } else { 80 });
    let address: Option<IpAddr> = host.parse().ok();
    let is_this_machine = host == "localhost" || address.is_some_and(|it| it.is_loopback());
    is_this_machine || direct.split(',').any(|entry| covers(entry.trim(), host, address, port))
}

/// Whether an entry of `NO_PROXY` means a host: `*`, an address, a network, a domain with all that is below
/// it, or `.DOMAIN` only for what is below it. A port may follow.
fn covers(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, length)) = entry.split_once('/') {
        return address.is_some_and(|it| in_network(it, network, length).unwrap_or_default());
    }
    if let Ok(listed) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(listed) == address;
    }
    let (name, listed) = match entry.rsplit_once(':') {
        Some((name, listed)) => (name, listed.parse().ok()),
        None => (entry, Some(port)),
    };
    let name = name.trim_matches(['[', ']']);
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let domain = name.strip_prefix('.').unwrap_or(name);
    let below = host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    !domain.is_empty() && listed == Some(port) && (below || name == host)
}

fn in_network(address: IpAddr, network: &str, length: &str) -> Option<bool> {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(it) => (u128::from(it.to_bits()) << 96, 32),
        IpAddr::V6(it) => (it.to_bits(), 128),
    };
    let ((address, width), (network, other)) = (bits(address), bits(network.parse().ok()?));
    let length: u32 = length.parse().ok().filter(|length| *length <= other)?;
    Some(width == other && (address ^ network).checked_shr(128 - length).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_reached_directly_as_go_programs_do() {
        let direct = "r.example , .below.example,*.wild.example, port.example:5000,10.0.0.0/8, \
            192.0.2.1,2001:db8::/32, ,bad/x";
        for (host, expected) in [
            ("localhost:5000", true),
            ("127.1.2.3", true),
            ("[::1]:5000", true),
            ("R.example", true),
            ("a.r.example:5000", true),
            ("ar.example", false),
            ("below.example", false),
            ("a.below.example", true),
            ("wild.example", false),
            ("a.wild.example", true),
            ("port.example:5000", true),
            ("port.example", false),
            ("10.2.3.4:80", true),
            ("11.2.3.4", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("[2001:db8::5]", true),
            ("[2001:db9::5]", false),
            ("other.example", false),
        ] {
            let url =
                Url::parse(&format!("https://{host}/v2/")).unwrap_or_else(|| panic!("{host}"));
            assert_eq!(is_direct(direct, &url), expected, "{host}");
            assert!(is_direct("*", &url), "{host}");
        }
    }

    #[test]
    fn the_scheme_decides_and_an_unusable_proxy_is_an_error() {
        let setting =
            |variable, address: &str| Some(Setting { variable, address: address.to_owned() });
        let proxies = Proxies {
            https: setting("HTTPS_PROXY", "http://proxy.example:3128"),
            http: setting("http_proxy", "socks5://proxy.example"),
            direct: String::new(),
        };
        let url = |text: &str| Url::parse(text).unwrap_or_else(|| panic!("{text}"));
        let proxy = proxies.choose(&url("https://r.example/"));
        assert!(proxy.is_ok_and(|proxy| proxy.is_some_and(|it| it.port() == 3128)));
        let refused = proxies.choose(&url("http://r.example/"));
        assert!(refused.is_err_and(|error| error.to_string().contains("`http_proxy`")));
    }
}
