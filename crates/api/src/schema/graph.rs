//! A schema as the subschemas it is made of, references followed: what [`super::weight`] weighs.
//!
//! Only what can be reached from the root counts, and only where a keyword of some draft has a schema: what stands in `enum` or
//! `examples` is no schema, whatever it looks like. Keywords of all drafts count at once, which makes nothing lighter than it is.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::Flaw;

/// A subschema.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// What its own assertions take.
    pub(super) own: u64,
    /// Those that are applied to the same place of a payload.
    pub(super) beside: Vec<usize>,
    /// Those that are applied to places within it. Of each group one is applied to any one place.
    pub(super) below: Vec<Vec<usize>>,
    /// What is beside it is gone through again to find what was not evaluated.
    pub(super) looks_back: bool,
}

#[derive(Debug)]
pub(super) struct Graph {
    /// The root is the first.
    pub(super) nodes: Vec<Node>,
    pub(super) patterns: usize,
    places: Vec<Place>,
}

/// Where a subschema stands.
#[derive(Debug)]
enum Place {
    At(Vec<String>),
    Below(usize, Vec<String>),
}

impl Graph {
    pub(super) fn of(schema: &Value) -> Result<Self, Flaw> {
        let mut walk = Walk::new(schema)?;
        walk.node(schema, Place::At(Vec::new()));
        while let Some((at, schema)) = walk.open.pop() {
            walk.visit(at, schema)?;
        }
        Ok(walk.graph)
    }

    pub(super) fn path(&self, mut at: usize) -> Vec<String> {
        let mut parts = Vec::new();
        loop {
            match &self.places[at] {
                Place::At(path) => {
                    parts.push(path);
                    break;
                }
                Place::Below(parent, path) => {
                    parts.push(path);
                    at = *parent;
                }
            }
        }
        parts.into_iter().rev().flatten().cloned().collect()
    }
}

struct Walk<'s> {
    root: &'s Value,
    is_draft_4: bool,
    graph: Graph,
    /// Subschemas by their address: each is one node, however often it is referred to.
    known: HashMap<*const Value, usize>,
    open: Vec<(usize, &'s Map<String, Value>)>,
    /// What has a name of its own; looked for once somebody asks.
    anchors: Option<HashMap<&'s str, &'s Value>>,
}

impl<'s> Walk<'s> {
    fn new(root: &'s Value) -> Result<Self, Flaw> {
        Ok(Self {
            root,
            is_draft_4: is_draft_4(root)?,
            graph: Graph {
                nodes: Vec::new(),
                patterns: 0,
                places: Vec::new(),
            },
            known: HashMap::new(),
            open: Vec::new(),
            anchors: None,
        })
    }

    fn node(&mut self, schema: &'s Value, place: Place) -> usize {
        if let Some(known) = self.known.get(&std::ptr::from_ref(schema)) {
            return *known;
        }
        let at = self.graph.nodes.len();
        self.known.insert(std::ptr::from_ref(schema), at);
        self.graph.nodes.push(Node {
            own: 1,
            ..Node::default()
        });
        self.graph.places.push(place);
        if let Value::Object(keywords) = schema {
            self.open.push((at, keywords));
        }
        at
    }

    fn visit(&mut self, at: usize, keywords: &'s Map<String, Value>) -> Result<(), Flaw> {
        for (keyword, value) in keywords {
            self.keyword(at, keyword, value)?;
        }
        Ok(())
    }

    fn keyword(&mut self, at: usize, keyword: &'s str, value: &'s Value) -> Result<(), Flaw> {
        match keyword {
            "$ref" => {
                let target = self.referred(at, value)?;
                self.graph.nodes[at].beside.extend(target);
            }
            "$dynamicRef" | "$recursiveRef" => {
                let problem = format!("`{keyword}` is not supported: use `$ref`");
                return Err(self.flaw(at, keyword, problem));
            }
            "$id" => self.identifier(at, keyword, value)?,
            "id" if self.is_draft_4 => self.identifier(at, keyword, value)?,
            "allOf" | "anyOf" | "oneOf" => {
                let all = self.members(at, keyword, value);
                self.graph.nodes[at].beside.extend(all);
            }
            "not" | "if" | "then" | "else" => {
                let one = self.one(at, keyword, value);
                self.graph.nodes[at].beside.push(one);
            }
            "dependentSchemas" | "dependencies" => {
                let all = self.values(at, keyword, value);
                self.graph.nodes[at].beside.extend(all);
            }
            "properties" => {
                let all = self.values(at, keyword, value);
                self.graph.nodes[at].below.push(all);
            }
            "prefixItems" => {
                let all = self.members(at, keyword, value);
                self.graph.nodes[at].below.push(all);
            }
            "items" if value.is_array() => {
                let all = self.members(at, keyword, value);
                self.graph.nodes[at].below.push(all);
            }
            "patternProperties" => {
                self.pattern(at, value);
                let all = self.values(at, keyword, value);
                let each = all.into_iter().map(|one| vec![one]);
                self.graph.nodes[at].below.extend(each);
            }
            "unevaluatedProperties" | "unevaluatedItems" => {
                self.graph.nodes[at].looks_back = true;
                self.descend(at, keyword, value);
            }
            "additionalProperties" | "propertyNames" | "items" | "additionalItems" | "contains" => {
                self.descend(at, keyword, value);
            }
            "enum" | "const" | "required" | "dependentRequired" => {
                self.graph.nodes[at].own += count(value) / 8;
            }
            "pattern" => self.pattern(at, value),
            _ => {}
        }
        Ok(())
    }

    /// One pattern, or those that are the names of an object's fields.
    fn pattern(&mut self, at: usize, value: &Value) {
        let one = value.as_str().into_iter();
        let all = value.as_object().into_iter().flat_map(Map::keys);
        for pattern in one.chain(all.map(String::as_str)) {
            self.graph.patterns += 1;
            self.graph.nodes[at].own += pattern.len() as u64 / 8 + 1;
        }
    }

    fn descend(&mut self, at: usize, keyword: &str, value: &'s Value) {
        let one = self.one(at, keyword, value);
        self.graph.nodes[at].below.push(vec![one]);
    }

    fn one(&mut self, at: usize, keyword: &str, value: &'s Value) -> usize {
        self.node(value, Place::Below(at, vec![keyword.to_owned()]))
    }

    fn members(&mut self, at: usize, keyword: &str, value: &'s Value) -> Vec<usize> {
        let members = value.as_array().into_iter().flatten().enumerate();
        let place = |index: usize| Place::Below(at, vec![keyword.to_owned(), index.to_string()]);
        members
            .map(|(index, member)| self.node(member, place(index)))
            .collect()
    }

    fn values(&mut self, at: usize, keyword: &str, value: &'s Value) -> Vec<usize> {
        let values = value.as_object().into_iter().flatten();
        let place = |name: &str| Place::Below(at, vec![keyword.to_owned(), name.to_owned()]);
        values
            .map(|(name, value)| self.node(value, place(name)))
            .collect()
    }

    /// An identifier changes what references below it mean; names without an address are fine.
    fn identifier(&self, at: usize, keyword: &str, value: &Value) -> Result<(), Flaw> {
        if at == 0 || value.as_str().is_none_or(|id| id.starts_with('#')) {
            return Ok(());
        }
        let problem = format!(
            "only the schema as a whole may have an `{keyword}`: references are resolved within it"
        );
        Err(self.flaw(at, keyword, problem))
    }

    fn flaw(&self, at: usize, keyword: &str, problem: String) -> Flaw {
        let mut path = self.graph.path(at);
        path.push(keyword.to_owned());
        Flaw::new(path, problem)
    }

    /// What a reference stands for. `None` where it is no text: that is for the meta-schema to say.
    fn referred(&mut self, at: usize, value: &Value) -> Result<Option<usize>, Flaw> {
        let Some(reference) = value.as_str() else {
            return Ok(None);
        };
        let Some(fragment) = reference.strip_prefix('#') else {
            let problem = format!(
                "`{}` is outside of the schema and is not fetched: only references within it (`#…`) can be followed",
                super::checker::shortened(reference, 200)
            );
            return Err(self.flaw(at, "$ref", problem));
        };
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let target = if fragment.is_empty() || fragment.starts_with('/') {
            self.root.pointer(&fragment)
        } else {
            let root = self.root;
            let anchors = self.anchors.get_or_insert_with(|| anchors(root));
            anchors.get(&*fragment).copied()
        };
        let missing = || {
            self.flaw(
                at,
                "$ref",
                "there is nothing at this place in the schema".to_owned(),
            )
        };
        let target = target.ok_or_else(missing)?;
        let parts = fragment.split('/').skip(1).map(unescaped).collect();
        Ok(Some(self.node(target, Place::At(parts))))
    }
}

/// A segment of a JSON Pointer (RFC 6901).
pub(super) fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

fn anchors(root: &Value) -> HashMap<&str, &Value> {
    let mut anchors = HashMap::new();
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                for keyword in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                    let name = fields.get(keyword).and_then(Value::as_str);
                    let name = match keyword {
                        "$id" | "id" => name.and_then(|name| name.strip_prefix('#')),
                        _ => name,
                    };
                    anchors.extend(name.map(|name| (name, value)));
                }
                open.extend(fields.values());
            }
            Value::Array(members) => open.extend(members),
            _ => {}
        }
    }
    anchors
}

fn is_draft_4(root: &Value) -> Result<bool, Flaw> {
    const KNOWN: [&str; 5] = [
        "http://json-schema.org/draft-04/schema",
        "http://json-schema.org/draft-06/schema",
        "http://json-schema.org/draft-07/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ];
    let Some(given) = root.get("$schema").and_then(Value::as_str) else {
        return Ok(false);
    };
    let given = given.strip_suffix('#').unwrap_or(given);
    if !KNOWN.contains(&given) {
        let problem = format!("must be one of {}", KNOWN.join(", "));
        return Err(Flaw::new(vec!["$schema".to_owned()], problem));
    }
    Ok(given == KNOWN[0])
}

/// Values in a value, itself included.
fn count(value: &Value) -> u64 {
    match value {
        Value::Array(members) => 1 + members.iter().map(count).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<u64>(),
        _ => 1,
    }
}
