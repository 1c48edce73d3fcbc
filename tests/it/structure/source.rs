//! What a source file defines, imports and names. Tests (`#[cfg(test)]`) are left out.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A module: a file, or an inline `mod` in one.
#[derive(Debug, Default)]
pub struct Module {
    /// Its names from the crate root, such as `["run", "queue"]`.
    pub path: Vec<String>,
    /// The file that it is in, from the package's root.
    pub file: String,
    /// The functions, types, constants and macros that it defines.
    pub items: Vec<String>,
    pub children: Vec<String>,
    pub uses: Vec<Use>,
    /// The paths of two or more segments in its code, as written.
    pub paths: Vec<Vec<String>>,
    /// The methods that it calls.
    pub methods: Vec<String>,
}

/// One name of a `use` item.
#[derive(Debug)]
pub struct Use {
    pub path: Vec<String>,
    /// The name in this module; `*` for a glob.
    pub name: String,
}

/// Parses a file into its modules, the outermost first.
pub fn parse(file: &str, code: &str) -> Vec<Module> {
    let syntax = syn::parse_file(code).unwrap_or_else(|error| panic!("{file}: {error}"));
    let path = module_path(file);
    let mut root = Module { path, file: file.to_owned(), ..Module::default() };
    if file == "src/main.rs" {
        // The binary is a crate of its own, which names the library.
        root.uses.push(Use { path: vec!["crate".to_owned()], name: "tdl".to_owned() });
    }
    let mut collector = Collector { done: Vec::new(), open: vec![root] };
    collector.visit_file(&syntax);
    let Collector { mut done, open } = collector;
    done.extend(open);
    done.reverse();
    done
}

/// `src/run/queue.rs` is `run::queue`, `src/run/mod.rs` is `run`, `src/lib.rs` is the root.
fn module_path(file: &str) -> Vec<String> {
    let name = file.strip_prefix("src/").and_then(|file| file.strip_suffix(".rs")).expect("a source file");
    let names = name.split('/').filter(|name| !["mod", "lib"].contains(name));
    names.map(ToOwned::to_owned).collect()
}

struct Collector {
    done: Vec<Module>,
    /// The module being read and those around it.
    open: Vec<Module>,
}

impl Collector {
    fn module(&mut self) -> &mut Module {
        self.open.last_mut().expect("a file is open")
    }

    /// Collects the paths in a macro's arguments, which syn leaves unparsed.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.add_path(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                }
                TokenTree::Group(group) => {
                    self.add_path(std::mem::take(&mut path));
                    self.scan(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.add_path(std::mem::take(&mut path)),
            }
            colons = 0;
        }
        self.add_path(path);
    }

    fn add_path(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            self.module().paths.push(path);
        }
    }

    fn add_uses(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        let (path, name) = match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                return self.add_uses(&path.tree, prefix);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.add_uses(tree, prefix.clone()));
            }
            syn::UseTree::Glob(_) => (prefix, "*".to_owned()),
            syn::UseTree::Name(name) if name.ident == "self" => {
                let name = prefix.last().cloned().unwrap_or_default();
                (prefix, name)
            }
            syn::UseTree::Name(name) => {
                prefix.push(name.ident.to_string());
                (prefix, name.ident.to_string())
            }
            syn::UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    prefix.push(rename.ident.to_string());
                }
                (prefix, rename.rename.to_string())
            }
        };
        self.module().uses.push(Use { path, name });
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (name, attributes) = match item {
            syn::Item::Const(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Enum(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Fn(item) => (Some(&item.sig.ident), &item.attrs),
            syn::Item::Macro(item) => (item.ident.as_ref(), &item.attrs),
            syn::Item::Static(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Struct(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Trait(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Type(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Union(item) => (Some(&item.ident), &item.attrs),
            syn::Item::Impl(item) => (None, &item.attrs),
            syn::Item::Mod(item) => (None, &item.attrs),
            syn::Item::Use(item) => (None, &item.attrs),
            _ => return visit::visit_item(self, item),
        };
        if is_test(attributes) {
            return;
        }
        if let Some(name) = name {
            self.module().items.push(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let parent = self.module();
        parent.children.push(item.ident.to_string());
        if item.content.is_some() {
            let path = parent.path.iter().cloned().chain([item.ident.to_string()]).collect();
            let inner = Module { path, file: parent.file.clone(), ..Module::default() };
            self.open.push(inner);
            visit::visit_item_mod(self, item);
            let inner = self.open.pop().expect("it was just opened");
            self.done.push(inner);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_uses(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, makro: &'ast syn::Macro) {
        self.scan(makro.tokens.clone());
        visit::visit_macro(self, makro);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.scan(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.module().methods.push(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }
}

/// Whether `#[cfg(test)]` or `#[cfg(all(test, …))]` is among these attributes.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    let names_test = |tokens: TokenStream| {
        let tokens = tokens.to_string().replace(' ', "");
        tokens == "test" || tokens.starts_with("all(test,")
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| names_test(list.tokens.clone()))
    })
}
