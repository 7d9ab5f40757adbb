use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ALL: usize = 1_000;

fn client(number: usize) -> Holder {
    let member = MemberId::from(format!("member {number}").as_str());
    Holder { publisher: PublisherKey::Client(member), address: None }
}

fn client_at(number: usize, address: u8) -> Holder {
    let address = AddressKey::of(IpAddr::from([9, 9, 9, address]), 64);
    Holder { address: Some(address), ..client(number) }
}

fn api() -> Holder {
    Holder { publisher: PublisherKey::Source(Source::Api), address: None }
}

/// Publications of `bytes` by each of these in turn until none is taken; gives the bytes of each.
fn flood(shares: &mut Shares, holders: &[Holder], bytes: usize) -> Vec<usize> {
    let mut taken = vec![0; holders.len()];
    let mut used: usize = shares.publishers.values().map(|held| held.bytes).sum();
    loop {
        let before = used;
        for (holder, taken) in holders.iter().zip(&mut taken) {
            let free = Amount { bytes: ALL - used, messages: ALL };
            if shares.take(holder, bytes, free).is_ok() {
                *taken += bytes;
                used += bytes;
            }
        }
        if used == before {
            return taken;
        }
    }
}

#[test]
fn publishers_that_flood_get_equal_shares_and_leave_one_for_another() {
    for publishers in 1..5 {
        let clients: Vec<_> = (0..publishers).map(client).collect();
        let mut shares = Shares::default();
        let taken = flood(&mut shares, &clients, 1);
        let share = ALL / (publishers + 1);
        assert!(taken.iter().all(|taken| taken.abs_diff(share) <= 1), "{taken:?}");
        let other = flood(&mut shares, &[api()], 1);
        assert!(other[0] >= share / 2, "{other:?} beside {taken:?}");
    }
}

#[test]
fn an_address_gets_one_share_however_many_publishers_it_has() {
    for members in [1, 2, 50, 500] {
        let hostile: Vec<_> = (0..members).map(|number| client_at(number, 1)).collect();
        let mut shares = Shares::default();
        let taken: usize = flood(&mut shares, &hostile, 1).iter().sum();
        assert!((ALL / 3 - 1..=ALL / 2).contains(&taken), "{members} members took {taken}");
        let healthy = flood(&mut shares, &[client_at(members, 2)], 1);
        assert!(healthy[0] >= (ALL - taken) / 3 - 1, "{healthy:?} beside {taken}");
        let backend = flood(&mut shares, &[api()], 1);
        assert!(backend[0] >= (ALL - taken - healthy[0]) / 2, "{backend:?} beside {taken}");
    }
}

#[test]
fn addresses_that_flood_get_equal_shares() {
    let members =
        |address| (0..50).map(move |n| client_at(100 * usize::from(address) + n, address));
    let holders: Vec<_> = (0..3).flat_map(members).collect();
    let taken = flood(&mut Shares::default(), &holders, 1);
    let of: Vec<usize> = taken.chunks(50).map(|taken| taken.iter().sum()).collect();
    assert!(of.iter().all(|taken| taken.abs_diff(ALL / 4) <= 10), "{of:?}");
}

#[test]
fn one_publisher_leaves_a_part_of_its_addresss_share_to_another_one() {
    let mut shares = Shares::default();
    let hostile = flood(&mut shares, &[client_at(1, 1)], 1);
    let neighbour = flood(&mut shares, &[client_at(2, 1)], 1);
    assert!(hostile[0] <= ALL / 3 + 1 && neighbour[0] >= ALL / 10, "{hostile:?} {neighbour:?}");
}

#[test]
fn a_refusal_says_whose_share_is_used_up_and_takes_nothing() {
    let mut shares = Shares::default();
    let free = |bytes| Amount { bytes, messages: ALL };
    assert_eq!(shares.take(&client_at(1, 1), 200, free(ALL)), Ok(()));
    assert_eq!(shares.take(&client_at(2, 1), 200, free(399)), Err(Shared::Address));
    assert_eq!(shares.take(&client_at(1, 1), 200, free(400)), Err(Shared::Publisher));
    assert_eq!(shares.take(&client(3), 200, free(199)), Err(Shared::Publisher));
    assert_eq!((shares.publishers.len(), shares.addresses.len()), (1, 1));
    shares.release(&client_at(1, 1), 200);
    assert!(shares.is_empty());
}

#[test]
fn many_small_publications_are_bounded_by_number() {
    let mut shares = Shares::default();
    let free = |messages| Amount { bytes: ALL, messages };
    assert_eq!(shares.take(&client(1), 1, free(2)), Ok(()));
    assert_eq!(shares.take(&client(1), 1, free(2)), Ok(()));
    assert_eq!(shares.take(&client(1), 1, free(2)), Err(Shared::Publisher));
    assert_eq!(shares.take(&client_at(2, 1), 1, free(1)), Ok(()));
    assert_eq!(shares.take(&client_at(3, 1), 1, free(1)), Err(Shared::Address));
}

#[test]
fn what_left_the_queue_is_forgotten() {
    let mut shares = Shares::default();
    let free = Amount { bytes: ALL, messages: ALL };
    for bytes in [600, 400] {
        assert_eq!(shares.take(&client(1), bytes, free), Ok(()));
    }
    assert_eq!(shares.take(&client(1), 1, free), Err(Shared::Publisher));
    shares.release(&client(1), 600);
    assert_eq!(shares.take(&client(1), 1, free), Ok(()));
    for bytes in [400, 1] {
        shares.release(&client(1), bytes);
    }
    assert!(shares.is_empty());
}

fn sum<K>(held: &HashMap<K, Amount>) -> Amount {
    held.values().fold(Amount::default(), |sum, held| Amount {
        bytes: sum.bytes + held.bytes,
        messages: sum.messages + held.messages,
    })
}

proptest! {
    /// Some of 20 members at 4 addresses, or at none, publish, and what waits leaves in any order.
    #[test]
    fn what_is_taken_and_released_balances(
        steps in vec((0_usize..20, 0_usize..400, any::<Option<prop::sample::Index>>()), 0..200),
    ) {
        let holder = |number: usize| match u8::try_from(number % 5).unwrap() {
            0 => client(number),
            address => client_at(number, address),
        };
        let mut shares = Shares::default();
        let mut waiting: Vec<(Holder, usize)> = Vec::new();
        for (number, bytes, leaves) in steps {
            let used: usize = waiting.iter().map(|(_, bytes)| bytes).sum();
            let free = Amount { bytes: ALL - used, messages: 50 - waiting.len() };
            let by = holder(number);
            if bytes <= free.bytes && free.messages > 0 && shares.take(&by, bytes, free).is_ok() {
                waiting.push((by, bytes));
            }
            for held in shares.addresses.values() {
                prop_assert!(held.bytes <= ALL && held.messages <= 50);
            }
            if let Some(index) = leaves && !waiting.is_empty() {
                let (by, bytes) = waiting.swap_remove(index.index(waiting.len()));
                shares.release(&by, bytes);
            }
            let with_address = waiting.iter().filter(|(by, _)| by.address.is_some());
            let bytes = waiting.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(sum(&shares.publishers), Amount { bytes, messages: waiting.len() });
            let bytes = with_address.clone().map(|(_, bytes)| bytes).sum();
            let messages = with_address.count();
            prop_assert_eq!(sum(&shares.addresses), Amount { bytes, messages });
        }
        for (by, bytes) in waiting {
            shares.release(&by, bytes);
        }
        prop_assert!(shares.is_empty());
    }
}
