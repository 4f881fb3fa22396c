//! The two paths agree: for made-up contracts and requests, the fast one accepts exactly what the slow one finds
//! nothing wrong with, and a request spoiled at one place is refused with a pointer to that place.

use proptest::{prelude::*, sample::Index};
use serde_json::{Map, json};

use super::{
    super::{
        decode, explain, json as raw,
        plan::{Kind, Plan},
    },
    *,
};

const DATATYPES: [Datatype; 7] = [
    Datatype::Bool,
    Datatype::Uint8,
    Datatype::Int16,
    Datatype::Int64,
    Datatype::Fp32,
    Datatype::Fp64,
    Datatype::Bytes,
];

/// A field without its type: rules, and whether it may be missing.
fn with_rules(mut field: Field, datatype: Datatype, bounded: bool, nullable: bool, optional: bool) -> Field {
    let is_number = !matches!(datatype, Datatype::Bool | Datatype::Bytes);
    if bounded && is_number {
        (field.minimum, field.maximum) = (Some(0.0), Some(100.0));
    }
    field.nullable = nullable;
    if optional && matches!(field.value, ValueType::Scalar { .. }) {
        field.required = false;
        field.default = Some(good_value(datatype, 3));
    }
    field
}

pub(super) fn good_value(datatype: Datatype, seed: u8) -> Value {
    match datatype {
        Datatype::Bool => json!(seed.is_multiple_of(2)),
        Datatype::Bytes => json!(format!("text \"{seed}\" ü")),
        Datatype::Fp32 | Datatype::Fp64 => json!(f64::from(seed % 100) + 0.25),
        _ => json!(seed % 100),
    }
}

fn feature_fields() -> impl Strategy<Value = Vec<Field>> {
    let field = (prop::sample::select(&DATATYPES[..]), any::<[bool; 3]>());
    // Half of the contracts have one numeric datatype, so that they are matrices.
    let matrix = (prop::sample::select(&DATATYPES[..6]), prop::collection::vec(any::<[bool; 3]>(), 1..6))
        .prop_map(|(datatype, flags)| flags.into_iter().map(|flags| (datatype, flags)).collect::<Vec<_>>());
    let mixed = prop::collection::vec(field, 1..6);
    prop_oneof![matrix, mixed].prop_map(|fields| {
        let field = |(i, (datatype, [a, b, c])): (usize, (Datatype, [bool; 3]))| {
            with_rules(scalar(&format!("f{i}"), datatype), datatype, a, b, c)
        };
        fields.into_iter().enumerate().map(field).collect()
    })
}

fn tensor_fields() -> impl Strategy<Value = Vec<Field>> {
    let shape = prop::collection::vec(prop::sample::select(vec![-1i64, 1, 2, 3]), 0..4);
    let field = (prop::sample::select(&DATATYPES[..]), shape, any::<[bool; 2]>());
    prop::collection::vec(field, 1..4).prop_map(|fields| {
        let field = |(i, (datatype, shape, [a, b])): (usize, (Datatype, Vec<i64>, [bool; 2]))| {
            with_rules(array(&format!("t{i}"), datatype, &shape), datatype, a, b, false)
        };
        fields.into_iter().enumerate().map(field).collect()
    })
}

pub(super) fn contract() -> impl Strategy<Value = Function> {
    prop_oneof![
        feature_fields().prop_map(|fields| function(Layout::Features, fields)),
        tensor_fields().prop_map(|fields| function(Layout::Tensors, fields)),
    ]
}

/// A request that fits: `rows` rows, or one without the dimension of rows.
pub(super) fn good_inputs(function: &Function, rows: usize, seed: u8) -> Map<String, Value> {
    let value = |(i, field): (usize, &Field)| {
        let seed = seed.wrapping_add(i as u8);
        let value = match &field.value {
            ValueType::Scalar { datatype } if rows == 0 => good_value(*datatype, seed),
            ValueType::Scalar { datatype } => vec![good_value(*datatype, seed); rows].into(),
            ValueType::Tensor { datatype, shape } => good_tensor(*datatype, shape, rows, seed),
            ValueType::Json { .. } => Value::Null,
        };
        (field.name.clone(), value)
    };
    function.inputs.iter().enumerate().map(value).collect()
}

fn good_tensor(datatype: Datatype, shape: &[i64], rows: usize, seed: u8) -> Value {
    let leave_out_row = rows == 0 && shape.first() == Some(&-1);
    let dims = shape.iter().enumerate().skip(usize::from(leave_out_row));
    let length = |(i, n): (usize, &i64)| match (i, *n) {
        (0, -1) => rows.max(1),
        (_, -1) => 2,
        (_, n) => n as usize,
    };
    dims.map(length).rev().fold(good_value(datatype, seed), |value, n| vec![value; n].into())
}

/// Values of all kinds, wrong ones for the most part.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-200i64..400).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(vec![5.0, -0.0, 0.5, 1e39, 1e300, 9.3e18, 101.0]).prop_map(Value::from),
        "[a-z0-9\"]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]", inner, 0..2).prop_map(|map| json!(map)),
        ]
    })
}

/// Whether both paths say the same of `body`, and what they say.
fn agreed(function: &Function, body: &str) -> Result<Vec<Violation>, TestCaseError> {
    let contract = Contract { functions: vec![function.clone()], ..Contract::default() };
    let plan = Plan::of(&contract, 0).unwrap();
    let parsed = raw::parse(body.as_bytes()).unwrap();
    let (fast, slow) = match &plan.kind {
        Kind::Features(plan) => (decode::features(plan, body.as_bytes()), explain::features(plan, function, parsed)),
        Kind::Tensors(plan) => (decode::tensors(plan, body.as_bytes()), explain::tensors(plan, function, parsed)),
        other => panic!("{other:?}"),
    };
    prop_assert_eq!(fast.is_some(), slow.is_empty(), "{} is {:?} and {:?}", body, fast, slow);
    for tensor in fast.iter().flatten() {
        prop_assert_eq!(tensor.data.len(), tensor.shape.iter().product::<usize>());
    }
    Ok(slow)
}

/// Pointers to everything inside of `value`, itself included.
fn places(value: &Value, pointer: String, out: &mut Vec<String>) {
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, inner)| places(inner, format!("{pointer}/{i}"), out));
        }
        Value::Object(members) => {
            members.iter().for_each(|(key, inner)| places(inner, format!("{pointer}/{key}"), out));
        }
        _ => {}
    }
    out.push(pointer);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_that_fit_are_accepted_by_both(function in contract(), rows in 0usize..4, seed: u8) {
        let inputs = good_inputs(&function, rows, seed);
        let found = agreed(&function, &json!({ "inputs": inputs }).to_string())?;
        prop_assert!(found.is_empty(), "{:?}", found);
    }

    #[test]
    fn whatever_replaces_whatever_both_say_the_same(
        function in contract(),
        rows in 0usize..4,
        seed: u8,
        at: Index,
        value in any_value(),
        remove: bool,
    ) {
        let mut body = json!({ "inputs": good_inputs(&function, rows, seed) });
        let mut all = Vec::new();
        places(&body, String::new(), &mut all);
        let place = at.get(&all);
        match place.strip_prefix("/inputs/") {
            Some(name) if remove && !name.contains('/') => drop(body["inputs"].as_object_mut().unwrap().remove(name)),
            _ => *body.pointer_mut(place).unwrap() = value,
        }
        agreed(&function, &body.to_string())?;
    }

    #[test]
    fn one_spoiled_value_is_pointed_to(function in contract(), rows in 0usize..4, seed: u8, at: Index) {
        let mut body = json!({ "inputs": good_inputs(&function, rows, seed) });
        let mut all = Vec::new();
        places(&body, String::new(), &mut all);
        all.retain(|place| body.pointer(place).is_some_and(|value| !value.is_array() && !value.is_object()));
        let place = at.get(&all);
        // An object is no element of any type.
        *body.pointer_mut(place).unwrap() = json!({ "spoiled": 1 });
        let found = agreed(&function, &body.to_string())?;
        prop_assert_eq!(found.iter().map(|violation| &*violation.pointer).collect::<Vec<_>>(), [place.as_str()]);
    }

    #[test]
    fn a_key_that_comes_twice_or_is_unknown_is_refused_by_both(function in contract(), seed: u8, at: Index, twice: bool) {
        let inputs = good_inputs(&function, 1, seed);
        let text = json!(inputs).to_string();
        let key = if twice { at.get(&function.inputs).name.clone() } else { "stranger".into() };
        let value = inputs.get(&key).cloned().unwrap_or(Value::Null);
        let body = format!(r#"{{"inputs":{},"{key}":{value}}}}}"#, &text[..text.len() - 1]);
        let found = agreed(&function, &body)?;
        prop_assert_eq!(found.iter().map(|violation| &*violation.pointer).collect::<Vec<_>>(), [format!("/inputs/{key}")]);
    }

    #[test]
    fn nothing_makes_either_protocol_panic(function in contract(), body in any_value(), inputs in any_value()) {
        let contract = Contract { functions: vec![function], ..Contract::default() };
        let validator = Validator::compile(Arc::new(contract)).unwrap();
        for body in [body.clone(), json!({ "inputs": inputs.clone() }), json!({ "inputs": [inputs, body] })] {
            let text = body.to_string();
            let _ = validator.decode("predict", text.as_bytes());
            let _ = validator.decode_v2("predict", text.as_bytes());
            let _ = validator.check("predict", &text.as_bytes()[..text.len() / 2]);
        }
    }
}
