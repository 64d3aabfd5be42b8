"""Write a trained network for other programs: ``python -m xlenet.export --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .backend import use_backend
from .checkpoint import save_model
from .commands import check_extras, chosen_backend, run_command, say
from .errors import printable
from .experiment import UsageError
from .options import add_model, path
from .trained import load_trained, trained_file


def export_options() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m xlenet.export",
        description="Write a trained network as ONNX, for the programs that run such files, or as safetensors, with "
        "PyTorch's names and layouts. What is known besides (names of the classes, normalisation) goes along.",
        epilog="exit codes: 0 done, 2 usage, 4 the model is missing or corrupt, 5 cannot write",
    )
    add = parser.add_argument
    add_model(parser)
    add("out", type=_out, metavar="OUT", help="the file to write, .onnx or .safetensors")
    return parser


def _out(text: str) -> Path:
    out = Path(path(text))
    if out.suffix.lower() not in (".onnx", ".safetensors"):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a name that ends in .onnx or .safetensors")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: see ``--help``."""
    return run_command(export_options(), arguments, _export)


def _export(options: argparse.Namespace) -> int:
    out: Path = options.out
    file = trained_file(options.model)
    if file.resolve() == out.resolve():
        raise UsageError(f"export: got {printable(str(out))!r} twice; expected another file to write to; choose one")
    with use_backend(chosen_backend("numpy")):  # nothing to compute
        trained = load_trained(file)
        if out.suffix.lower() == ".onnx":
            from .interop import export_onnx

            export_onnx(trained.model, out, trained.image_shape, about=trained.about())
        else:
            check_extras("a safetensors file", "safetensors.numpy")
            save_model(out, trained.model, trained.about())
    size = out.stat().st_size
    say(f"{trained.title}, {printable(str(file))}, written to {printable(str(out))} ({size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
