//! How many requests of clients are under way, in all and of each one, so that nobody takes all of the gateway.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// The requests under way.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Those of clients that have any.
    by_client: HashMap<IpAddr, usize>,
}

/// Why a request is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMany {
    /// There are too many in all.
    InAll,
    /// The client has too many.
    OfOne,
}

/// A request under way; it counts until it is dropped.
#[derive(Debug)]
pub struct Visit {
    clients: Arc<Clients>,
    client: Option<IpAddr>,
}

impl Clients {
    /// Counts a request of the client at `address`, unless there are `most` already, or `most_each` of that client.
    ///
    /// # Errors
    ///
    /// It is one too many.
    pub fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        most: usize,
        most_each: Option<usize>,
    ) -> Result<Visit, TooMany> {
        let client = most_each.and(address).map(client);
        let mut counts = self.0.lock();
        if counts.all >= most {
            return Err(TooMany::InAll);
        }
        if let Some(client) = client {
            let count = counts.by_client.entry(client).or_default();
            if most_each.is_some_and(|most| *count >= most) {
                return Err(TooMany::OfOne);
            }
            *count += 1;
        }
        counts.all += 1;
        Ok(Visit { clients: self.clone(), client })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock();
        counts.all -= 1;
        if let Some(client) = self.client
            && let Some(count) = counts.by_client.get_mut(&client)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_client.remove(&client);
            }
        }
    }
}

/// Who is at an address: with IPv6, whoever has it has the whole network of 64 bits.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_client_has_its_own_bound_and_all_have_one() {
        let clients = Arc::new(Clients::default());
        let enter = |address| clients.enter(address, 4, Some(2));
        let first = enter(at("192.0.2.1")).unwrap();
        let _second = enter(at("::ffff:192.0.2.1")).unwrap();
        assert_eq!(enter(at("192.0.2.1")).unwrap_err(), TooMany::OfOne);
        let _third = enter(at("2001:db8::1")).unwrap();
        let _fourth = enter(at("2001:db8::ffff:1")).unwrap();
        assert_eq!(enter(at("192.0.2.2")).unwrap_err(), TooMany::InAll);
        drop(first);
        assert_eq!(enter(at("2001:db8::2")).unwrap_err(), TooMany::OfOne);
        let _again = enter(at("192.0.2.1")).unwrap();
        assert_eq!(clients.0.lock().by_client.len(), 2);
    }

    #[test]
    fn what_has_ended_leaves_nothing_behind() {
        let clients = Arc::new(Clients::default());
        for number in 0..1000u32 {
            let address = Some(IpAddr::from(number.to_be_bytes()));
            drop(clients.enter(address, 1, Some(1)).unwrap());
            drop(clients.enter(address, 1, None).unwrap());
        }
        let counts = clients.0.lock();
        assert_eq!((counts.all, counts.by_client.len()), (0, 0));
    }
}
