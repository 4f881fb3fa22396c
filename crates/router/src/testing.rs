//! What tests of several stages need.

use std::sync::Arc;

use kea_core::{Contract, Datatype, Field, Function, Layout, ValueType};

/// Of a model with the function `again`, which may be called twice, and `once`, which may not.
pub(crate) fn contract() -> Arc<Contract> {
    let field = Field::new("x", ValueType::Scalar { datatype: Datatype::Fp64 });
    let function = |name: &str, idempotent| Function {
        name: name.into(),
        description: String::new(),
        layout: Layout::Features,
        inputs: vec![field.clone()],
        outputs: Vec::new(),
        idempotent,
        deterministic: true,
    };
    let functions = vec![function("again", true), function("once", false)];
    Arc::new(Contract { functions, ..Contract::default() })
}
