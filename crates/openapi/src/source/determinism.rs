//! Which functions answer the same inputs differently, as the class says: `non_deterministic = ["draw"]` in its body.

use ruff_python_ast::{Expr, Stmt, StmtClassDef};

/// Name of the attribute.
const ATTRIBUTE: &str = "non_deterministic";

/// Names of the functions that are said to be so.
pub(super) fn not_deterministic(class: &StmtClassDef) -> Vec<&str> {
    let listed = class.body.iter().filter_map(listed).next_back();
    listed.into_iter().flatten().filter_map(|name| Some(name.as_string_literal_expr()?.value.to_str())).collect()
}

fn listed(statement: &Stmt) -> Option<&[Expr]> {
    let (target, value) = match statement {
        Stmt::Assign(assign) => (assign.targets.first()?, &*assign.value),
        Stmt::AnnAssign(assign) => (&*assign.target, assign.value.as_deref()?),
        _ => return None,
    };
    if target.as_name_expr()?.id.as_str() != ATTRIBUTE {
        return None;
    }
    match value {
        Expr::List(list) => Some(&list.elts),
        Expr::Tuple(tuple) => Some(&tuple.elts),
        Expr::Set(set) => Some(&set.elts),
        _ => None,
    }
}
