"""Text is UTF-8 whatever the locale, and a name that is not UTF-8 breaks nothing."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = sorted(
    [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), *ROOT.glob("*.py")],
    key=str,
)


def _without_encoding(source: str) -> list[int]:
    """Lines of calls that read or write text in the encoding of the locale.

    ``read_text`` and ``write_text`` as plain names are those of `adversaria.files`, which take no encoding. ``open``
    of a module that reads another kind of file, such as ``Image.open``, takes no mode.
    """
    lines = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        function = call.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        method = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") not in ("io", "os", "codecs")
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        texts = [item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        mode = keywords.get("mode") or next(iter(call.args[0 if method else 1 :]), None)
        binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
        text = isinstance(mode, ast.Constant) and set(str(mode.value)) <= set("rwaxt+")
        named = "encoding" in keywords or "utf-8" in texts
        if name in ("read_text", "write_text"):
            wrong = method and getattr(function.value, "id", "") != "files"
        elif name in ("open", "fdopen"):
            builtin_or_path = not method or text or (not call.args and not call.keywords)
            wrong = builtin_or_path and not binary and getattr(function, "id", name) != "os"
            if method and isinstance(function.value, ast.Name) and function.value.id in ("os", "Image", "tarfile"):
                wrong = False
        elif name in ("FileHandler", "TextIOWrapper", "NamedTemporaryFile", "TemporaryFile"):
            wrong = not binary and (name.startswith(("File", "Text")) or text)
        else:
            wrong = bool(keywords.keys() & {"text", "universal_newlines"})
        lines += [call.lineno] if wrong and not named else []
    return lines
