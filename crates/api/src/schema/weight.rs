//! How much work a schema can make, worked out before it is ever used.
//!
//! References and `allOf`, `anyOf` and the like multiply: a schema of twenty lines can look at one place of a payload a million
//! times. So for each subschema it is counted how many subschemas are applied at most to one place of a payload and to the
//! places on a way down from there, for payloads nested as deep as bodies may be. A schema that refers to itself is fine as
//! long as each round goes deeper into the payload, and no round doubles the work of the one before.

use super::Flaw;
use super::graph::{Graph, Node};
use crate::wire::json::MAX_DEPTH;

/// Subschemas that may be applied along one way into a payload.
const MAX_COST: u64 = 10_000;
/// Subschemas within each other while a payload is looked at: each takes some of the stack.
const MAX_HEIGHT: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weight {
    cost: u64,
    height: u64,
}

/// How many subschemas are applied at most along one way into a payload.
pub(super) fn weigh(graph: &Graph) -> Result<u64, Flaw> {
    let order = in_order(graph)?;
    let mut shallower = vec![Weight { cost: 0, height: 0 }; graph.nodes.len()];
    for _ in 0..=MAX_DEPTH {
        let mut now = shallower.clone();
        for at in &order {
            now[*at] = weight(&graph.nodes[*at], &now, &shallower);
        }
        too_heavy(now[0])?;
        if now == shallower {
            break;
        }
        shallower = now;
    }
    Ok(shallower[0].cost)
}

/// `now`: what is beside it, for payloads as deep; `shallower`: for what is within them.
fn weight(node: &Node, now: &[Weight], shallower: &[Weight]) -> Weight {
    let beside = node.beside.iter().map(|at| now[*at]);
    let heaviest = |group: &Vec<usize>| group.iter().map(|at| shallower[*at].cost).max();
    let cost_beside = beside
        .clone()
        .map(|one| one.cost)
        .fold(0, u64::saturating_add);
    let times = if node.looks_back { 3 } else { 1 };
    let cost_below = node
        .below
        .iter()
        .filter_map(heaviest)
        .fold(0, u64::saturating_add);
    let below = node.below.iter().flatten().map(|at| shallower[*at].height);
    Weight {
        cost: node
            .own
            .saturating_add(cost_beside.saturating_mul(times))
            .saturating_add(cost_below),
        height: 1 + beside.map(|one| one.height).chain(below).max().unwrap_or(0),
    }
}

fn too_heavy(root: Weight) -> Result<(), Flaw> {
    if root.cost > MAX_COST {
        let problem = format!(
            "makes too much work: more than {MAX_COST} of its parts could apply along one way into a payload; use fewer \
             alternatives, or references that do not multiply"
        );
        return Err(Flaw::new(Vec::new(), problem));
    }
    if root.height > MAX_HEIGHT {
        let problem = format!(
            "goes too deep: more than {MAX_HEIGHT} references or subschemas within each other"
        );
        return Err(Flaw::new(Vec::new(), problem));
    }
    Ok(())
}

/// All nodes, each behind those that are beside it.
fn in_order(graph: &Graph) -> Result<Vec<usize>, Flaw> {
    let mut missing: Vec<usize> = graph.nodes.iter().map(|node| node.beside.len()).collect();
    let mut users = vec![Vec::new(); graph.nodes.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        node.beside
            .iter()
            .for_each(|beside| users[*beside].push(at));
    }
    let mut order: Vec<usize> = (0..missing.len()).filter(|at| missing[*at] == 0).collect();
    let mut done = 0;
    while let Some(at) = order.get(done).copied() {
        done += 1;
        for user in &users[at] {
            missing[*user] -= 1;
            if missing[*user] == 0 {
                order.push(*user);
            }
        }
    }
    match missing.iter().position(|missing| *missing > 0) {
        None => Ok(order),
        Some(at) => Err(Flaw::new(
            graph.path(at),
            "refers to itself without going deeper into the payload",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cost(schema: &Value) -> Result<u64, String> {
        let weighed = Graph::of(schema).and_then(|graph| weigh(&graph));
        weighed.map_err(|flaw| format!("{}: {}", flaw.path.join("/"), flaw.problem))
    }

    /// Each definition refers to the next one twice.
    fn doubling(rounds: usize, keyword: &str) -> Value {
        let mut all = serde_json::Map::new();
        for round in 0..rounds {
            let next = json!({"$ref": format!("#/$defs/{}", round + 1)});
            all.insert(round.to_string(), json!({keyword: [next.clone(), next]}));
        }
        all.insert(rounds.to_string(), json!({"type": "object"}));
        json!({"$ref": "#/$defs/0", "$defs": all})
    }

    #[test]
    fn parts_that_apply_to_one_place_add_up() {
        assert_eq!(cost(&json!({})), Ok(1));
        assert_eq!(cost(&json!({"allOf": [{}, {}], "not": true})), Ok(4));
        let either = json!({"properties": {"a": {"allOf": [{}, {}]}, "b": {}}});
        assert_eq!(
            cost(&either),
            Ok(4),
            "a place is one property, not all of them"
        );
        let both = json!({"properties": {"a": {}}, "additionalProperties": {}});
        assert_eq!(cost(&both), Ok(3));
        let no_schema =
            json!({"enum": [{"$ref": "http://example.org"}], "examples": [{"$ref": "x"}]});
        assert_eq!(cost(&no_schema), Ok(1));
    }

    #[test]
    fn references_that_multiply_are_refused() {
        assert!(cost(&doubling(5, "allOf")).unwrap() < 200);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let refused = cost(&doubling(20, keyword)).unwrap_err();
            assert!(refused.contains("too much work"), "{refused}");
        }
        let looking_back = json!({"$ref": "#/$defs/0", "unevaluatedProperties": false, "$defs": {
            "0": {"$ref": "#/$defs/1", "unevaluatedProperties": false},
            "1": {"unevaluatedProperties": false},
        }});
        assert!(cost(&looking_back).unwrap() > 9);
    }

    #[test]
    fn a_schema_may_refer_to_itself_further_down() {
        let tree = json!({"properties": {"children": {"items": {"$ref": "#"}}}});
        assert!(cost(&tree).is_ok());
        let grammar = json!({"anyOf": [
            {"properties": {"left": {"$ref": "#"}}}, {"properties": {"left": {"$ref": "#"}}},
        ]});
        let refused = cost(&grammar).unwrap_err();
        assert!(refused.contains("too much work"), "{refused}");
        for endless in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"not": {"$ref": "#"}}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
        ] {
            let refused = cost(&endless).unwrap_err();
            assert!(refused.contains("refers to itself"), "{refused}");
        }
    }

    #[test]
    fn a_chain_of_references_has_an_end() {
        let chain = |length: usize| {
            let mut all = serde_json::Map::new();
            for link in 0..length {
                let next = json!({"$ref": format!("#/$defs/{}", link + 1)});
                all.insert(link.to_string(), next);
            }
            all.insert(length.to_string(), json!({}));
            json!({"$ref": "#/$defs/0", "$defs": all})
        };
        assert!(cost(&chain(900)).is_ok());
        let refused = cost(&chain(1_100)).unwrap_err();
        assert!(refused.contains("too deep"), "{refused}");
    }

    #[test]
    fn references_are_followed_within_the_schema_alone() {
        for (reference, found) in [
            ("#/$defs/a~1b", true),
            ("#/$defs/a%7E1b", true),
            ("#name", true),
            ("#", false),
            ("#/$defs/c", false),
            ("#other", false),
            ("http://127.0.0.1:9/x.json", false),
            ("file:///etc/passwd", false),
            ("other.json#/a", false),
            ("", false),
        ] {
            let schema = json!({"$ref": reference, "$defs": {"a/b": {"$anchor": "name"}}});
            assert_eq!(cost(&schema).is_ok(), found, "{reference}");
        }
        let nested = json!({"properties": {"a": {"$id": "http://example.org/b", "$ref": "#"}}});
        assert!(cost(&nested).unwrap_err().starts_with("properties/a/$id"));
        let dynamic = json!({"items": {"$dynamicRef": "#x"}});
        assert!(cost(&dynamic).unwrap_err().starts_with("items/$dynamicRef"));
        assert!(cost(&json!({"$id": "https://example.org/order.json"})).is_ok());
    }
}
