//! The arrows between the layers point down, and the engine's dependency tree holds no other engine.
//!
//! The members of the root `Cargo.toml` are the map: bottom layer first, each engine crate with its layer in a comment.
//! A crate may depend on what stands above its line and in a lower layer. Cargo refuses cycles only; this refuses the
//! import of a neighbour and of anything above.
//!
//! Does not: look at dev-dependencies (a test may use what it likes), or at imports inside a crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What must not be below a user of the façade: other stacks for the same job, and the runtime that they bring.
const FORBIDDEN: [&str; 8] = ["tokio", "tonic", "hyper", "h2", "tower", "axum", "async-std", "smol"];

/// What `wire` may stand on. It is `no_std`, and every dependency would be one more thing to believe.
const WIRE_ALLOWED: [&str; 1] = ["corelane-memory"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A member of the workspace: its folder, and its layer if its comment names one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    folder: String,
    layer: Option<u32>,
}

/// A manifest reduced to what the arrows are about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Manifest {
    package: String,
    /// Packages it depends on, outside dev-dependencies.
    dependencies: Vec<String>,
}

/// The members of a root manifest in their order.
fn members(root_manifest: &str) -> Vec<Member> {
    let list = root_manifest.split_once("members = [").expect("a list of members").1;
    let list = list.split_once(']').expect("the list ends").0;
    let mut members = Vec::new();
    for line in list.lines() {
        let Some(folder) = line.split('"').nth(1) else { continue };
        let comment = line.split_once('#').map_or("", |(_, comment)| comment.trim());
        let layer = comment.strip_prefix('L').and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        members.push(Member { folder: folder.to_owned(), layer });
    }
    members
}

/// Reads as much TOML as our manifests use: one dependency to a line, or to a table of its own.
fn manifest(text: &str) -> Manifest {
    let mut manifest = Manifest { package: String::new(), dependencies: Vec::new() };
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            section = header.trim_matches('[').to_owned();
            if let Some((_, name)) = section.split_once("dependencies.").filter(|_| is_counted(&section)) {
                manifest.dependencies.push(unquoted(name));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (key, value) = (key.trim(), value.trim());
        if section == "package" && key == "name" {
            manifest.package = unquoted(value);
        } else if section.contains("dependencies.") && is_counted(&section) && key == "package" {
            *manifest.dependencies.last_mut().expect("the table's header came before") = unquoted(value);
        } else if section.ends_with("dependencies") && is_counted(&section) {
            let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
            let name = key.split('.').next().expect("split gives at least one");
            manifest.dependencies.push(renamed.map_or_else(|| unquoted(name), str::to_owned));
        }
    }
    manifest
}

/// Whether what stands in this section is compiled into the crate or its build.
fn is_counted(section: &str) -> bool {
    section.contains("dependencies")
        && !section.contains("dev-dependencies")
        && !section.starts_with("workspace")
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

/// Every arrow that points up or sideways, in words.
fn wrong_arrows(members: &[(Member, Manifest)]) -> Vec<String> {
    let place: BTreeMap<&str, (usize, Option<u32>)> = members
        .iter()
        .enumerate()
        .map(|(at, (m, manifest))| (manifest.package.as_str(), (at, m.layer)))
        .collect();
    let mut wrong = Vec::new();
    for (at, (member, manifest)) in members.iter().enumerate() {
        for to in &manifest.dependencies {
            let Some((to_at, to_layer)) = place.get(to.as_str()) else { continue };
            let is_above = *to_at >= at;
            let is_neighbour = member.layer.is_some_and(|layer| to_layer.is_none_or(|to| to >= layer));
            if is_above || is_neighbour {
                wrong.push(format!("{} must not depend on {to}", manifest.package));
            }
        }
    }
    wrong
}

/// The packages of a `cargo tree` that must not be there.
fn forbidden(tree: &str) -> Vec<&str> {
    let is_forbidden = |package: &&str| {
        FORBIDDEN.iter().any(|name| {
            package == name || package.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
        })
    };
    tree.lines().filter_map(|line| line.split_whitespace().next()).filter(is_forbidden).collect()
}

fn real_members() -> Vec<(Member, Manifest)> {
    let with_manifest = |member: Member| {
        let manifest = manifest(&read(&root().join(&member.folder).join("Cargo.toml")));
        (member, manifest)
    };
    members(&read(&root().join("Cargo.toml"))).into_iter().map(with_manifest).collect()
}

#[test]
fn arrows_point_down() {
    let wrong = wrong_arrows(&real_members());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_engine_crate_is_on_the_map_and_has_a_layer() {
    let members = real_members();
    for folder in fs::read_dir(root().join("engine")).expect("the engine is there").flatten() {
        if !folder.path().join("Cargo.toml").exists() {
            continue;
        }
        let folder = format!("engine/{}", folder.file_name().display());
        let layer =
            members.iter().find(|(member, _)| member.folder == folder).map(|(member, _)| member.layer);
        assert!(layer.flatten().is_some(), "{folder} has no line with a layer in the root's members");
    }
    let layers: Vec<u32> = members.iter().filter_map(|(member, _)| member.layer).collect();
    assert!(layers.is_sorted(), "bottom layer first: {layers:?}");
    assert!(layers.len() >= 6, "the map lost layers: {layers:?}");
    // The arrows are read from the real manifests and not from nothing.
    let arrows: usize = members.iter().map(|(_, manifest)| manifest.dependencies.len()).sum();
    assert!(arrows > members.len(), "{arrows} dependencies in all");
}

#[test]
fn wire_stands_on_memory_alone() {
    let members = real_members();
    let wire =
        members.iter().find(|(_, manifest)| manifest.package == "corelane-wire").expect("wire is a member");
    assert_eq!(wire.1.dependencies, WIRE_ALLOWED);
}

#[test]
fn no_other_engine_is_below_the_facade() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", "corelane", "-e", "normal", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("cargo prints UTF-8");
    assert!(tree.lines().any(|line| line.starts_with("corelane-wire ")), "that is not the tree:\n{tree}");
    assert_eq!(forbidden(&tree), [""; 0], "\n{tree}");
}

mod the_checker {
    use super::*;

    const MAP: &str = r#"
[workspace]
members = [
    "engine/low",   # L0  the bottom
    "engine/left",  # L1  a layer of two
    "engine/right", # L1  the other
    "engine",       #     the façade
    "tools",
]
"#;

    fn workspace(manifests: [(&str, &str); 5]) -> Vec<(Member, Manifest)> {
        let manifests =
            manifests.map(|(name, rest)| manifest(&format!("[package]\nname = \"{name}\"\n{rest}")));
        members(MAP).into_iter().zip(manifests).collect()
    }

    #[test]
    fn reads_the_map() {
        let layers: Vec<_> = members(MAP).into_iter().map(|member| (member.folder, member.layer)).collect();
        let expected = [
            ("engine/low", Some(0)),
            ("engine/left", Some(1)),
            ("engine/right", Some(1)),
            ("engine", None),
            ("tools", None),
        ];
        assert_eq!(layers, expected.map(|(folder, layer)| (folder.to_owned(), layer)));
    }

    #[test]
    fn reads_every_way_to_write_a_dependency() {
        let text = r#"
[package]
name = "it"
[dependencies]
a.workspace = true
"b" = "1"
c = { workspace = true, features = ["std"] }
d = { package = "real-d", version = "1" }
# commented = "1"
[target.'cfg(unix)'.dependencies]
e = "1"
[build-dependencies]
f = "1"
[dependencies.g]
version = "1"
[dependencies.h]
package = "real-h"
[dev-dependencies]
never = "1"
[target.'cfg(loom)'.dev-dependencies]
never = "1"
[dev-dependencies.never]
version = "1"
[features]
i = ["dep:never"]
"#;
        let manifest = manifest(text);
        assert_eq!(manifest.package, "it");
        assert_eq!(manifest.dependencies, ["a", "b", "c", "real-d", "e", "f", "g", "real-h"]);
    }

    #[test]
    fn lets_arrows_down_pass() {
        let good = workspace([
            ("low", "[dev-dependencies]\nleft.workspace = true"),
            ("left", "[dependencies]\nlow.workspace = true\nserde = \"1\""),
            ("right", "[dependencies]\nlow.workspace = true"),
            ("facade", "[dependencies]\nleft.workspace = true\nright.workspace = true"),
            ("tools", "[dependencies]\nfacade.workspace = true"),
        ]);
        assert_eq!(wrong_arrows(&good), [""; 0]);
    }

    #[test]
    fn finds_arrows_up_and_to_the_side() {
        let bad = workspace([
            ("low", "[dependencies]\nleft = { path = \"../left\" }"),
            ("left", "[dependencies]\nrenamed = { package = \"tools\", path = \"../../tools\" }"),
            ("right", "[dependencies.left]\nworkspace = true"),
            ("facade", "[build-dependencies]\ntools.workspace = true"),
            ("tools", ""),
        ]);
        let expected = [
            "low must not depend on left",
            "left must not depend on tools",
            "right must not depend on left",
            "facade must not depend on tools",
        ];
        assert_eq!(wrong_arrows(&bad), expected);
    }

    #[test]
    fn finds_other_engines_by_name_and_family() {
        let tree = "corelane v0.1.0 (/x)\nh2 v0.4.20\nh2x v1.0.0\ntokio-util v0.7.1\ntowering v1.0.0\nmonoio v0.2.4\ntonic v0.14.0 (*)";
        assert_eq!(forbidden(tree), ["h2", "tokio-util", "tonic"]);
    }
}
