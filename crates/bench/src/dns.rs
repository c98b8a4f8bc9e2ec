//! A name server that knows the names of the subscriber, and counts what it is asked.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

/// Every name below it is the subscriber's. Nobody can register it.
pub const ZONE: &str = "postrider.test";
/// Seconds for which an answer holds, and for which there is none.
const TTL: u32 = 300;
/// Longer questions than this are none.
const LONGEST: usize = 1_500;

/// Answers until the process ends.
///
/// # Errors
/// Where the socket fails.
pub async fn serve(
    socket: &UdpSocket,
    subscriber: IpAddr,
    queries: &AtomicU64,
) -> anyhow::Result<()> {
    let zone: Name = format!("{ZONE}.").parse()?;
    let mut bytes = [0; LONGEST];
    loop {
        let (length, from) = socket.recv_from(&mut bytes).await?;
        queries.fetch_add(1, Relaxed);
        if let Ok(query) = Message::from_vec(&bytes[..length]) {
            let answer = answer(query, &zone, subscriber).to_vec()?;
            socket.send_to(&answer, from).await?;
        }
    }
}

fn answer(query: Message, zone: &Name, subscriber: IpAddr) -> Message {
    let mut answer = query.into_response();
    let Some(asked) = answer.queries.first().cloned() else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    let is_known = zone.zone_of(asked.name());
    let data = match (asked.query_type(), subscriber) {
        (RecordType::A, IpAddr::V4(address)) => Some(RData::A(A(address))),
        (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(address))),
        _ => None,
    };
    match data {
        Some(data) if is_known => {
            answer.add_answer(Record::from_rdata(asked.name().clone(), TTL, data));
        }
        _ => {
            // How long there is nothing is told by the zone's own record.
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 3_600, 600, 86_400, TTL);
            answer.add_authority(Record::from_rdata(zone.clone(), TTL, RData::SOA(soa)));
            if !is_known {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(name.parse().unwrap(), kind));
        let zone = format!("{ZONE}.").parse().unwrap();
        answer(query, &zone, IpAddr::from([127, 0, 0, 1]))
    }

    #[test]
    fn names_have_the_subscribers_address_and_no_other() {
        let found = ask("h7.postrider.test.", RecordType::A);
        let address = found.answers[0].data.ip_addr();
        assert_eq!(address, Some(IpAddr::from([127, 0, 0, 1])));
        let other = ask("h7.postrider.test.", RecordType::AAAA);
        assert!(other.answers.is_empty() && other.authorities.len() == 1);
        assert_eq!(other.metadata.response_code, ResponseCode::NoError);
        let unknown = ask("h7.example.org.", RecordType::A);
        assert!(unknown.answers.is_empty());
        assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    }
}
