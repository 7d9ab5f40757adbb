//! The files of one crate and the imports between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::scan::{Import, Scan, scan};

/// How many re-exports an import is followed through.
const MAX_REEXPORTS: usize = 8;

/// The sources of one crate; its test modules apart.
pub struct Crate {
    files: BTreeMap<Module, File>,
    tests: Vec<File>,
}

/// A module's path from the crate's root, which is the empty path.
pub type Module = Vec<String>;

/// One source file.
pub struct File {
    /// Its path from the repository's root.
    pub name: String,
    /// How many lines it has.
    pub lines: usize,
    /// What it contains.
    pub scan: Scan,
}

/// An import of one file by another.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The importing module.
    pub from: Module,
    /// The module that defines what is imported.
    pub to: Module,
    /// The importing file and line, `file:line`.
    pub place: String,
    /// The import as it is written.
    pub import: String,
}

impl Crate {
    /// A crate of these files, named by their paths below `source`, such as `crates/server/src`.
    pub fn new(source: &str, texts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut files = BTreeMap::new();
        for (path, text) in texts {
            let module = module(&path);
            let file = File {
                name: format!("{source}/{path}"),
                lines: text.lines().count(),
                scan: scan(&text),
            };
            files.insert(module, file);
        }
        let mut crate_ = Crate { files, tests: Vec::new() };
        crate_.remove_tests();
        crate_
    }

    /// Reads the crate in a folder below `root`.
    pub fn read(root: &Path, source: &str) -> Self {
        let mut texts = Vec::new();
        collect(&root.join(source), "", &mut texts);
        Crate::new(source, texts)
    }

    fn remove_tests(&mut self) {
        let declared = self.files.iter().flat_map(|(module, file)| {
            let child = |name: &String| [&module[..], std::slice::from_ref(name)].concat();
            file.scan.test_modules.iter().map(child).collect::<Vec<_>>()
        });
        let declared: Vec<Module> = declared.collect();
        let named =
            |module: &Module| module.iter().any(|name| name == "tests" || name == "testing");
        let is_test =
            |module: &Module| named(module) || declared.iter().any(|test| module.starts_with(test));
        let tests: Vec<Module> = self.files.keys().filter(|m| is_test(m)).cloned().collect();
        self.tests = tests.iter().filter_map(|module| self.files.remove(module)).collect();
    }

    /// Its files without test modules, by module.
    pub fn files(&self) -> &BTreeMap<Module, File> {
        &self.files
    }

    /// The files of its test modules.
    pub fn tests(&self) -> &[File] {
        &self.tests
    }

    /// The imports between different files, in the order of the files and lines.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (from, file) in &self.files {
            for import in &file.scan.imports {
                let Some(to) = self.resolve(from, import, MAX_REEXPORTS) else { continue };
                if to == *from {
                    continue;
                }
                edges.push(Edge {
                    from: from.clone(),
                    to,
                    place: format!("{}:{}", file.name, import.line),
                    import: match import.name {
                        Some(_) => format!("use {}", import.path.join("::")),
                        None => import.path.join("::"),
                    },
                });
            }
        }
        edges
    }

    /// The module that defines what an import of `from` names; `None` outside the crate.
    fn resolve(&self, from: &Module, import: &Import, reexports: usize) -> Option<Module> {
        let mut base = [&from[..], &import.inline].concat();
        let mut path = &import.path[..];
        match path.first().map(String::as_str) {
            Some("crate") => {
                base.clear();
                path = &path[1..];
            }
            Some("self" | "super") => {
                while let Some(first @ ("self" | "super")) = path.first().map(String::as_str) {
                    if first == "super" {
                        base.pop();
                    }
                    path = &path[1..];
                }
            }
            Some(first) => {
                let child = [&base[..], &[first.to_owned()]].concat();
                if !self.files.contains_key(&child) {
                    return None;
                }
            }
            None => return None,
        }
        while let Some(child) =
            path.first().map(|name| [&base[..], std::slice::from_ref(name)].concat())
            && self.files.contains_key(&child)
        {
            base = child;
            path = &path[1..];
        }
        while !self.files.contains_key(&base) {
            base.pop()?;
        }
        self.follow(&base, path, reexports).or(Some(base))
    }

    /// Where a name that a module imports itself is defined.
    fn follow(&self, module: &Module, path: &[String], reexports: usize) -> Option<Module> {
        let (name, rest) = path.split_first()?;
        let reexports = reexports.checked_sub(1)?;
        let uses = self.files[module].scan.imports.iter().filter(|i| i.inline.is_empty());
        let mut named = uses.filter(|import| import.name.as_ref() == Some(name) && name != "*");
        named.find_map(|import| {
            let mut import = import.clone();
            import.path.extend(rest.iter().cloned());
            self.resolve(module, &import, reexports)
        })
    }

    /// One circle for each group of files that import each other, as the edges along it. Edges
    /// between a module and its direct parent are left out.
    pub fn circles(&self) -> Vec<Vec<Edge>> {
        let mut next: BTreeMap<Module, Vec<Edge>> = BTreeMap::new();
        for edge in self.edges() {
            if !is_child(&edge.from, &edge.to) && !is_child(&edge.to, &edge.from) {
                next.entry(edge.from.clone()).or_default().push(edge);
            }
        }
        let mut circles = Vec::new();
        let mut seen = BTreeSet::new();
        for start in next.keys() {
            if seen.contains(start) {
                continue;
            }
            if let Some(circle) = shortest_circle(&next, start) {
                seen.extend(circle.iter().map(|edge| edge.from.clone()));
                circles.push(circle);
            }
        }
        circles
    }
}

/// The shortest way from a module back to itself.
fn shortest_circle(next: &BTreeMap<Module, Vec<Edge>>, start: &Module) -> Option<Vec<Edge>> {
    let mut seen = BTreeSet::new();
    let mut ways: Vec<Vec<Edge>> = vec![Vec::new()];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let at = way.last().map_or(start, |edge| &edge.to);
            for edge in next.get(at).into_iter().flatten() {
                let way = [&way[..], std::slice::from_ref(edge)].concat();
                if edge.to == *start {
                    return Some(way);
                }
                if seen.insert(edge.to.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

fn is_child(child: &Module, parent: &Module) -> bool {
    child.split_last().is_some_and(|(_, above)| above == &parent[..])
}

/// `rooms/shard.rs` is the module `rooms::shard`.
fn module(path: &str) -> Module {
    let path = path.strip_suffix(".rs").expect("a Rust file");
    if matches!(path, "lib" | "main") {
        return Module::new();
    }
    path.split('/').map(str::to_owned).collect()
}

fn collect(folder: &Path, below: &str, texts: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("the name is UTF-8");
        let name = format!("{below}{name}");
        if path.is_dir() {
            collect(&path, &format!("{name}/"), texts);
        } else if name.ends_with(".rs") {
            texts.push((name, std::fs::read_to_string(&path).expect("the file can be read")));
        }
    }
}
