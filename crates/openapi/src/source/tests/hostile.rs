//! Sources that nobody means well with: they are refused or read, and never bring KEA down.

use std::fs;

use super::{contract, folder, function, names, read, read_text, schema};
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

#[test]
fn a_parameter_bounded_by_its_own_class_is_unknown_and_nothing_else() {
    for head in ["class Node[T: Node](BaseModel):", "class Node[T: 'Node'](BaseModel):"] {
        let contract = contract(&format!(
            "from pydantic import BaseModel\n\
             {head}\n    left: T | None = None\n    right: T | None = None\n    parent: T | None = None\n\
             class Model:\n    def predict(self, x: Node, y: int) -> Node: ...\n"
        ));
        let inputs = function(&contract, "predict").inputs;
        assert_eq!(schema(&inputs[1])["type"], "integer", "{head}");
        assert!(contract.incomplete.iter().any(|note| note.contains("type variable")), "{:?}", contract.incomplete);
    }
}

#[test]
fn arguments_of_arguments_are_cut_before_they_fill_the_memory() {
    let fields: String = ('a'..='j').map(|name| format!("    {name}: T\n")).collect();
    let nested = format!("{}int{}", "P[".repeat(12), "]".repeat(12));
    let source = format!(
        "from typing import TypedDict\nclass P[T](TypedDict):\n{fields}\
         class Model:\n    def predict(self, x: {nested}) -> {nested}: ...\n"
    );
    let contract = contract(&source);
    assert!(contract.incomplete.iter().any(|note| note.contains("nested too deep")), "{:?}", contract.incomplete);
    assert!(serde_json::to_string(&contract).unwrap().len() < 4 << 20);
}

#[test]
fn classes_that_are_arguments_of_each_others_bases_are_cut() {
    let chain = |head: &str, base: &str| {
        let classes: String =
            (1..15_000).map(|n| format!("class C{n}({}): ...\n", base.replace('X', &format!("C{}", n - 1)))).collect();
        format!(
            "from typing import Generic, TypeVar\nfrom pydantic import BaseModel, RootModel\nT = TypeVar('T')\n{head}\
             class C0(BaseModel):\n    x: int\n{classes}\
             class Model:\n    def predict(self, x: C14999) -> C14999: ...\n"
        )
    };
    let root = chain("class R(RootModel[T], Generic[T]): ...\n", "R[X]");
    let holder = chain("class R(BaseModel, Generic[T]):\n    held: T\n", "R[X]");
    let held: String = (1..15_000).map(|n| format!("class H{n}(BaseModel):\n    y: R[H{}]\n", n - 1)).collect();
    let attributes = format!("{}{held}", holder.replace("x: C14999) -> C14999", "x: H14999) -> H14999"))
        .replace("class C0(", "class H0(BaseModel):\n    x: int\nclass C0(");
    for source in [root, holder, attributes] {
        let contract = contract(&source);
        assert!(!contract.incomplete.is_empty());
        let text = serde_json::to_string(&contract).unwrap();
        assert_eq!(serde_json::from_str::<kea_core::Contract>(&text).unwrap(), contract);
    }
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
