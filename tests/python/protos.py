"""Compiles .proto files of this repository and imports what comes out."""

import importlib
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

_SCRATCH = tempfile.TemporaryDirectory(prefix="corelane-protos-")


def load(root, *names):
    """The message and stub modules of each file, in order: load(root, "a/b.proto") -> [(b_pb2, b_pb2_grpc)]."""
    root = Path(root)
    # Everything is compiled at once, since the generated modules import one another by path.
    words = ["protoc", f"-I{root}", f"-I{Path(protoc.__file__).parent / '_proto'}", f"--python_out={_SCRATCH.name}", f"--grpc_python_out={_SCRATCH.name}"]
    code = protoc.main([*words, *map(str, sorted(root.rglob("*.proto")))])
    if code != 0:
        raise SystemExit(f"FAILED protoc: exit code {code}")
    if _SCRATCH.name not in sys.path:
        sys.path.insert(0, _SCRATCH.name)
    modules = []
    for name in names:
        path = name.removesuffix(".proto").replace("/", ".")
        modules.append((_import(f"{path}_pb2"), _import(f"{path}_pb2_grpc")))
    return modules


def _import(path):
    """Like importlib's, but for a package whose first folder is also that of an installed package, as `grpc/testing` is."""
    first, _, _ = path.partition(".")
    folder = str(Path(_SCRATCH.name) / first)
    search = importlib.import_module(first).__path__
    if folder not in search:
        search.append(folder)
    return importlib.import_module(path)
