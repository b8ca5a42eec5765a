"""What is spared of WeasyPrint's work, and that the rest does not miss it."""

from __future__ import annotations

import importlib
import subprocess
import sys

from diag.report.weasy import _Late, load_weasyprint

QUIET = """
import sys
started = []
sys.addaudithook(lambda event, args: started.append(args) if event in ("subprocess.Popen", "os.posix_spawn") else None)
from diag.report.weasy import load_weasyprint
assert load_weasyprint() is load_weasyprint()
print(len(started), "fontTools.subset" in sys.modules)
"""


def test_the_import_starts_no_program() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n"


def test_what_is_late_is_there_when_called() -> None:
    options = _Late("fontTools.subset").Options(hinting=False)
    assert type(options) is sys.modules["fontTools.subset"].Options
    assert options.hinting is False


def test_texts_of_drawings_are_shaped_whole() -> None:
    drawing = "<svg width=200 height=20><text x=0 y=15>one <tspan>two</tspan></text><text x=90 y=15>three</text></svg>"
    data = load_weasyprint().HTML(string=drawing).write_pdf(uncompressed_pdf=True)
    assert data.count(b" TJ") == 3


def test_arrays_of_a_size_and_content_are_of_one_type() -> None:
    load_weasyprint()
    ffi = importlib.import_module("weasyprint.pdf.fonts").ffi
    glyphs = ffi.new("hb_codepoint_t[3]", [1, 2, 3])
    assert (list(glyphs), ffi.typeof(glyphs)) == ([1, 2, 3], ffi.typeof("hb_codepoint_t[]"))
    assert len(ffi.new("hb_tag_t[100]")) == 100
    assert list(ffi.new("hb_codepoint_t[3]", [1])) == [1, 0, 0]
