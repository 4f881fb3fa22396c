//! What holds of every contract: values made from its schemas are accepted, one thing wrong is pointed to, and what the
//! comparison calls compatible takes all that was taken before.

use kea_core::compare;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::{agreement, *};

/// Makes schemas and values up: the same ones from the same number.
struct Maker(u64);

impl Maker {
    /// A number below `end` (splitmix64).
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn flips(&mut self) -> bool {
        self.below(2) == 0
    }

    /// A schema as readers of sources write them.
    fn schema(&mut self, depth: usize) -> Value {
        let mut schema = match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => json!({"type": "boolean"}),
            1 => json!({"type": "string"}),
            2 => json!({"type": "string", "enum": (["a", "b", "c"][self.below(3)..])}),
            3 => self.number(),
            4 => self.array(depth),
            _ => self.object(depth),
        };
        if self.below(4) == 0 {
            schema["nullable"] = true.into();
        }
        schema
    }

    fn number(&mut self) -> Value {
        let mut number = json!({"type": (["integer", "number"][self.below(2)])});
        if self.flips() {
            number["minimum"] = (self.below(5) as i64 - 5).into();
        }
        if self.flips() {
            number["maximum"] = self.below(5).into();
        }
        number
    }

    fn array(&mut self, depth: usize) -> Value {
        let mut array = json!({"type": "array", "items": self.schema(depth - 1)});
        if self.flips() {
            array["minItems"] = self.below(3).into();
        }
        if self.flips() {
            array["maxItems"] = (2 + self.below(2)).into();
        }
        array
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = &["a", "b", "c"][..self.below(4)];
        let members: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), self.schema(depth - 1))).collect();
        let required: Vec<&&str> = names.iter().filter(|_| self.flips()).collect();
        json!({"type": "object", "properties": members, "required": required, "additionalProperties": false})
    }

    /// A value that fits.
    fn value(&mut self, schema: &Value) -> Value {
        if schema["nullable"] == true && self.below(4) == 0 {
            return Value::Null;
        }
        if let Some(choices) = schema["enum"].as_array() {
            return choices[self.below(choices.len())].clone();
        }
        match schema["type"].as_str().unwrap() {
            "boolean" => self.flips().into(),
            "string" => ["", "x", "ü \"\n"][self.below(3)].into(),
            "integer" => self.whole(schema).into(),
            "number" if self.flips() => self.whole(schema).into(),
            "number" => (self.whole(schema) as f64).into(),
            "array" => {
                let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
                let most = schema["maxItems"].as_u64().unwrap_or(4) as usize;
                (0..least + self.below(most - least + 1)).map(|_| self.value(&schema["items"])).collect()
            }
            _ => self.members(schema),
        }
    }

    fn whole(&mut self, schema: &Value) -> i64 {
        let least = schema["minimum"].as_i64().unwrap_or(-9);
        let most = schema["maximum"].as_i64().unwrap_or(9);
        least + self.below((most - least + 1) as usize) as i64
    }

    fn members(&mut self, schema: &Value) -> Value {
        let required = schema["required"].as_array().unwrap();
        let mut members = Map::new();
        for (name, inner) in schema["properties"].as_object().unwrap() {
            if required.contains(&json!(name)) || self.flips() {
                members.insert(name.clone(), self.value(inner));
            }
        }
        members.into()
    }

    /// The same schema with some words of it others, for better or worse.
    fn edited(&mut self, schema: &Value) -> Value {
        let mut schema = schema.clone();
        if schema["items"].is_object() {
            schema["items"] = self.edited(&schema["items"]);
        }
        if let Some(members) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            members.values_mut().for_each(|member| *member = self.edited(member));
        }
        for (word, value) in [("minimum", -7), ("maximum", 3), ("minItems", 1), ("maxItems", 3)] {
            match (schema.get(word).is_some(), self.below(5)) {
                (true, 0) => drop(schema.as_object_mut().unwrap().remove(word)),
                (true, 1) => schema[word] = value.into(),
                _ => {}
            }
        }
        match self.below(8) {
            0 => schema["nullable"] = true.into(),
            1 => drop(schema.as_object_mut().unwrap().remove("nullable")),
            2 if schema["type"] == "integer" => schema["type"] = "number".into(),
            3 if schema["type"] == "number" => schema["type"] = "integer".into(),
            4 if schema["enum"].is_array() => schema["enum"].as_array_mut().unwrap().push("d".into()),
            5 if schema["enum"].is_array() => drop(schema.as_object_mut().unwrap().remove("enum")),
            6 if schema["required"].is_array() => drop(schema["required"].as_array_mut().unwrap().pop()),
            7 if schema["properties"].is_object() => schema["properties"]["d"] = json!({"type": "boolean"}),
            _ => {}
        }
        schema
    }
}

/// Named arguments; whether they are required.
fn arguments(maker: &mut Maker) -> Vec<Field> {
    (0..1 + maker.below(3))
        .map(|i| {
            let mut field = argument(&format!("f{i}"), maker.schema(3));
            field.required = maker.flips();
            field
        })
        .collect()
}

/// Values of all arguments.
fn given(maker: &mut Maker, fields: &[Field]) -> Map<String, Value> {
    fields.iter().map(|field| (field.name.clone(), maker.value(schema(field)))).collect()
}

fn schema(field: &Field) -> &Value {
    match &field.value {
        ValueType::Json { schema } => schema,
        other => panic!("{other:?}"),
    }
}

/// One thing wrong: where, and what stands there then; nothing where it is to be missing.
type Wrong = (String, Option<Value>);

/// All that can be wrong with a value that fits.
fn wrongs(schema: &Value, value: &Value, at: &str, out: &mut Vec<Wrong>) {
    if value.is_null() {
        return;
    }
    let other = if value.is_object() { json!([]) } else { json!({"spoiled": 1}) };
    out.push((at.to_owned(), Some(other)));
    if schema["nullable"] != true {
        out.push((at.to_owned(), Some(Value::Null)));
    }
    out.extend(schema["minimum"].as_i64().map(|least| (at.to_owned(), Some((least - 1).into()))));
    out.extend(schema["maximum"].as_i64().map(|most| (at.to_owned(), Some((most + 1).into()))));
    if schema["type"] == "integer" {
        out.push((at.to_owned(), Some(0.5.into())));
    }
    if schema["enum"].is_array() {
        out.push((at.to_owned(), Some("stranger".into())));
    }
    if let Some(most) = schema["maxItems"].as_u64() {
        let item = Maker(most).value(&schema["items"]);
        out.push((at.to_owned(), Some(vec![item; most as usize + 1].into())));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        wrongs(&schema["items"], item, &format!("{at}/{index}"), out);
    }
    let Some(members) = value.as_object() else { return };
    out.push((format!("{at}/stranger"), Some(1.into())));
    let required = schema["required"].as_array().unwrap();
    out.extend(required.iter().map(|name| (format!("{at}/{}", name.as_str().unwrap()), None)));
    for (name, member) in members {
        wrongs(&schema["properties"][name], member, &format!("{at}/{name}"), out);
    }
}

/// The body with that wrong.
fn spoiled(mut body: Value, (at, value): &Wrong) -> Value {
    let (parent, name) = at.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Array(list), Some(value)) => list[name.parse::<usize>().unwrap()] = value.clone(),
        (Value::Object(members), Some(value)) => drop(members.insert(name.to_owned(), value.clone())),
        (Value::Object(members), None) => drop(members.remove(name)),
        (parent, value) => panic!("{parent} {value:?}"),
    }
    body
}

fn contract(layout: Layout, inputs: &[Field]) -> Contract {
    Contract { functions: vec![function(layout, inputs.to_vec())], ..Contract::default() }
}

fn checked(contract: &Contract, body: &Value) -> Result<(), Rejection> {
    let validator = Validator::compile(Arc::new(contract.clone())).unwrap();
    validator.check("predict", body.to_string().as_bytes())
}

/// Whether null is a value of it: a number that may be missing, which is NaN.
fn takes_null(field: &Field) -> bool {
    field.nullable && matches!(field.value, ValueType::Scalar { datatype } if datatype.is_float())
}

/// A field of a model whose rules are others, for better or worse.
fn edited_rules(field: &Field, edit: usize) -> Field {
    let mut field = field.clone();
    match edit {
        0 => (field.minimum, field.maximum) = (None, None),
        1 => field.minimum = field.minimum.map(|least| least - 1.0),
        2 => field.maximum = field.maximum.map(|most| most / 2.0),
        3 => field.nullable = !field.nullable,
        4 => (field.required, field.default) = (true, None),
        _ => {}
    }
    field
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_made_from_the_schema_are_accepted_and_one_thing_wrong_is_pointed_to(seed: u64) {
        let maker = &mut Maker(seed);
        let fields = arguments(maker);
        let body = json!({"inputs": given(maker, &fields)});
        let contract = contract(Layout::Arguments, &fields);
        prop_assert_eq!(checked(&contract, &body), Ok(()), "{} for {:?}", body, fields);
        let validator = Validator::compile(Arc::new(contract)).unwrap();
        let mut all = Vec::new();
        for field in &fields {
            wrongs(schema(field), &body["inputs"][&field.name], &format!("/inputs/{}", field.name), &mut all);
        }
        for wrong in all {
            let text = spoiled(body.clone(), &wrong).to_string();
            let found = invalid(validator.check("predict", text.as_bytes()));
            // One value may be of another type and none of the choices, too.
            let mut pointers: Vec<&str> = found.iter().map(|violation| violation.pointer.as_str()).collect();
            pointers.dedup();
            prop_assert_eq!(pointers, [wrong.0.as_str()], "{:?} in {} for {:?}", wrong, text, fields);
        }
    }

    #[test]
    fn compatible_arguments_take_all_that_was_taken_before(seed: u64) {
        let maker = &mut Maker(seed);
        let fields = arguments(maker);
        let edit = |field: &Field| Field { value: ValueType::Json { schema: maker.edited(schema(field)) }, ..field.clone() };
        let after = contract(Layout::Arguments, &fields.iter().map(edit).collect::<Vec<_>>());
        let before = contract(Layout::Arguments, &fields);
        if compare::breaking(&before, &after).is_empty() {
            for _ in 0..8 {
                let body = json!({"inputs": given(maker, &fields)});
                prop_assert_eq!(checked(&after, &body), Ok(()), "{} of {:?} for {:?}", body, before, after);
            }
        }
    }

    #[test]
    fn compatible_rules_take_all_that_was_taken_before(
        before in agreement::contract(),
        edits in prop::collection::vec(0usize..7, 6),
        rows in 0usize..4,
        seed: u8,
    ) {
        let inputs: Vec<Field> = before.inputs.iter().zip(edits).map(|(field, edit)| edited_rules(field, edit)).collect();
        let after = contract(before.layout, &inputs);
        let is_compatible = compare::breaking(&contract(before.layout, &before.inputs), &after).is_empty();
        let mut given = agreement::good_inputs(&before, rows, seed);
        // What may be left out is, and what may be null is.
        let is_optional = |field: &&Field| !field.must_be_given(before.layout);
        if let Some(optional) = before.inputs.iter().find(is_optional).filter(|_| given.len() > 1) {
            given.remove(&optional.name);
        }
        if let Some(nullable) = before.inputs.iter().find(|field| rows == 0 && takes_null(field)) {
            given.entry(nullable.name.clone()).and_modify(|value| *value = Value::Null);
        }
        let body = json!({"inputs": given});
        prop_assert_eq!(checked(&contract(before.layout, &before.inputs), &body), Ok(()), "{} for {:?}", body, before);
        if is_compatible {
            prop_assert_eq!(checked(&after, &body), Ok(()), "{} of {:?} for {:?}", body, before, after);
        }
    }
}
