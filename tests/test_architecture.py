"""The house stands as DESIGN says: imports point down, and heavy ones wait for the command that needs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: What a serving install does not carry, or what takes seconds to import.
HEAVY = ("torch", "transformers", "mlflow", "datasets", "gensim", "matplotlib", "ray", "trafilatura", "pyarrow")


def modules_after(imports: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after ``imports``."""
    program = f"import sys; {imports}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 3 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(
    "module",
    [
        "labeller",
        "labelling.command",
        "labelling.ray_engine",
        "classifiers.camembert",
        "corpus",
        "press",
        "bundle",
        "config",
        "cli",
        "scoring",
        "service.server",
    ],
)
def test_labelling_imports_nothing_heavy(module: str) -> None:
    loaded = modules_after(f"import train.{module}")
    assert "train" in loaded
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_the_command_line_starts_without_numbers() -> None:
    """`selon --help` answers at once: neither scikit-learn nor SciPy nor ONNX Runtime is loaded for it."""
    assert modules_after("import train.cli").isdisjoint({"sklearn", "scipy", "onnxruntime", *HEAVY})


def test_labelling_with_an_encoder_waits_for_nothing_it_can_do_without() -> None:
    """SciPy and scikit-learn take longer to import than an article takes to be labelled; the others add up."""
    loaded = modules_after("import train.labelling.command, train.classifiers.camembert")
    assert loaded.isdisjoint({"sklearn", "scipy", "yaml", "filelock", *HEAVY})


def test_each_module_opens_with_what_it_is_for() -> None:
    undocumented = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "train").rglob("*.py"))
        if not path.read_text(encoding="utf-8").startswith('"""')
    ]
    assert undocumented == []
