//! Reads the imports and functions of one Rust source file from its tokens, so that comments and
//! strings are never mistaken for code. Items under `#[cfg(test)]` are left out.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path that names something else in the crate, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The line of its first token, from 1.
    pub line: usize,
    /// Modules inside the file that enclose it, outermost first.
    pub inline: Vec<String>,
    /// Its segments, the first of them possibly `crate`, `self` or `super`; `*` for a glob.
    pub path: Vec<String>,
    /// The name that a `use` brings into scope; `None` for a path in an expression or type.
    pub name: Option<String>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both included.
    pub lines: usize,
}

/// What a file contains.
#[derive(Debug, Default)]
pub struct Scan {
    /// Every `use`, one entry for each name, and every inline path.
    pub imports: Vec<Import>,
    /// Its functions.
    pub functions: Vec<Function>,
    /// Functions, types, traits, constants and statics that it defines, those of an `impl` as
    /// `Type::name`.
    pub items: Vec<String>,
    /// Modules in other files that are declared under `#[cfg(test)]`.
    pub test_modules: Vec<String>,
    /// The type of the `impl` that is being read.
    owner: Option<String>,
}

/// Scans the text of a file.
///
/// # Panics
/// When the text is not Rust.
pub fn scan(text: &str) -> Scan {
    let tokens: TokenStream = text.parse().expect("the file is Rust");
    let mut scan = Scan::default();
    scan.walk(tokens, &mut Vec::new());
    scan
}

impl Scan {
    fn walk(&mut self, tokens: TokenStream, inline: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, inline);
        }
    }

    /// Reads what begins at a token; gives the position after it.
    fn step(&mut self, tokens: &[TokenTree], at: usize, inline: &mut Vec<String>) -> usize {
        if let Some((attribute, end)) = attribute(tokens, at) {
            return if is_cfg_test(attribute) { self.skip_test(tokens, end) } else { end };
        }
        match &tokens[at] {
            TokenTree::Group(group) => {
                self.walk(group.stream(), inline);
                at + 1
            }
            TokenTree::Ident(word) => match word.to_string().as_str() {
                // The path of `pub(in path)` imports nothing.
                "pub" if group(tokens, at + 1, Delimiter::Parenthesis).is_some() => at + 2,
                "use" if !is_punct(tokens, at + 1, '<') => self.read_use(tokens, at + 1, inline),
                "mod" => self.read_module(tokens, at, inline),
                "impl" => self.read_impl(tokens, at, inline),
                "crate" | "self" | "super" if is_separator(tokens, at + 1) => {
                    let (path, end) = path(tokens, at);
                    let line = line(&tokens[at]);
                    self.imports.push(Import { line, inline: inline.clone(), path, name: None });
                    end
                }
                keyword @ ("fn" | "struct" | "enum" | "trait" | "type" | "const" | "static") => {
                    self.read_item(keyword, tokens, at);
                    at + 1
                }
                _ => at + 1,
            },
            _ => at + 1,
        }
    }

    fn read_item(&mut self, keyword: &str, tokens: &[TokenTree], at: usize) {
        let Some(TokenTree::Ident(name)) = tokens.get(at + 1) else { return };
        let owner = self.owner.iter().map(|owner| format!("{owner}::"));
        self.items.push(format!("{}{name}", owner.collect::<String>()));
        if keyword != "fn" {
            return;
        }
        let rest = tokens[at..]
            .iter()
            .take_while(|token| !matches!(token, TokenTree::Punct(p) if p.as_char() == ';'));
        let body = rest.filter_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
            _ => None,
        });
        if let Some(body) = body.take(1).next() {
            let line = line(&tokens[at]);
            let lines = body.span_close().end().line - line + 1;
            self.functions.push(Function { name: name.to_string(), line, lines });
        }
    }

    fn read_impl(&mut self, tokens: &[TokenTree], at: usize, inline: &mut Vec<String>) -> usize {
        let is_body = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        let Some(body) = tokens[at..].iter().position(is_body) else { return at + 1 };
        let header = &tokens[at + 1..at + body];
        let for_type = header.iter().position(|t| matches!(t, TokenTree::Ident(i) if i == "for"));
        let target = for_type.map_or_else(|| after_generics(header), |at| at + 1);
        // Paths in the header may be imports.
        self.walk(header.iter().cloned().collect(), inline);
        let owner = path(header, target).0.pop();
        let outer = std::mem::replace(&mut self.owner, owner);
        if let TokenTree::Group(body) = &tokens[at + body] {
            self.walk(body.stream(), inline);
        }
        self.owner = outer;
        at + body + 1
    }

    fn read_module(&mut self, tokens: &[TokenTree], at: usize, inline: &mut Vec<String>) -> usize {
        let body = group(tokens, at + 2, Delimiter::Brace);
        if let (Some(TokenTree::Ident(name)), Some(body)) = (tokens.get(at + 1), body) {
            inline.push(name.to_string());
            self.walk(body.stream(), inline);
            inline.pop();
            return at + 3;
        }
        at + 1
    }

    fn read_use(&mut self, tokens: &[TokenTree], at: usize, inline: &[String]) -> usize {
        let end = tokens[at..]
            .iter()
            .position(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ';'));
        let end = end.map_or(tokens.len(), |length| at + length);
        self.read_use_tree(&tokens[at..end], &[], inline);
        end
    }

    fn read_use_tree(&mut self, tree: &[TokenTree], before: &[String], inline: &[String]) {
        let start = if is_separator(tree, 0) { 2 } else { 0 };
        let Some(first) = tree.get(start) else { return };
        let (mut segments, end) = path(tree, start);
        let mut whole = before.to_vec();
        whole.append(&mut segments);
        if let Some(group) = group(tree, end, Delimiter::Brace) {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let branches = inner.split(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == ','));
            return branches.for_each(|branch| self.read_use_tree(branch, &whole, inline));
        }
        if is_punct(tree, end, '*') {
            whole.push("*".to_owned());
        }
        // `use a::{self}` names `a`.
        if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
            whole.pop();
        }
        let name = match (tree.get(end), tree.get(end + 1)) {
            (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(name))) if word == "as" => {
                Some(name.to_string())
            }
            _ => whole.last().cloned(),
        };
        self.imports.push(Import { line: line(first), inline: inline.to_vec(), path: whole, name });
    }

    /// Skips the item after `#[cfg(test)]`, and further attributes of it.
    fn skip_test(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        while let Some((_, end)) = attribute(tokens, at) {
            at = end;
        }
        let ends = |token: &TokenTree| match token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        let end = tokens[at..].iter().position(ends).map_or(tokens.len(), |length| at + length + 1);
        let module =
            tokens[at..end].iter().position(|t| matches!(t, TokenTree::Ident(i) if i == "mod"));
        if let Some(TokenTree::Ident(name)) = module.and_then(|module| tokens.get(at + module + 1))
        {
            self.test_modules.push(name.to_string());
        }
        end
    }
}

/// The segments of a path that begins at a token, and the position after it. A path before `::{`
/// or `::*` ends there; generic arguments end it too.
fn path(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
        segments.push(segment.to_string());
        at += 1;
        if !is_separator(tokens, at) {
            break;
        }
        at += 2;
    }
    (segments, at)
}

/// The position after `<…>` at the start.
fn after_generics(tokens: &[TokenTree]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth -= 1,
            _ if depth == 0 => return at,
            _ => {}
        }
    }
    tokens.len()
}

fn attribute(tokens: &[TokenTree], at: usize) -> Option<(&Group, usize)> {
    if !is_punct(tokens, at, '#') {
        return None;
    }
    let at = if is_punct(tokens, at + 1, '!') { at + 2 } else { at + 1 };
    group(tokens, at, Delimiter::Bracket).map(|group| (group, at + 1))
}

fn is_cfg_test(attribute: &Group) -> bool {
    let mut text = attribute.stream().to_string();
    text.retain(|c| !c.is_whitespace());
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

fn group(tokens: &[TokenTree], at: usize, delimiter: Delimiter) -> Option<&Group> {
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':')
}

fn line(token: &TokenTree) -> usize {
    token.span().start().line
}
