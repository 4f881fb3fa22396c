//! What MLflow keeps beside a model: the signature of its inputs, and an example of them.
//!
//! What a prediction holds is not taken from there: KEA serves the library's own model, whose answers have names that
//! MLflow's signature does not.

use std::{fs, path::Path};

use kea_core::{Contract, Datatype, Field, Function, Layout, ValueType, contract::DEFAULT_FUNCTION};
use serde::Deserialize;
use serde_json::Value;

use super::DescribeError;

/// The file that makes a folder MLflow's.
pub(super) const FILE: &str = "MLmodel";

/// Longest description or example that is read, in bytes.
const LONGEST: u64 = 8 << 20;

const NO_SIGNATURE: &str = "MLflow kept no signature of the model: what it takes is known once it is deployed";
const NO_OUTPUTS: &str = "`predict`: what a prediction holds is known once the model is deployed";

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    signature: Option<Signature>,
    #[serde(default)]
    saved_input_example_info: Option<ExampleInfo>,
}

#[derive(Deserialize)]
struct Signature {
    /// A list of columns, as JSON in a text.
    #[serde(default)]
    inputs: Option<String>,
}

#[derive(Deserialize)]
struct ExampleInfo {
    artifact_path: String,
}

/// One column or tensor of a signature.
#[derive(Deserialize)]
struct Column {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    required: Option<bool>,
    #[serde(default, rename = "tensor-spec")]
    tensor: Option<TensorSpec>,
}

#[derive(Deserialize)]
struct TensorSpec {
    dtype: String,
    shape: Vec<i64>,
}

/// The contract of the model in MLflow's folder.
pub(super) fn contract(folder: &Path) -> Result<Contract, DescribeError> {
    let file = folder.join(FILE);
    let not = |why: String| DescribeError::NotMlflow { file: file.display().to_string(), why };
    let described: Description = serde_yaml_ng::from_str(&text(&file)?).map_err(|error| not(error.to_string()))?;
    let inputs = described.signature.and_then(|signature| signature.inputs);
    let columns: Vec<Column> = match &inputs {
        Some(inputs) => serde_json::from_str(inputs).map_err(|error| not(error.to_string()))?,
        None => Vec::new(),
    };
    let example = described.saved_input_example_info.and_then(|info| example(folder, &info.artifact_path));
    let mut incomplete = Vec::new();
    let (layout, inputs) = fields(&columns, example.as_ref(), &mut incomplete);
    if columns.is_empty() {
        incomplete.push(NO_SIGNATURE.to_owned());
    }
    incomplete.push(NO_OUTPUTS.to_owned());
    let predict = Function {
        name: DEFAULT_FUNCTION.into(),
        description: String::new(),
        layout: if columns.is_empty() { Layout::Opaque } else { layout },
        inputs,
        outputs: Vec::new(),
        idempotent: true,
        deterministic: true,
    };
    Ok(Contract { platform: "mlflow".into(), functions: vec![predict], incomplete, ..Contract::default() })
}

fn fields(columns: &[Column], example: Option<&Value>, incomplete: &mut Vec<String>) -> (Layout, Vec<Field>) {
    let layout = if columns.iter().any(|column| column.tensor.is_some()) { Layout::Tensors } else { Layout::Features };
    let mut fields = Vec::new();
    for (position, column) in columns.iter().enumerate() {
        let name = column.name.clone().unwrap_or_else(|| "input".to_owned());
        match column.value() {
            Some(value) => fields.push(Field {
                required: column.required.unwrap_or(true),
                nullable: column.required == Some(false),
                example: example.and_then(|row| row.get(position)).filter(|value| !value.is_null()).cloned(),
                ..Field::new(name, value)
            }),
            None => incomplete.push(format!("`predict`: input `{name}` is of MLflow's type `{}`", column.kind)),
        }
    }
    (layout, fields)
}

impl Column {
    fn value(&self) -> Option<ValueType> {
        match &self.tensor {
            Some(TensorSpec { dtype, shape }) => {
                Some(ValueType::Tensor { datatype: datatype(dtype)?, shape: shape.clone() })
            }
            None => Some(ValueType::Scalar { datatype: datatype(&self.kind)? }),
        }
    }
}

/// MLflow's and numpy's names of types.
fn datatype(name: &str) -> Option<Datatype> {
    Some(match name {
        "boolean" | "bool" => Datatype::Bool,
        "integer" | "int32" => Datatype::Int32,
        "long" | "int64" => Datatype::Int64,
        "float" | "float32" => Datatype::Fp32,
        "double" | "float64" => Datatype::Fp64,
        "string" | "str" | "object" => Datatype::Bytes,
        "int8" => Datatype::Int8,
        "int16" => Datatype::Int16,
        "uint8" => Datatype::Uint8,
        "uint16" => Datatype::Uint16,
        "uint32" => Datatype::Uint32,
        "uint64" => Datatype::Uint64,
        "float16" => Datatype::Fp16,
        _ => return None,
    })
}

/// The first row of a data frame that was kept as an example, `{"columns": […], "data": [[…]]}`.
fn example(folder: &Path, name: &str) -> Option<Value> {
    // A path that leads out of the folder is nobody's example.
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    let text = plain.then(|| text(&folder.join(name)).ok()).flatten()?;
    serde_json::from_str::<Value>(&text).ok()?.get("data")?.get(0).cloned()
}

fn text(file: &Path) -> Result<String, DescribeError> {
    let unreadable = |why| DescribeError::Unreadable { file: file.display().to_string(), why };
    let length = fs::metadata(file).map_err(unreadable)?.len();
    if length > LONGEST {
        return Err(unreadable(std::io::Error::other(format!("it is longer than {LONGEST} bytes"))));
    }
    fs::read_to_string(file).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn folder(description: &str) -> TempDir {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(FILE), description).unwrap();
        fs::write(folder.path().join("input_example.json"), r#"{"columns": ["a", "b"], "data": [[1.5, null]]}"#)
            .unwrap();
        folder
    }

    #[test]
    fn a_signature_of_columns_names_features() {
        let folder = folder(
            "signature:\n  inputs: '[{\"type\": \"double\", \"name\": \"a\", \"required\": true}, {\"type\": \"string\", \"name\": \"b\", \"required\": false}]'\n  outputs: null\nsaved_input_example_info:\n  artifact_path: input_example.json\n  type: dataframe\n",
        );
        let contract = contract(folder.path()).unwrap();
        let predict = &contract.functions[0];
        assert_eq!(predict.layout, Layout::Features);
        let a = Field { example: Some(json!(1.5)), ..Field::new("a", ValueType::Scalar { datatype: Datatype::Fp64 }) };
        let b = Field::new("b", ValueType::Scalar { datatype: Datatype::Bytes });
        assert_eq!(predict.inputs, [a, Field { required: false, nullable: true, ..b }]);
        assert_eq!(contract.incomplete, [NO_OUTPUTS]);
    }

    #[test]
    fn a_signature_of_tensors_has_their_shape() {
        let folder = folder(
            "signature:\n  inputs: '[{\"type\": \"tensor\", \"tensor-spec\": {\"dtype\": \"float32\", \"shape\": [-1, 4]}}]'\n",
        );
        let contract = contract(folder.path()).unwrap();
        let value = ValueType::Tensor { datatype: Datatype::Fp32, shape: vec![-1, 4] };
        assert_eq!(contract.functions[0].inputs, [Field::new("input", value)]);
    }

    #[test]
    fn a_folder_without_a_signature_says_so() {
        let folder = folder("flavors: {}\nsaved_input_example_info:\n  artifact_path: ../../etc/passwd\n");
        assert_eq!(contract(folder.path()).unwrap().incomplete, [NO_SIGNATURE, NO_OUTPUTS]);
        let broken = self::folder("signature: [");
        assert!(matches!(contract(broken.path()), Err(DescribeError::NotMlflow { .. })));
    }
}
