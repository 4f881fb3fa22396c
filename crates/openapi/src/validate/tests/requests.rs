//! Requests for features and tensors.

use kea_core::tensor::TensorData;
use serde_json::json;

use super::*;

#[track_caller]
fn flower_is_refused(inputs: &str, pointer: &str, words: &[&str]) {
    only(&violations(&flowers(), &format!(r#"{{"inputs":{inputs}}}"#)), pointer, words);
}

#[track_caller]
fn rows_are_refused(input: &str, pointer: &str, words: &[&str]) {
    only(&violations(&rows_of_three(), &format!(r#"{{"inputs":{{"input":{input}}}}}"#)), pointer, words);
}

#[test]
fn features_in_any_order_make_one_matrix() {
    let matrix = |shape: &[usize], data: &[f64]| {
        vec![Tensor { name: "input".into(), shape: shape.into(), data: TensorData::Fp64(data.into()) }]
    };
    let flowers = flowers();
    let one = r#" {"inputs": {"petal_width": 2, "petal_length": 1.5}} "#;
    assert_eq!(tensors(&flowers, one), matrix(&[1, 2], &[1.5, 2.0]));
    let escaped = r#"{"inputs": {"petal_lengt\u0068": 1, "petal_width": 0.25}}"#;
    assert_eq!(tensors(&flowers, escaped), matrix(&[1, 2], &[1.0, 0.25]));
    let many = r#"{"inputs": {"petal_width": [4, 5, 6], "petal_length": [1, 2, 3]}}"#;
    assert_eq!(tensors(&flowers, many), matrix(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
}

#[test]
fn features_of_several_types_are_tensors_of_their_own() {
    let validator = validator(
        Layout::Features,
        vec![scalar("age", Datatype::Int64), scalar("name", Datatype::Bytes), scalar("new", Datatype::Bool)],
    );
    let read = tensors(&validator, r#"{"inputs": {"age": [5.0, -1], "name": ["a", "ü\n"], "new": [true, false]}}"#);
    let data: Vec<_> = read.iter().map(|tensor| (&*tensor.name, &tensor.shape[..], tensor.data.clone())).collect();
    assert_eq!(
        data,
        [
            ("age", &[2][..], TensorData::Int64(vec![5, -1])),
            ("name", &[2], TensorData::Bytes(vec!["a".into(), "ü\n".into()])),
            ("new", &[2], TensorData::Bool(vec![true, false])),
        ]
    );
    only(&violations(&validator, r#"{"inputs": {"age": 1, "name": 5, "new": true}}"#), "/inputs/name", &["\"5\""]);
    only(
        &violations(&validator, r#"{"inputs": {"age": 1, "name": "a", "new": 1}}"#),
        "/inputs/new",
        &["true or false"],
    );
}

#[test]
fn rows_of_a_tensor_come_alone_or_together() {
    let rows = rows_of_three();
    let read = |input: &str| tensors(&rows, &format!(r#"{{"inputs":{{"input":{input}}}}}"#)).remove(0);
    assert_eq!(read("[1,2,3]").shape, [1, 3]);
    assert_eq!(read("[[1,2,3]]"), read("[1,2,3]"));
    assert_eq!(read("[[1,2,3],[4,5,6]]").shape, [2, 3]);
    assert_eq!(read("[[1,2,3],[4,5,6]]").data, TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
}

#[test]
fn a_variable_dimension_has_one_length_a_request() {
    let free = validator(Layout::Tensors, vec![array("input", Datatype::Int32, &[-1, -1])]);
    assert_eq!(tensors(&free, r#"{"inputs":{"input":[[1,2],[3,4]]}}"#)[0].shape, [2, 2]);
    let ragged = violations(&free, r#"{"inputs":{"input":[[1,2],[3,4,5]]}}"#);
    only(&ragged, "/inputs/input/1", &["2 values", "3 values", "equally long"]);
}

#[test]
fn inputs_of_a_batch_have_equally_many_rows() {
    let two = validator(
        Layout::Tensors,
        vec![array("a", Datatype::Fp32, &[-1, 2]), array("b", Datatype::Fp32, &[-1]), array("k", Datatype::Fp32, &[2])],
    );
    assert_eq!(tensors(&two, r#"{"inputs":{"a":[[1,2],[3,4],[5,6]],"b":[1,2,3],"k":[1,2]}}"#).len(), 3);
    only(
        &violations(&two, r#"{"inputs":{"a":[[1,2]],"b":[1,2],"k":[1,2]}}"#),
        "/inputs/b",
        &["1 rows, as `a`", "2 rows"],
    );
}

#[test]
fn missing_and_unknown_features_are_named() {
    flower_is_refused(r#"{"petal_length":1}"#, "/inputs/petal_width", &["a number (FP64)", "nothing", "0.2"]);
    flower_is_refused(
        r#"{"petal_length":1,"petal_width":1,"colour":1}"#,
        "/inputs/colour",
        &["no such input", "`petal_width`"],
    );
    let both = violations(&flowers(), r#"{"inputs":{"petal_length":1,"Petal Width":1}}"#);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].detail, "did you mean `petal_width`?");
    flower_is_refused(r#"{"petal_length":1,"petal_width":1,"a/b~c":1}"#, "/inputs/a~1b~0c", &[]);
}

#[test]
fn values_of_the_wrong_kind_are_shown_with_what_to_write() {
    let given = |value: &str| format!(r#"{{"petal_length":{value},"petal_width":1}}"#);
    let refused = |value: &str, words: &[&str]| flower_is_refused(&given(value), "/inputs/petal_length", words);
    refused(r#""5.1""#, &[r#"string "5.1""#, "a number from 0 to 10 (FP64)", "without quotes: 5.1", "for example 1.4"]);
    refused(r#""long""#, &["give a number"]);
    refused("true", &["boolean true", "write 1 instead of true"]);
    refused("null", &["null is not taken"]);
    refused("{}", &["an object"]);
    refused("11", &["number 11", "from 0 to 10"]);
    refused("-1e-9", &["from 0 to 10"]);
    refused("1e400", &["number 1e400", "FP64 can hold"]);
}

#[test]
fn whole_numbers_are_whole_and_within_their_type() {
    let small = validator(Layout::Features, vec![scalar("n", Datatype::Int8), scalar("big", Datatype::Uint64)]);
    let given = |n: &str, big: &str| format!(r#"{{"inputs":{{"n":{n},"big":{big}}}}}"#);
    let read = tensors(&small, &given("-1.28e2", "18446744073709551615"));
    assert_eq!(read[0].data, TensorData::Int8(vec![-128]));
    assert_eq!(read[1].data, TensorData::Uint64(vec![u64::MAX]));
    only(&violations(&small, &given("5.5", "1")), "/inputs/n", &["number 5.5", "without a fraction"]);
    only(&violations(&small, &given("128", "1")), "/inputs/n", &["from -128 to 127"]);
    only(&violations(&small, &given("1", "-1")), "/inputs/big", &["from 0 to 18446744073709551615"]);
    only(&violations(&small, &given("1", "18446744073709551616")), "/inputs/big", &["UINT64 can hold"]);
    only(&violations(&small, &given("1", "1e18")), "/inputs/big", &["without fraction and exponent"]);
}

#[test]
fn floats_that_overflow_are_refused() {
    rows_are_refused("[1,1e39,3]", "/inputs/input/1", &["FP32 can hold"]);
    rows_are_refused("[[1,2,3],[1,2,-1e400]]", "/inputs/input/1/2", &["number -1e400"]);
}

#[test]
fn choices_are_the_only_values() {
    let mut grade = scalar("grade", Datatype::Int64);
    grade.choices = vec![1.into(), 2.into()];
    let mut colour = scalar("colour", Datatype::Bytes);
    colour.choices = vec!["red".into()];
    let choosy = validator(Layout::Features, vec![grade, colour]);
    tensors(&choosy, r#"{"inputs":{"grade":2.0,"colour":"red"}}"#);
    let bad = violations(&choosy, r#"{"inputs":{"grade":[1,3],"colour":["red","blue"]}}"#);
    let pointers: Vec<&str> = bad.iter().map(|violation| &*violation.pointer).collect();
    assert_eq!(pointers, ["/inputs/grade/1", "/inputs/colour/1"]);
    assert_eq!(bad[1].expected, r#"one of "red" (BYTES)"#);
}

#[test]
fn null_is_nan_where_a_float_is_nullable() {
    let mut missing = array("input", Datatype::Fp32, &[-1, 2]);
    missing.nullable = true;
    let read = tensors(&validator(Layout::Tensors, vec![missing]), r#"{"inputs":{"input":[1,null]}}"#);
    assert!(matches!(&read[0].data, TensorData::Fp32(v) if v[0] == 1.0 && v[1].is_nan()));
    let mut name = scalar("name", Datatype::Bytes);
    name.nullable = true;
    let named = validator(Layout::Features, vec![name]);
    only(
        &violations(&named, r#"{"inputs":{"name":null}}"#),
        "/inputs/name",
        &["a string (BYTES)", "null is not taken"],
    );
}

#[test]
fn defaults_stand_for_what_is_missing() {
    let mut second = scalar("b", Datatype::Fp64);
    (second.required, second.default) = (false, Some(7.into()));
    let mut third = scalar("c", Datatype::Fp64);
    (third.required, third.nullable) = (false, true);
    let validator = validator(Layout::Features, vec![scalar("a", Datatype::Fp64), second, third]);
    let read = tensors(&validator, r#"{"inputs":{"a":[1,2]}}"#).remove(0);
    assert_eq!(read.shape, [2, 3]);
    let TensorData::Fp64(data) = read.data else { panic!() };
    assert_eq!([data[0], data[1], data[3], data[4]], [1.0, 7.0, 2.0, 7.0]);
    assert!(data[2].is_nan() && data[5].is_nan());
}

#[test]
fn optional_tensors_are_left_out_and_default_ones_repeated() {
    let mut mask = array("mask", Datatype::Int64, &[-1, 2]);
    (mask.required, mask.default) = (false, Some(json!([1, 1])));
    let mut extra = array("extra", Datatype::Fp32, &[-1]);
    extra.required = false;
    let validator = validator(Layout::Tensors, vec![array("ids", Datatype::Int64, &[-1, 2]), mask, extra]);
    let read = tensors(&validator, r#"{"inputs":{"ids":[[1,2],[3,4]]}}"#);
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].shape, [2, 2]);
    assert_eq!(read[1].data, TensorData::Int64(vec![1; 4]));
}

#[test]
fn a_short_body_cannot_ask_for_gigabytes_of_defaults() {
    let optional = |i: usize| {
        let mut field = scalar(&format!("f{i}"), Datatype::Fp64);
        (field.required, field.default) = (false, Some(0.into()));
        field
    };
    let wide = validator(Layout::Features, (0..1000).map(optional).collect());
    let body = json!({ "inputs": { "f0": vec![0; 10_000] } }).to_string();
    only(&violations(&wide, &body), "/inputs", &["10000 rows without 999"]);
}

#[test]
fn rows_are_the_same_for_all_features_and_never_none() {
    flower_is_refused(
        r#"{"petal_length":[1,2],"petal_width":[1]}"#,
        "/inputs/petal_width",
        &["array of 2 values, as `petal_length`", "array of 1 value"],
    );
    flower_is_refused(r#"{"petal_length":[1,2],"petal_width":1}"#, "/inputs/petal_width", &["one value"]);
    flower_is_refused(r#"{"petal_length":[],"petal_width":1}"#, "/inputs/petal_length", &["at least one row"]);
    flower_is_refused(
        r#"{"petal_length":[1,[2]],"petal_width":[1,2]}"#,
        "/inputs/petal_length/1",
        &["give one value here"],
    );
    rows_are_refused("[]", "/inputs/input", &["at least one"]);
    rows_are_refused("[[]]", "/inputs/input/0", &["at least one"]);
}

#[test]
fn shapes_point_to_the_very_element() {
    rows_are_refused("[1,2]", "/inputs/input", &["3 values", "2 values"]);
    rows_are_refused("[[1,2,3],[1,2]]", "/inputs/input/1", &["3 values", "2 values"]);
    rows_are_refused(r#"[[1,2,3],[1,"x",3]]"#, "/inputs/input/1/1", &[r#"string "x""#]);
    rows_are_refused("[[1,2,3],4]", "/inputs/input/1", &["an array", "number 4"]);
    rows_are_refused("[1,[2],3]", "/inputs/input/1", &["one value"]);
    rows_are_refused(
        "5",
        "/inputs/input",
        &["shape [any, 3]", "0 dimensions", "1 deep for one row or 2 deep for many"],
    );
    rows_are_refused("[[[1,2,3]]]", "/inputs/input", &["nested too deep"]);
}

#[test]
fn the_frame_is_checked_too() {
    let refused = |body: &str, pointer: &str, words: &[&str]| only(&violations(&flowers(), body), pointer, words);
    let example = r#"{"inputs":{"petal_length":1.4,"petal_width":0.2}}"#;
    refused("[]", "", &["an empty array", example]);
    refused("{}", "/inputs", &["nothing", example]);
    refused(r#"{"inputs":[1,2]}"#, "/inputs", &["an array of 2 values", "`petal_length`, `petal_width`"]);
    let inputs = r#"{"petal_length":1,"petal_width":1}"#;
    refused(&format!(r#"{{"inputs":{inputs},"id":1}}"#), "/id", &["no such field"]);
    refused(&format!(r#"{{"inputs":{inputs},"inputs":{inputs}}}"#), "/inputs", &["again"]);
    refused(r#"{"inputs":{"petal_length":1,"petal_width":1,"petal_width":2}}"#, "/inputs/petal_width", &["again"]);
    let outside = violations(&flowers(), inputs);
    assert!(outside.iter().any(|v| v.pointer == "/petal_length" && v.detail.contains("into `inputs`")), "{outside:?}");
}

#[test]
fn no_more_than_a_hundred_problems_are_listed() {
    let body = json!({ "inputs": { "petal_length": vec!["x"; 5000], "petal_width": vec![1; 5000] } });
    let listed = violations(&flowers(), &body.to_string());
    assert_eq!(listed.len(), 100);
    assert!(listed[99].detail.contains("more problems"), "{}", listed[99].detail);
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    let refused = |body: &[u8], at: (usize, usize), word: &str| match flowers().check("predict", body) {
        Err(Rejection::NotJson { line, column, why }) => {
            assert_eq!((line, column), at, "{why}");
            assert!(why.contains(word), "{why}");
        }
        other => panic!("{other:?}"),
    };
    refused(b"", (1, 0), "the body is empty");
    refused(br#"{"inputs": {"petal_length": NaN}}"#, (1, 29), "JSON has no NaN");
    refused(b"{\"inputs\":\n {\"petal_length\": -Infinity}}", (2, 20), "JSON has no infinity");
    refused(b"{\"inputs\": {\"petal_length\": None}}", (1, 29), "null instead of None");
    refused(b"{'inputs': {}}", (1, 2), "double quotes");
    refused(br#"{"inputs": {"petal_length": 1,}}"#, (1, 31), "remove the comma");
    refused(br#"{"inputs": {"petal_length": 1"#, (1, 29), "ends too early");
    refused(b"\xef\xbb\xbf{}", (1, 1), "byte order mark");
    refused(b"{\"inputs\": {\"\xff\": 1}}", (1, 14), "UTF-8");
    refused(br#"{"inputs": {}} x"#, (1, 16), "trailing characters");
}

#[test]
fn half_a_surrogate_pair_is_no_text() {
    let named = validator(Layout::Features, vec![scalar("name", Datatype::Bytes)]);
    only(&violations(&named, r#"{"inputs":{"name":"\ud800"}}"#), "/inputs/name", &["surrogate"]);
    assert!(!violations(&named, r#"{"inputs":{"\ud800":"x"}}"#).is_empty());
}

#[test]
fn deep_nesting_is_refused_quickly() {
    let deep = format!(r#"{{"inputs":{{"input":{}{}}}}}"#, "[".repeat(200_000), "]".repeat(200_000));
    only(&violations(&rows_of_three(), &deep), "/inputs/input", &["nested too deep"]);
}

#[test]
fn unknown_functions_and_opaque_services_say_what_there_is() {
    let unknown = flowers().check("forecast", b"{}");
    assert_eq!(unknown, Err(Rejection::NoFunction { name: "forecast".into(), known: vec!["predict".into()] }));
    let opaque = validator(Layout::Opaque, vec![]);
    assert_eq!(opaque.check("predict", b"anything"), Ok(()));
    assert!(matches!(opaque.decode("predict", b"{}"), Err(Rejection::Unsupported(_))));
    let half = validator(Layout::Tensors, vec![array("input", Datatype::Fp16, &[-1])]);
    let refused = half.check("predict", b"{}");
    assert!(matches!(&refused, Err(Rejection::Unsupported(why)) if why.contains("FP16")), "{refused:?}");
}

#[test]
fn contracts_that_contradict_themselves_do_not_compile() {
    let compile = |layout, inputs| {
        let functions = vec![function(layout, inputs)];
        Validator::compile(Arc::new(Contract { functions, ..Contract::default() })).unwrap_err().to_string()
    };
    let mut default = scalar("a", Datatype::Int8);
    default.default = Some(300.into());
    assert!(compile(Layout::Features, vec![default]).contains("default 300"));
    let mut choice = scalar("a", Datatype::Bool);
    choice.choices = vec![1.into()];
    assert!(compile(Layout::Features, vec![choice]).contains("choice 1"));
    let twice = vec![scalar("a", Datatype::Bool), scalar("a", Datatype::Bool)];
    assert!(compile(Layout::Features, twice).contains("two inputs `a`"));
    assert!(compile(Layout::Features, vec![array("a", Datatype::Bool, &[-1])]).contains("type"));
    assert!(compile(Layout::Arguments, vec![argument("a", json!({ "type": 5 }))]).contains("schema"));
    let remote = json!({ "$ref": "http://127.0.0.1:1/schema.json" });
    assert!(compile(Layout::Arguments, vec![argument("a", remote)]).contains("schema"));
}
