//! Bounds how deeply a source nests before it is parsed.
//!
//! The parser guards its own recursion, but the tree that it makes is freed recursively: a file of a million `1+1+1…`
//! would overflow the stack then. Tokens are counted instead, which needs no recursion.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer::lex};

/// Levels that are read. CPython itself gives up at 200 brackets, 100 blocks and a few thousand chained operators.
pub(super) const LIMIT: usize = 1000;

/// Whether a tree of this source could be deeper than [`LIMIT`].
pub(super) fn too_deep(source: &str) -> bool {
    let mut lexer = lex(source, Mode::Module);
    let mut depth = Depth::default();
    loop {
        match lexer.next_token() {
            TokenKind::EndOfFile => return false,
            kind => depth.count(kind),
        }
        if depth.total > LIMIT {
            return true;
        }
    }
}

/// How deep the tree can be at a token: each operator, keyword or bracket since the last separator may be a level.
#[derive(Default)]
struct Depth {
    /// Of each open bracket or block, what was counted within.
    open: Vec<usize>,
    /// What was counted outside of them.
    chain: usize,
    total: usize,
}

impl Depth {
    fn count(&mut self, kind: TokenKind) {
        match kind {
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace | TokenKind::Indent => self.enter(),
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace | TokenKind::Dedent => self.leave(),
            TokenKind::Comma | TokenKind::Semi | TokenKind::Newline => {
                self.total -= self.chain;
                self.chain = 0;
            }
            kind if kind.is_operator() || kind.is_keyword() => {
                self.chain += 1;
                self.total += 1;
            }
            _ => {}
        }
    }

    fn enter(&mut self) {
        self.open.push(self.chain + 1);
        self.total += 1;
        self.chain = 0;
    }

    fn leave(&mut self) {
        if let Some(outer) = self.open.pop() {
            self.total -= self.chain;
            self.chain = outer;
        }
    }
}
