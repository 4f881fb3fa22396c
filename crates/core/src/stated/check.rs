//! What is wrong with a statement whatever the model is.

use super::{MAX_BYTES, StatedField, StatedFunction, values};

/// Where a statement is wrong, as a JSON pointer into the MLModel's `spec`, and what to do.
type Fault = (String, String);

/// Refuses statements that no model could bear out.
///
/// # Errors
/// The JSON pointer into the MLModel's `spec`, and what to do.
pub fn check(stated: &[StatedFunction]) -> Result<(), Fault> {
    let bytes = serde_json::to_string(stated).map_or(0, |text| text.len());
    if bytes > MAX_BYTES {
        return Err(("/functions".into(), format!("it has {bytes} bytes as JSON: state {MAX_BYTES} at most")));
    }
    for (index, function) in stated.iter().enumerate() {
        let at = format!("/functions/{index}");
        if stated[..index].iter().any(|other| other.name == function.name) {
            return Err((format!("{at}/name"), format!("`{}` is stated twice: keep one", function.name)));
        }
        fields(&format!("{at}/inputs"), &function.inputs, required)?;
        fields(&format!("{at}/outputs"), &function.outputs, given)?;
    }
    Ok(())
}

/// The same of what an MLModel states of `predict` as `inputType` and `outputType`.
///
/// # Errors
/// As those of [`check`].
pub fn check_types(inputs: &[StatedField], outputs: &[StatedField]) -> Result<(), Fault> {
    fields("/inputType", inputs, required)?;
    fields("/outputType", outputs, given)
}

fn fields(
    at: &str,
    fields: &[StatedField],
    of_its_side: fn(&str, &StatedField) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for (index, field) in fields.iter().enumerate() {
        let at = format!("{at}/{index}");
        if fields[..index].iter().any(|other| other.name == field.name) {
            return Err((format!("{at}/name"), format!("`{}` is stated twice: keep one", field.name)));
        }
        limits(&at, field)?;
        of_its_side(&at, field)?;
        values::agree(field, &at).map_err(|(keyword, why)| (format!("{at}/{keyword}"), why))?;
    }
    Ok(())
}

fn limits(at: &str, field: &StatedField) -> Result<(), Fault> {
    if let (Some(minimum), Some(maximum)) = (field.minimum, field.maximum)
        && minimum > maximum
    {
        let why = format!("it is {minimum}, above the maximum of {maximum}: correct one");
        return Err((format!("{at}/minimum"), why));
    }
    if field.shape.iter().flatten().any(|length| *length < -1 || *length == 0) {
        let why = "a dimension is a whole number from 1, or -1 for a variable one";
        return Err((format!("{at}/shape"), why.into()));
    }
    Ok(())
}

/// An input is required or has a default.
fn required(at: &str, field: &StatedField) -> Result<(), Fault> {
    if field.default.is_some() && field.required == Some(true) {
        let why = "an input with a default is not required: remove one of the two";
        return Err((format!("{at}/required"), why.into()));
    }
    Ok(())
}

/// Outputs are given by the model.
fn given(at: &str, field: &StatedField) -> Result<(), Fault> {
    let keyword = match field {
        StatedField { default: Some(_), .. } => "default",
        StatedField { required: Some(false), .. } => "required",
        _ => return Ok(()),
    };
    Err((format!("{at}/{keyword}"), "`default` and `required: false` are for inputs: remove it".into()))
}
