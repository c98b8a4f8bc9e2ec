use super::*;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SOA};
use hickory_resolver::proto::rr::{Name as DnsName, RData, Record, RecordType};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::net::UdpSocket;

/// A name server that knows one address of every name, for so many seconds, or no name at all. It counts queries.
struct NameServer {
    at: SocketAddr,
    queries: Arc<AtomicUsize>,
}

async fn name_server(address: Option<Ipv4Addr>, ttl: u32) -> NameServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let queries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&queries);
    tokio::spawn(async move {
        let mut bytes = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            counted.fetch_add(1, Relaxed);
            let query = Message::from_vec(&bytes[..length]).unwrap();
            let answer = answer(query, address, ttl).to_vec().unwrap();
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    NameServer { at, queries }
}

fn answer(query: Message, address: Option<Ipv4Addr>, ttl: u32) -> Message {
    let mut answer = query.into_response();
    let asked = answer.queries[0].clone();
    match address {
        Some(address) if asked.query_type() == RecordType::A => {
            let data = RData::A(A(address));
            answer.add_answer(Record::from_rdata(asked.name().clone(), ttl, data));
        }
        _ => {
            if address.is_none() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let root = DnsName::root();
            let soa = SOA::new(root.clone(), root, 1, 1, 1, 1, 86_400);
            let zone = asked.name().base_name();
            answer.add_authority(Record::from_rdata(zone, 86_400, RData::SOA(soa)));
        }
    }
    answer
}

impl NameServer {
    fn asked_by(&self, policy: TargetPolicy) -> PolicyResolver {
        PolicyResolver::new(Arc::new(policy), &[self.at]).unwrap()
    }

    fn queries(&self) -> usize {
        self.queries.load(Relaxed)
    }
}

const TARGET: &str = "hooks.postrider.test";
const V4: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn vetted(answer: impl IntoIterator<Item = IpAddr>) -> Result<usize, NameFailure> {
    let answer: Vec<IpAddr> = answer.into_iter().collect();
    vet(&TargetPolicy::default(), &answer).map(|addresses| addresses.len())
}

#[test]
fn one_denied_address_rejects_all_of_them_wherever_it_stands() {
    assert_eq!(vetted([PRIVATE, PUBLIC]), Err(NameFailure::NotAllowed));
    assert_eq!(vetted([PUBLIC, PRIVATE]), Err(NameFailure::NotAllowed));
    let at_the_end = [PUBLIC; 500].into_iter().chain([PRIVATE]);
    assert_eq!(vetted(at_the_end), Err(NameFailure::NotAllowed));
}

#[test]
fn an_answer_may_be_long_or_empty() {
    assert_eq!(vetted([PUBLIC; 500]), Ok(MAX_ADDRESSES));
    assert_eq!(vetted([]), Err(NameFailure::Unresolved));
}

#[tokio::test]
async fn an_answer_is_asked_for_once_by_all_who_want_it_at_the_same_time_and_later() {
    let server = name_server(Some(V4), 60).await;
    let resolver = server.asked_by(TargetPolicy::default());
    let wanted = (0..50).map(|_| resolver.addresses(TARGET));
    for found in futures_util::future::join_all(wanted).await {
        assert_eq!(found, Ok(vec![SocketAddr::new(PUBLIC, 0)]));
    }
    assert_eq!(server.queries(), 2, "one for IPv4, one for IPv6");
    assert!(resolver.addresses(TARGET).await.is_ok());
    assert_eq!(server.queries(), 2);
}

#[tokio::test]
async fn an_answer_that_may_not_be_kept_is_asked_for_again() {
    let server = name_server(Some(V4), 0).await;
    let resolver = server.asked_by(TargetPolicy::default());
    assert!(resolver.addresses(TARGET).await.is_ok());
    let before = server.queries();
    assert!(resolver.addresses(TARGET).await.is_ok());
    assert!(server.queries() > before);
}

#[tokio::test]
async fn the_policy_is_asked_about_kept_answers_too() {
    let private = Ipv4Addr::new(10, 0, 0, 1);
    let server = name_server(Some(private), 60).await;
    let mut resolver = server.asked_by(TargetPolicy::default());
    for _ in 0..3 {
        assert_eq!(
            resolver.addresses(TARGET).await,
            Err(NameFailure::NotAllowed)
        );
    }
    let open = TargetPolicy {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        ..TargetPolicy::default()
    };
    resolver.policy = Arc::new(open);
    assert!(resolver.addresses(TARGET).await.is_ok());
    resolver.policy = Arc::default();
    assert_eq!(
        resolver.addresses(TARGET).await,
        Err(NameFailure::NotAllowed)
    );
    assert_eq!(server.queries(), 2, "of all of these, the first asked");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_not_asked_for_again_at_once() {
    let server = name_server(None, 60).await;
    let resolver = server.asked_by(TargetPolicy::default());
    for _ in 0..3 {
        assert_eq!(
            resolver.addresses(TARGET).await,
            Err(NameFailure::Unresolved)
        );
    }
    assert_eq!(server.queries(), 2);
    let options = resolver.resolver.options();
    assert_eq!(options.negative_max_ttl, Some(MAX_NEGATIVE_TTL));
    assert_eq!(options.positive_max_ttl, Some(MAX_TTL));
}
