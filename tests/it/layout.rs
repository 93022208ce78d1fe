//! The layout of `src/`: no two files import each other, directly or in a circle,
//! and no file imports from a higher floor. `ARCHITECTURE.md` describes the floors.
//!
//! The imports are read with `syn`: `use` items, and paths in code that begin with
//! `crate`, `self`, `super` or the name of a child module. An import leads to the file
//! that defines the item, through any re-export. A module that declares its children
//! and re-exports their items does not import them. Unit tests and the arguments of
//! macros are not read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use syn::{
    ItemMod, ItemUse, Meta, UseTree,
    visit::{self, Visit},
};

/// The top-level modules, from the top floor down. A file imports from its
/// own module and from modules on lower floors.
const FLOORS: [&str; 24] = [
    "main",
    "commands",
    "doctor",
    "app",
    "tasks",
    "worker",
    "cleanup",
    "deliver",
    "sampler",
    "admin",
    "health",
    "graph",
    "grpc",
    "auth",
    "service",
    "notify",
    "watch",
    "batch",
    "store",
    "server",
    "settings",
    "telemetry",
    "clock",
    "presence",
];

/// A module below the crate's root, or an item in one: `["store", "postgres"]`.
type ItemPath = Vec<String>;

/// The imports of one file.
#[derive(Default)]
struct Imports {
    /// The names that `use` items bring into the file, with the paths behind them.
    names: BTreeMap<String, ItemPath>,
    /// The modules whose items `use` brings in with a `*`.
    globs: Vec<ItemPath>,
    /// Every path to an item of the crate, and whether the file only re-exports it.
    paths: BTreeSet<(ItemPath, bool)>,
}

/// Reads the imports of one file.
struct Reader<'a> {
    modules: &'a BTreeSet<ItemPath>,
    /// The module at hand; an inline module is not a file.
    module: ItemPath,
    imports: Imports,
}

impl Reader<'_> {
    /// The path below the crate's root; `None` if it leads to another crate.
    fn absolute(&self, path: &[String]) -> Option<ItemPath> {
        let (first, rest) = path.split_first()?;
        let mut start = match first.as_str() {
            "crate" | "presenced" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module.split_last().map(|(_, parent)| parent.to_vec())?,
            child => {
                let child = [self.module.as_slice(), &[child.to_owned()]].concat();
                self.modules.contains(&child).then_some(child)?
            }
        };
        for name in rest {
            if name == "super" {
                start.pop();
            } else {
                start.push(name.clone());
            }
        }
        Some(start)
    }

    fn read_use(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let longer = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.read_use(&path.tree, &longer(&path.ident), public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.read_use(tree, before, public)),
            UseTree::Name(name) if name.ident == "self" => {
                let name = before.last().cloned().unwrap_or_default();
                self.import(before, &name, public);
            }
            UseTree::Name(name) => self.import(&longer(&name.ident), &name.ident.to_string(), public),
            UseTree::Rename(name) => self.import(&longer(&name.ident), &name.rename.to_string(), public),
            UseTree::Glob(_) => {
                if let Some(path) = self.absolute(before) {
                    self.imports.globs.push(path.clone());
                    self.imports.paths.insert((path, public));
                }
            }
        }
    }

    fn import(&mut self, path: &[String], name: &str, public: bool) {
        if let Some(path) = self.absolute(path) {
            self.imports.names.insert(name.to_owned(), path.clone());
            self.imports.paths.insert((path, public));
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let is_test = |attribute: &syn::Attribute| match &attribute.meta {
            Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
            _ => false,
        };
        if item.content.is_some() && !item.attrs.iter().any(is_test) {
            self.module.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, syn::Visibility::Inherited);
        self.read_use(&item.tree, &[], public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1
            && let Some(path) = self.absolute(&names)
        {
            self.imports.paths.insert((path, false));
        }
        visit::visit_path(self, path);
    }
}

/// Every file of `src/`, by its module, with its imports.
struct House(BTreeMap<ItemPath, Imports>);

impl House {
    fn read(src: &Path) -> Self {
        let mut files = Vec::new();
        find(src, &[], &mut files);
        let modules: BTreeSet<ItemPath> = files.iter().map(|(module, _)| module.clone()).collect();
        let read = |(module, text): (ItemPath, String)| {
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
            let mut reader =
                Reader { modules: &modules, module: module.clone(), imports: Imports::default() };
            reader.visit_file(&file);
            (module, reader.imports)
        };
        Self(files.into_iter().map(read).collect())
    }

    /// The module whose file defines the item at `path`.
    fn defines(&self, path: &[String]) -> ItemPath {
        let module = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length])).unwrap_or(0);
        let (module, item) = path.split_at(module);
        let Some((name, rest)) = item.split_first() else { return module.to_vec() };
        let imports = &self.0[module];
        if let Some(behind) = imports.names.get(name).filter(|behind| behind.as_slice() != path) {
            return self.defines(&[behind.as_slice(), rest].concat());
        }
        let glob = imports.globs.iter().find(|glob| glob.as_slice() != module && self.0.contains_key(*glob));
        glob.map_or_else(|| module.to_vec(), |glob| self.defines(&[glob.as_slice(), item].concat()))
    }

    /// The files that the file of each module imports.
    fn arrows(&self) -> BTreeMap<&ItemPath, BTreeSet<ItemPath>> {
        let arrows = self.0.iter().map(|(module, imports)| {
            let is_child = |path: &ItemPath| path.len() > module.len() && path.starts_with(module);
            let paths = imports.paths.iter().filter(|(path, public)| !(*public && is_child(path)));
            let to = paths.map(|(path, _)| self.defines(path)).filter(|to| to != module);
            (module, to.collect())
        });
        arrows.collect()
    }
}

/// Finds the files below a folder, each with its module.
fn find(folder: &Path, module: &[String], files: &mut Vec<(ItemPath, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            find(&path, &[module, &[name]].concat(), files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            let module =
                if name == "mod" || name == "lib" { module.to_vec() } else { [module, &[name]].concat() };
            files.push((module, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The circles among the arrows: each a set of files that reach each other.
fn circles(arrows: &BTreeMap<&ItemPath, BTreeSet<ItemPath>>) -> BTreeSet<BTreeSet<ItemPath>> {
    let reach = |from: &ItemPath| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(arrows[file].iter().filter(|to| reached.insert((*to).clone())));
        }
        reached
    };
    let reached: BTreeMap<_, _> = arrows.keys().map(|file| (*file, reach(file))).collect();
    let circle = |file: &ItemPath| -> BTreeSet<ItemPath> {
        reached[file].iter().filter(|other| reached[*other].contains(file)).cloned().collect()
    };
    arrows.keys().map(|file| circle(file)).filter(|circle| !circle.is_empty()).collect()
}

/// The floor of a file's top-level module, counted from the top.
fn floor(file: &ItemPath) -> usize {
    let module = file.first().map_or("lib", String::as_str);
    FLOORS
        .iter()
        .position(|floor| *floor == module)
        .unwrap_or_else(|| panic!("{module} has no floor: add it to FLOORS in tests/it/layout.rs"))
}

/// The circles, and the arrows that lead upwards, as text.
fn faults(src: &Path) -> String {
    let house = House::read(src);
    let arrows = house.arrows();
    let mut text = String::new();
    for circle in circles(&arrows) {
        let files: Vec<String> = circle.iter().map(|file| file.join("/")).collect();
        let _ = writeln!(text, "these files import each other in a circle: {}", files.join(", "));
        for (from, to) in arrows.iter().filter(|(from, _)| circle.contains(**from)) {
            for to in to.intersection(&circle) {
                let _ = writeln!(text, "  {} imports {}", from.join("/"), to.join("/"));
            }
        }
    }
    for (from, to) in arrows.iter().filter(|(from, _)| !from.is_empty()) {
        for to in to.iter().filter(|to| !to.is_empty() && to[0] != from[0] && floor(to) <= floor(from)) {
            let _ = writeln!(text, "{} imports {}, which is on a higher floor", from.join("/"), to.join("/"));
        }
    }
    text
}

#[test]
fn no_file_imports_in_a_circle_or_from_a_higher_floor() {
    let faults = faults(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn a_circle_and_an_import_from_a_higher_floor_are_found() {
    let src = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = src.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod presence;\npub mod store;\n");
    write("presence/mod.rs", "mod pair;\nmod user;\npub use pair::Pair;\npub use user::User;\n");
    write("presence/pair.rs", "pub struct Pair;\n");
    write("presence/user.rs", "use super::Pair;\npub struct User(Pair);\n");
    write("store/mod.rs", "use crate::presence::User;\npub struct Store(User);\n");
    assert_eq!(faults(src.path()), "");

    write("presence/pair.rs", "pub struct Pair(Option<Box<super::User>>);\n");
    assert_eq!(
        faults(src.path()),
        "these files import each other in a circle: presence/pair, presence/user\n  \
         presence/pair imports presence/user\n  presence/user imports presence/pair\n"
    );

    write("presence/pair.rs", "pub struct Pair;\npub fn store(_: crate::store::Store) {}\n");
    let faults = faults(src.path());
    assert!(faults.contains("presence/pair imports store, which is on a higher floor"), "{faults}");
}
