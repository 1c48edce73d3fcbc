//! Which file imports what of which other: names are followed through re-exports to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use super::source::{Module, parse};

/// The modules of the crate, by their path from its root.
pub struct Sources {
    modules: BTreeMap<Vec<String>, Module>,
}

/// A path in a file that leads to items of the crate.
#[derive(Debug)]
pub struct Import {
    pub from: String,
    /// As written.
    pub path: String,
    /// The files that define what it leads to: several where `#[cfg]` chooses one.
    pub files: BTreeSet<String>,
    /// The folders that it names on the way, by a re-export for example.
    pub folders: BTreeSet<String>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// An item that this file defines.
    Item(String),
    Module(Vec<String>),
}

impl Sources {
    /// Parses files, given as their path from the package's root and their text.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let modules = files.into_iter().flat_map(|(file, code)| parse(file, code));
        Self { modules: modules.map(|module| (module.path.clone(), module)).collect() }
    }

    /// Returns every import of an item of another file.
    pub fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for module in self.modules.values() {
            let uses = module.uses.iter().map(|used| (&used.path, used.name == "*"));
            for (path, is_glob) in uses.chain(module.paths.iter().map(|path| (path, false))) {
                let targets = self.resolve(module, path, &mut HashSet::new());
                let defining = targets.iter().filter_map(|target| match target {
                    Target::Item(file) => Some(file),
                    // Naming a module is no import yet: what is named in it is one, where it is named.
                    Target::Module(path) => is_glob.then(|| &self.modules[path].file),
                });
                let files: BTreeSet<_> = defining.filter(|file| **file != module.file).cloned().collect();
                let mut folders: BTreeSet<_> = files.iter().map(|file| folder(file).to_owned()).collect();
                for end in 1..=path.len() {
                    for target in self.resolve(module, &path[..end], &mut HashSet::new()) {
                        if let Target::Module(path) = target {
                            folders.extend(path.first().cloned());
                        }
                    }
                }
                imports.push(Import { from: module.file.clone(), path: path.join("::"), files, folders });
            }
        }
        imports
    }

    /// Returns the names of other crates in each file, with the start of each path spelled out: `Instant::now` is
    /// `std::time::Instant::now`.
    pub fn foreign_names(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for module in self.modules.values() {
            let of_file = names.entry(module.file.as_str()).or_default();
            for path in module.uses.iter().map(|used| &used.path).chain(&module.paths) {
                if !self.resolve(module, path, &mut HashSet::new()).is_empty() {
                    continue;
                }
                let renamed = module.uses.iter().find(|used| used.name == path[0] && used.path[0] != path[0]);
                let start = renamed.map_or(&path[..1], |used| &used.path);
                of_file.insert([start, &path[1..]].concat().join("::"));
            }
        }
        names
    }

    /// Returns the methods that each file calls.
    pub fn methods(&self) -> impl Iterator<Item = (&str, &str)> {
        self.modules.values().flat_map(|module| module.methods.iter().map(|name| (module.file.as_str(), name.as_str())))
    }

    /// Returns what a path in a module leads to; nothing where it leads out of the crate.
    fn resolve(&self, module: &Module, path: &[String], seen: &mut Seen) -> Vec<Target> {
        let mut targets = match path[0].as_str() {
            "crate" => vec![Target::Module(Vec::new())],
            "self" => vec![Target::Module(module.path.clone())],
            "super" => self.parent(&module.path),
            name => self.look_up(module, name, seen),
        };
        for name in &path[1..] {
            // A function beside a module of its name is no way to what the module has.
            if targets.iter().any(|target| matches!(target, Target::Module(_))) {
                targets.retain(|target| matches!(target, Target::Module(_)));
            }
            let step = |target: Target| match target {
                // A variant, an associated function: of the same file as the type.
                Target::Item(_) => vec![target],
                Target::Module(path) if name == "super" => self.parent(&path),
                Target::Module(path) => self.look_up(&self.modules[&path], name, seen),
            };
            targets = targets.into_iter().flat_map(step).collect();
        }
        targets
    }

    fn parent(&self, path: &[String]) -> Vec<Target> {
        let parent = path[..path.len().saturating_sub(1)].to_vec();
        vec![Target::Module(parent)]
    }

    /// Returns what a name in a module means: a function and a module may share one.
    fn look_up(&self, module: &Module, name: &str, seen: &mut Seen) -> Vec<Target> {
        let mut targets = Vec::new();
        if module.items.iter().any(|item| item == name) {
            targets.push(Target::Item(module.file.clone()));
        }
        if module.children.iter().any(|child| child == name) {
            targets.push(Target::Module(module.path.iter().cloned().chain([name.to_owned()]).collect()));
        }
        if !seen.insert((module.path.clone(), name.to_owned())) {
            return targets;
        }
        for used in module.uses.iter().filter(|used| used.name == name) {
            targets.extend(self.resolve(module, &used.path, seen));
        }
        if targets.is_empty() {
            for glob in module.uses.iter().filter(|used| used.name == "*") {
                for target in self.resolve(module, &glob.path, seen) {
                    if let Target::Module(path) = target {
                        targets.extend(self.look_up(&self.modules[&path], name, seen));
                    }
                }
            }
        }
        seen.remove(&(module.path.clone(), name.to_owned()));
        targets
    }
}

/// The names that are being looked up, which a circle of re-exports leads to again.
type Seen = HashSet<(Vec<String>, String)>;

/// `src/run/queue.rs` is in `run`, `src/text.rs` in `text`.
pub fn folder(file: &str) -> &str {
    file["src/".len()..].split(['/', '.']).next().expect("split returns at least one part")
}

/// Returns the shortest circle through each file that is in one, every circle once, as lines of `file (import) -> …`.
pub fn circles(imports: &[Import]) -> Vec<String> {
    let mut edges: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for import in imports {
        for file in &import.files {
            edges.entry(&import.from).or_default().entry(file).or_insert(&import.path);
        }
    }
    let mut found = BTreeMap::new();
    for start in edges.keys() {
        if let Some(circle) = shortest_circle(&edges, start) {
            let steps = circle.iter().zip(circle.iter().cycle().skip(1));
            let steps: Vec<_> = steps.map(|(from, to)| format!("{from} ({})", edges[from][to])).collect();
            let members: BTreeSet<_> = circle.into_iter().collect();
            found.entry(members).or_insert(format!("{} -> {start}", steps.join(" -> ")));
        }
    }
    found.into_values().collect()
}

/// Searches breadth first for a way from a file back to itself.
fn shortest_circle<'a>(edges: &BTreeMap<&'a str, BTreeMap<&'a str, &str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                let mut circle = vec![file];
                while let Some(previous) = came_from.get(circle[circle.len() - 1]) {
                    circle.push(previous);
                }
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, file);
                queue.push_back(next);
            }
        }
    }
    None
}
