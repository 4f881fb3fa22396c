//! Sources that nobody means well with: they are refused or read, and never bring KEA down.

use std::fs;

use super::{contract, folder, function, names, read, read_text};
use crate::source::{FILE_LIMIT, SourceError, read_web};

#[test]
fn a_file_that_is_too_large_or_no_text_is_refused() {
    let folder = folder(&[]);
    let file = folder.path().join("model.py");
    fs::write(&file, vec![b'#'; FILE_LIMIT as usize + 1]).unwrap();
    assert!(matches!(read(&file), Err(SourceError::TooLarge { .. })));
    fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
    assert!(matches!(read(&file), Err(SourceError::NotText { .. })));
}

#[test]
fn a_deep_source_is_refused_before_it_is_parsed() {
    let deep = 200_000;
    let operators = format!("x = {}1", "1+".repeat(deep));
    let brackets = format!("x = {}{}", "(".repeat(deep), ")".repeat(deep));
    let attributes = format!("x = a{}", ".b".repeat(deep));
    let negations = format!("x = {}1", "not ".repeat(deep));
    let calls = format!("x = a{}", "()".repeat(deep));
    let lambdas = format!("x = {}1", "lambda:".repeat(deep));
    for source in [operators, brackets, attributes, negations, calls, lambdas] {
        assert!(matches!(read_text(&source), Err(SourceError::TooNested { .. })), "{}", &source[..20]);
    }
}

#[test]
fn a_deep_hint_in_quotes_is_noted() {
    let hint = format!("{}int{}", "list[".repeat(50_000), "]".repeat(50_000));
    let contract = contract(&format!("class Model:\n    def predict(self, x: '{hint}') -> int: ...\n"));
    assert_eq!(contract.incomplete.len(), 1, "{:?}", contract.incomplete);
}

#[test]
fn a_long_flat_source_is_read() {
    let data: String = (0..50_000).map(|n| format!("{n}, ")).collect();
    let source = format!("DATA = [{data}]\nclass Model:\n    def predict(self, x: int) -> int: ...\n");
    assert_eq!(contract(&source).function_names(), ["predict"]);
}

#[test]
fn types_that_grow_exponentially_are_cut() {
    let mut source = String::from("from typing import *\nT0 = int\n");
    for n in 1..30 {
        let of = n - 1;
        source += &format!("T{n} = Tuple[T{of}, List[T{of}], Dict[str, T{of}], Set[T{of}], Optional[T{of}]]\n");
    }
    source += "class Model:\n    def predict(self, x: T29) -> T29: ...\n";
    let contract = contract(&source);
    assert!(contract.incomplete.iter().any(|note| note.contains("nested too deep")), "{:?}", contract.incomplete);
    let text = serde_json::to_string(&contract).unwrap();
    assert_eq!(serde_json::from_str::<kea_core::Contract>(&text).unwrap(), contract);
}

#[test]
fn definitions_that_go_round_in_circles_end() {
    let source = r"
from enum import Enum
A = B
B = A
C = C
class D(E): ...
class E(D): ...
class F(Enum):
    X = F.X
class Model(Model):
    def predict(self, a: A, c: C, d: D, f: F, v: int = A) -> A: ...
";
    let contract = contract(source);
    assert_eq!(contract.functions[0].inputs.len(), 5);
}

/// Pieces that are put together at random, besides cuts of a real source.
const PIECES: [&str; 24] = [
    "class Model",
    "class ",
    ":\n    ",
    "def predict(self, ",
    "x: int",
    " -> ",
    "list[",
    "]",
    "(",
    ")",
    "\"\"\"",
    "Literal[",
    "'",
    "\n",
    "\t",
    "*args",
    "=",
    "Field(ge=",
    "…",
    "\u{feff}",
    "\0",
    "f'{",
    "@",
    "Args:\n",
];

#[test]
fn no_text_makes_the_reader_panic() {
    let real = super::REAL;
    let mut random = Random(7);
    for _ in 0..400 {
        let mut source = real.to_owned();
        for _ in 0..random.below(6) + 1 {
            let start = random.boundary(&source);
            let end = random.boundary(&source).max(start).min(source.len());
            let end = if random.below(2) == 0 { start } else { end };
            source.replace_range(start..end, PIECES[random.below(PIECES.len())]);
        }
        let read = read_text(&source);
        assert!(!matches!(read, Err(SourceError::Unparsable { .. })), "{source}");
    }
}

#[test]
fn no_text_makes_the_reader_of_web_applications_panic() {
    let sources = [
        include_str!("../../../tests/corpus/fastapi_loans.py"),
        include_str!("../../../tests/corpus/flask_predict.py"),
        include_str!("../../../tests/corpus/starlette_app.py"),
    ];
    let folder = folder(&[]);
    let file = folder.path().join("app.py");
    let mut random = Random(11);
    for round in 0..150 {
        let mut source = sources[round % sources.len()].to_owned();
        let (start, end) = (random.boundary(&source), random.boundary(&source));
        let end = if random.below(2) == 0 { start } else { end.max(start) };
        source.replace_range(start..end, PIECES[random.below(PIECES.len())]);
        fs::write(&file, &source).unwrap();
        assert!(!matches!(read_web(&file, &[]), Err(SourceError::Unparsable { .. })), "{source}");
    }
}

#[test]
fn routers_that_contain_each_other_end() {
    let folder = folder(&[]);
    let file = folder.path().join("app.py");
    let source = "from fastapi import APIRouter, FastAPI\napp = FastAPI()\na = APIRouter()\nb = APIRouter()\n\
        app.include_router(a, prefix='/a')\na.include_router(b, prefix='/b')\nb.include_router(a)\n\
        @b.get('/x')\ndef x() -> int: ...\n";
    fs::write(&file, source).unwrap();
    let contract = read_web(&file, &[]).unwrap().unwrap();
    assert_eq!(contract.operations[0].path, "/a/b/x");
}

/// A small generator (xorshift), so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn boundary(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
    }
}

#[test]
fn type_parameters_that_grow_without_bound_end() {
    let nested = format!("{}int{}", "P[".repeat(60), "]".repeat(60));
    let source = format!(
        "from dataclasses import dataclass\n\
         from typing import Generic, TypeVar\n\
         T = TypeVar('T', bound='T')\n\
         type A[X] = A[list[X]]\n\
         type B[X] = C[X, X]\n\
         type C[X, Y] = B[tuple[X, Y]] | X\n\
         class G(Generic[T]):\n    def many(self, x: T) -> T: ...\n\
         class S(S[S]): ...\n\
         @dataclass\n\
         class P[X]:\n    of: X\n    more: 'P[list[X]]'\n\
         class Model(G['Model']):\n    \
             def predict(self, a: A[int], b: B[int], s: S, p: {nested}) -> P[P[B[int]]]: ...\n"
    );
    let contract = contract(&source);
    assert_eq!(names(&function(&contract, "predict").inputs), ["a", "b", "s", "p"]);
    assert!(contract.incomplete.iter().any(|note| note.contains("contains itself")), "{:?}", contract.incomplete);
}
