"""The check of script/docc that each public symbol stands in a topic."""

import json
import os
import subprocess

CHECK = os.path.join(os.path.dirname(__file__), "../../script/lib/docc_topics.py")


def check(folder, symbols, topics):
    """Runs the check on a library of these symbols and a landing page of these topics."""
    graph, page = folder / "symbols.json", folder / "page.md"
    graph.write_text(json.dumps({"symbols": [{"pathComponents": name.split(".")} for name in symbols]}))
    page.write_text("# ``Library``\n\n- ``Elsewhere``\n\n## Topics\n\n" + "".join(f"- ``{name}``\n" for name in topics))
    result = subprocess.run([CHECK, str(graph), str(page)], capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, result.stderr


def test_each_symbol_in_one_topic_is_well(tmp_path):
    assert check(tmp_path, ["One", "One.part", "Two"], ["Two", "One"]) == (0, "")


def test_a_symbol_in_no_topic_or_in_two_is_told(tmp_path):
    code, text = check(tmp_path, ["One", "Two", "Elsewhere"], ["One", "One"])
    assert code == 1
    assert "Two stands in no topic" in text and "Elsewhere stands in no topic" in text
    assert "One stands in 2 topics" in text


def test_a_library_without_symbols_is_a_fault(tmp_path):
    assert check(tmp_path, [], [])[0] == 1
