"""The pages hold: their Python runs, block after block, and their commands exist."""

from __future__ import annotations

import ast
import io
import re
import shlex
import tempfile
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from sktransfer.__main__ import main
from sktransfer.runtime import cache, cache_budget
from tests._encoders import use_as_default

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md")
    for page in ROOT.glob(pattern)
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Pages that start clusters, and what they need.
CLUSTERS = {ROOT / "docs" / "scale_out.md": ("dask.distributed", "ray", "pyspark")}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` is that of its fence."""

    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, language: str | None = None) -> list[Block]:
    found = [
        Block(page, token.map[0] + 1, token.info.strip(), token.content)
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8"))
        if token.type == "fence" and token.map is not None
    ]
    return [block for block in found if language in (None, block.language)]


def shown_outputs(code: str) -> list[str]:
    """Comments behind calls of print, which say what is printed."""
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(code).readline)
        if token.type == tokenize.COMMENT
    }
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    lines = [call.end_lineno for call in calls if ast.unparse(call.func) == "print"]
    return [comments[line] for line in lines if line in comments]


def run(block: Block, namespace: dict[str, Any]) -> None:
    # Its own line numbers, so that a traceback shows the page.
    source = "\n" * block.line + block.code
    try:
        exec(compile(source, str(block.page), "exec", dont_inherit=True), namespace)
    except Exception as error:
        error.add_note(f"This is the block at {block}.")
        raise


def page_case(page: Path) -> Any:
    warned = pytest.mark.filterwarnings("default")  # clusters warn of their own versions
    marks = [pytest.mark.slow, warned] if page in CLUSTERS else []
    return pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=marks)


@pytest.mark.parametrize("page", [page_case(page) for page in PAGES if blocks(page, "python")])
def test_python_blocks_run_in_order(
    page: Path,
    tiny_encoder: str,
    minilm: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record_property: Any,
) -> None:
    if find_spec("wordllama") is None:  # not imported: other tests see to it that nothing is
        pytest.skip('pip install "sktransfer[offline]"')
    pytest.importorskip("sklearn.callback", reason="pages are written for scikit-learn 1.9")
    for module in CLUSTERS.get(page, ()):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    namespace: dict[str, Any] = {"__name__": "page"}
    n_executed = 0
    try:
        with cache_budget(cache.budget):  # a block may change it
            for block in blocks(page, "python"):
                outputs = shown_outputs(block.code)
                with monkeypatch.context() as patch:
                    if not outputs:  # what a page shows is what the real encoder gives
                        use_as_default(tiny_encoder, patch)
                    run(block, namespace)
                n_executed += 1
                printed = capsys.readouterr().out.splitlines()
                for output in outputs:
                    assert output in printed, f"{block} shows another output"
    finally:
        record_property("code blocks", n_executed)  # tests/conftest.py prints the sum


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_is_of_a_language_that_the_tests_read(page: Path) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= {"python", "bash", ""}
    fences = re.findall(r"^[ >]*(?:```|~~~)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(found)


def test_a_failing_block_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("A page.\n\n```python\na = 1\n```\n\n- item\n\n```python\nb = 2\na / 0\n```\n")
    namespace: dict[str, Any] = {}
    first, second = (replace(b, page=ROOT / "page.md") for b in blocks(page, "python"))
    run(first, namespace)
    with pytest.raises(ZeroDivisionError) as caught:
        run(second, namespace)
    assert caught.value.__notes__ == ["This is the block at page.md:9."]
    assert caught.traceback[-1].lineno + 1 == 11  # pytest counts from 0
    assert Path(caught.traceback[-1].path).name == "page.md"


def commands(page: Path) -> Iterator[list[str]]:
    """Shell commands of a page, in blocks and in its prose, as words."""
    tokens = MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
    children = [child for token in tokens for child in token.children or []]
    prose = [child.content for child in children if child.type == "code_inline"]
    lines = [line for block in blocks(page, "bash") for line in block.code.splitlines()]
    for line in [*lines, *prose]:
        for command in line.split("&&"):
            if re.match(r"\s*(python|pip|pytest)\s|\s*--[a-z]", command):
                yield shlex.split(command)


def test_commands_have_the_options_that_pages_give_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    known = {"python -m sktransfer": set(OPTION.findall(capsys.readouterr().out))}
    for script in (*ROOT.glob("benchmarks/[!_]*.py"), ROOT / "tests" / "field" / "messy_files.py"):
        name = f"python {script.relative_to(ROOT).as_posix()}"
        known[name] = set(OPTION.findall(script.read_text(encoding="utf-8")))
    checked = 0
    for page in PAGES:
        for words in commands(page):
            options = {word.partition("=")[0] for word in words if OPTION.match(word)}
            if words[0] == "python":
                command = " ".join(words[: 3 if words[1] == "-m" else 2])
                assert command in known, f"{page.name}: {shlex.join(words)}"
                assert options <= known[command], f"{page.name}: {shlex.join(words)}"
            elif words[0].startswith("--"):
                assert options <= set.union(*known.values()), f"{page.name}: {shlex.join(words)}"
            checked += 1
    assert checked > 20


def test_what_pages_install_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    installed = [words for page in PAGES for words in commands(page) if words[0] == "pip"]
    assert installed
    for words in installed:
        for word in words:
            for extra in re.findall(r"\[(.+)\]", word):
                assert set(extra.split(",")) <= project["optional-dependencies"].keys()
            assert "==" not in word or word in pins
