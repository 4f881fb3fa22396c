//! Graphs that exporters wrote, and files that are none.

use std::io::Cursor;

use kea_core::{Datatype, Layout, ValueType};
use proptest::prelude::*;
use prost::Message as _;

use super::{contract, described, proto, read};

/// Where the crates are.
const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A field with a length of its own.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend(bytes);
    out
}

fn info(name: &str, element: i32, lengths: &[proto::Length]) -> Vec<u8> {
    let dimensions = lengths.iter().map(|length| proto::Dimension { length: Some(length.clone()) }).collect();
    let tensor = proto::Tensor { element, shape: Some(proto::Shape { dimensions }) };
    let kind = Some(proto::Type { value: Some(proto::Value::Tensor(tensor)) });
    proto::ValueInfo { name: name.into(), kind, doc_string: String::new() }.encode_to_vec()
}

fn fixed(length: i64) -> proto::Length {
    proto::Length::Fixed(length)
}

#[test]
fn the_graph_of_an_exporter_is_read_without_its_runtime() {
    let path = format!("{CRATES}/kea/src/templates/onnx/model.onnx");
    let contract = contract(path.as_ref()).unwrap();
    let predict = &contract.functions[0];
    assert_eq!(contract.platform, "onnx");
    assert!(!predict.inputs.is_empty() && !predict.outputs.is_empty(), "{predict:?}");
}

#[test]
fn constants_are_no_inputs_and_named_dimensions_are_told() {
    let constant = part(8, b"weights");
    let batch = proto::Length::Named("batch".into());
    let width = proto::Length::Named("width".into());
    let graph = [
        part(11, &info("image", 1, &[batch.clone(), fixed(3), width])),
        part(11, &info("weights", 1, &[fixed(3)])),
        part(5, &constant),
        part(12, &info("label", 7, &[batch])),
    ]
    .concat();
    let model = [part(6, b"Finds cats."), part(7, &graph)].concat();
    let contract = described(&read(&mut Cursor::new(model)).unwrap()).unwrap();
    let predict = &contract.functions[0];
    assert_eq!((contract.description.as_str(), predict.inputs.len()), ("Finds cats.", 1));
    let image = &predict.inputs[0];
    assert_eq!(image.value, ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, 3, -1] });
    assert_eq!(image.description, "Dimensions: batch, 3, width.");
    assert_eq!(predict.outputs[0].value, ValueType::Scalar { datatype: Datatype::Int64 });
}

#[test]
fn several_columns_are_features() {
    let graph = [
        part(11, &info("age", 1, &[fixed(0), fixed(1)])),
        part(11, &info("plan", 8, &[fixed(0), fixed(1)])),
        part(12, &info("churn", 1, &[fixed(0), fixed(1)])),
    ]
    .concat();
    let contract = described(&read(&mut Cursor::new(part(7, &graph))).unwrap()).unwrap();
    assert_eq!(contract.functions[0].layout, Layout::Features);
    assert_eq!(contract.functions[0].inputs[1].value, ValueType::Scalar { datatype: Datatype::Bytes });
}

#[test]
fn a_part_that_is_longer_than_the_file_is_refused() {
    let huge = [7 << 3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(read(&mut Cursor::new(huge)).is_err());
    let text = part(6, &vec![b'x'; 2 << 20]);
    assert!(read(&mut Cursor::new(text)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), number in 0_u8..16) {
        for file in [bytes.clone(), part(7, &part(number, &bytes))] {
            if let Ok(graph) = read(&mut Cursor::new(file)) {
                let _ = described(&graph);
            }
        }
    }
}
