//! Sources and the contracts they make.

mod folders;
mod functions;
mod hostile;
mod results;
mod stated;
mod types;

use std::fs;

use kea_core::{Contract, Field, Function, ValueType};
use serde_json::Value;
use tempfile::TempDir;

use super::{SourceError, SourceModel, read};

/// Reads one file with this text.
fn read_text(source: &str) -> Result<SourceModel, SourceError> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("model.py");
    fs::write(&file, source).unwrap();
    read(&file)
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn contract(source: &str) -> Contract {
    read_text(source).unwrap().contract
}

fn function(contract: &Contract, name: &str) -> Function {
    contract.function(name).unwrap().clone()
}

fn names(fields: &[Field]) -> Vec<&str> {
    fields.iter().map(|field| field.name.as_str()).collect()
}

fn schema(field: &Field) -> &Value {
    match &field.value {
        ValueType::Json { schema } => schema,
        other => panic!("{other:?} is no schema"),
    }
}

/// A source as engineers write them, of every form that is read.
const REAL: &str = r#"
"""A recommender."""
from __future__ import annotations
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal, Optional, TypedDict
import numpy as np
from pydantic import BaseModel, Field

class Genre(str, Enum):
    CRIME = "crime"
    POETRY = "poetry"

@dataclass
class Reader:
    """Somebody who reads.

    Attributes:
        age: In years.
    """
    age: int
    genres: list[Genre] = field(default_factory=list)
    friends: Optional[list["Reader"]] = None

class Query(BaseModel):
    reader: Reader
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    mode: Literal["fast", "exact"] = "fast"

class Book(TypedDict):
    title: str
    score: float

class Recommender:
    """Recommends books."""

    def load(self) -> None:
        self.table = np.zeros((3, 3))

    def predict(self, query: Query, seed: int | None = None) -> list[Book]:
        """Recommends books to a reader.

        Args:
            query: Who asks (and how).
            seed: For tests.

        Returns:
            list[Book]: best first
        """
        return [{"title": f"{seed!r:>{10}}", "score": 1.0} for _ in range(query.limit)]

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Distance of two readers.

        :param a: one
        :param b: the other
        """
        return float(np.linalg.norm(a - b))
"#;
