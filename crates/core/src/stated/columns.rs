//! Names for the columns of a matrix: a model that was trained without names takes one array of rows.

use crate::contract::{Field, Function, Layout, ValueType};

use super::StatedFunction;

/// What KEA calls the one array of a model whose columns have no names; a replica gets rows of named features as that array.
const MATRIX: &str = "input";

/// Makes named features of the one array, where as many are stated as it has columns.
pub(super) fn name(function: &mut Function, stated: &StatedFunction) {
    let [matrix] = &function.inputs[..] else { return };
    let ValueType::Tensor { datatype, shape } = &matrix.value else { return };
    let is_one = function.layout == Layout::Tensors && matrix.name == MATRIX && datatype.size().is_some();
    let columns = shape.get(1).and_then(|columns| usize::try_from(*columns).ok());
    let are_all = shape.len() == 2 && shape[0] == -1 && columns == Some(stated.inputs.len());
    let is_itself = stated.inputs.iter().any(|of| of.name == matrix.name || of.shape.is_some());
    if !is_one || !are_all || is_itself {
        return;
    }
    let row = matrix.example.as_ref().and_then(|example| example.get(0));
    let column = |(index, name): (usize, &str)| Field {
        example: row.map(|row| row.as_array().map_or(row, |row| &row[index])).cloned().filter(|one| !one.is_null()),
        name: name.into(),
        value: ValueType::Scalar { datatype: *datatype },
        description: String::new(),
        ..matrix.clone()
    };
    function.inputs = stated.inputs.iter().map(|of| of.name.as_str()).enumerate().map(column).collect();
    function.layout = Layout::Features;
}
