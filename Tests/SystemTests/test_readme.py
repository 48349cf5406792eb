"""script/check-readme follows both READMEs, and refuses one that does not say what is so."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from programs import BINARY, ROOT, free_port, wait_until

sys.path.insert(0, os.path.join(ROOT, "script", "lib"))

from readme_blocks import matches  # noqa: E402

SCRIPT = os.path.join(ROOT, "script", "check-readme")
GIT = ["git", "-c", "safe.directory=*"]

GOOD = """# A project

```text
a picture
```

<!-- run: background -->
```sh
./serve
```

<!-- output -->
```text
ready
```

```sh
export WORD=one
mkdir folder
cd folder
```

<!-- file: folder/words -->
```js
two
```

```sh
echo $WORD   # a comment
cat words
```

<!-- output -->
```text
one
two
```

<!-- not run: it needs the network -->
```sh
false
```

<!-- run: needs no-such-program -->
```sh
no-such-program
```

[this](README.md)
"""


def check(root, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-B", SCRIPT, "--root", str(root), *arguments],
        env={**os.environ, "MID_BINARY": BINARY, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
    )


def project(folder, english, chinese=None):
    """A git work tree with two READMEs and a server that says so once it is ready."""
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(english)
    (folder / "README_CN.md").write_text(english if chinese is None else chinese)
    (folder / "serve").write_text("#!/bin/sh\necho ready\nexec sleep 1000\n")
    (folder / "serve").chmod(0o755)
    subprocess.run([*GIT, "init", "-q", str(folder)], check=True)
    subprocess.run([*GIT, "-C", str(folder), "add", "."], check=True)
    (folder / "untracked").write_text("")
    return folder


def line_of(text, part, offset=0):
    """The number of the first line that has `part`."""
    return text[: text.index(part)].count("\n") + 1 + offset


def assert_refused(result, place, *texts):
    assert result.returncode == 1, result.stdout + result.stderr
    for text in (f"check-readme: {place}: ", *texts):
        assert text in result.stderr, result.stderr


def test_a_readme_that_tells_what_is_so_passes_and_what_was_not_run_is_said(tmp_path):
    result = check(project(tmp_path / "project", GOOD))
    assert result.returncode == 0, result.stderr
    assert f"README.md:{line_of(GOOD, 'false')}: not run: it needs the network" in result.stdout
    missing = f"README.md:{line_of(GOOD, 'no-such-program', 2)}: not run: there is no no-such-program here"
    assert missing in result.stdout
    for name in ("README.md", "README_CN.md"):
        assert f"{name}: 3 blocks went as the text says, 2 not run" in result.stdout


@pytest.mark.parametrize(
    "old, new, at, says",
    [
        ("cat words", "cat wards", "cat wards", "exit code 1"),
        ("cat words", "false | cat words", "false | cat words", "exit code 1"),
        ("cat words", "no-such-command", "no-such-command", "exit code 127"),
        ("cat words", "if then", "echo $WORD", "syntax error"),
        ("one\ntwo\n```", "one\nthree\n```", "one\nthree\n```", "expected\none\nthree\ngot\none\ntwo"),
        ("one\ntwo\n```", "one\n```", "one\n```", "this is not what line"),
        ("ready\n```", "steady\n```", "steady\n```", "has not printed this after 2 s"),
        ("./serve\n", "true\n", "ready\n```", "ended with 0"),
        ("cat words", "cat words ../untracked", "cat words ../untracked", "exit code 1"),
        ("cat words", "sleep 1000", "echo $WORD", "not done after 2 s"),
    ],
)
def test_a_command_or_an_output_that_is_wrong_is_refused_at_its_line(tmp_path, old, new, at, says):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    result = check(project(tmp_path / "project", text), "--seconds", "2")
    assert_refused(result, f"README.md:{line_of(text, at)}", says)


@pytest.mark.parametrize(
    "old, new, at, says",
    [
        ("```text\na picture", "```python\na picture", "```python", "a block of 'python' needs a marker"),
        ("```text\na picture", "```\na picture", "```\na picture", "a block of '' needs a marker"),
        ("a picture\n", "$ a command\n", "```text\n$ a", "commands stand in a `sh` block"),
        ("<!-- not run: it needs the network -->", "<!-- not run -->", "<!-- not run", "say why it is not run"),
        ("<!-- run: background -->", "<!-- run: tomorrow -->", "<!-- run: tomorrow", "a `sh` block may be marked"),
        ("<!-- output -->\n```text\nready", "```text\nready", "./serve", "needs an output, to be waited for"),
        ("[this]", "<!-- output -->\n[this]", "<!-- output -->\n[this]", "a marker stands directly before"),
        ("# A project\n", "<!-- output -->\n```text\n```\n", "```text\n```", "an output follows the block"),
        ("file: folder/words", "file: ../words", "<!-- file: ../words", "no such marker"),
        ("[this](README.md)", "[this](docs/none.md#there)", "[this]", "a link to docs/none.md, which is not there"),
        ("[this]", "```sh\n[this]", "```sh\n[this]", "this block does not end"),
        ("cat words", "cat words && cat words", "cat words && cat", "without && and ||"),
    ],
)
def test_a_block_that_nobody_would_know_what_to_do_with_is_refused(tmp_path, old, new, at, says):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    assert_refused(check(project(tmp_path / "project", text), "--list"), f"README.md:{line_of(text, at)}", says)


@pytest.mark.parametrize(
    "old, new, at, says",
    [
        ("cat words", "cat  words", "cat  words", "differs from README.md:"),
        ("one\ntwo", "one\nzwei", "zwei", "differs from README.md:"),
        ("cat words\n", "", "echo $WORD", "ends before README.md:"),
        ("needs no-such-program", "needs another", "no-such-program\n```", "marked 'another'"),
        (GOOD[GOOD.index("<!-- run: needs no") : GOOD.index("[this]")], "", None, "the other language has no such"),
        ("<!-- not run: it needs the network -->\n", "", "false", "'run', sh, where README.md:"),
    ],
)
def test_two_languages_that_differ_in_their_commands_are_refused(tmp_path, old, new, at, says):
    chinese = GOOD.replace(old, new, 1)
    assert chinese != GOOD
    where = f"README_CN.md:{line_of(chinese, at)}" if at else f"README.md:{line_of(GOOD, 'no-such-program', 2)}"
    assert_refused(check(project(tmp_path / "project", GOOD, chinese), "--list"), where, says)


def test_comments_pictures_and_reasons_may_differ_between_languages(tmp_path):
    chinese = GOOD
    for old, new in [("a comment", "注释"), ("a picture", "图"), ("it needs the network", "要联网"), ("A project", "项目")]:
        chinese = chinese.replace(old, new)
    result = check(project(tmp_path / "project", GOOD, chinese))
    assert result.returncode == 0, result.stderr


def has_ended(pid):
    """Whether the process whose number a file holds is no more."""
    try:
        with open(f"/proc/{int(pid.read_text())}/stat") as file:
            return ") Z " in file.read()
    except FileNotFoundError:
        return True


def test_what_a_block_starts_has_ended_with_the_readme(tmp_path):
    pid = tmp_path / "pid"
    text = GOOD.replace("cat words", f"cat words; sleep 1000 & echo $! >{pid}")
    assert check(project(tmp_path / "project", text)).returncode == 0
    wait_until(lambda: has_ended(pid), 5, "the process that a block has left behind ends")


def test_what_a_block_starts_has_ended_when_the_script_is_stopped(tmp_path, program):
    pid = tmp_path / "pid"
    text = GOOD.replace("cat words", f"echo $$ >{pid}\nsleep 1000")
    root = project(tmp_path / "project", text)
    script = program(sys.executable, "-B", SCRIPT, "--root", root, environment={"MID_BINARY": BINARY})
    wait_until(lambda: pid.exists() and pid.read_text().strip(), 20, "the block begins")
    assert script.stop() == 143
    wait_until(lambda: has_ended(pid), 5, "the process that a block runs ends")


def test_a_port_that_is_taken_is_named_where_the_network_is_shared(tmp_path):
    port = free_port()
    text = GOOD.replace("cat words", f"cat words # 127.0.0.1:{port}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        result = check(project(tmp_path / "project", text), "--shared-network")
    assert result.returncode == 2
    assert f"port {port} of 127.0.0.1, which the READMEs use, can't be had" in result.stderr


def test_with_build_the_copy_has_no_program_and_may_build_one(tmp_path):
    text = GOOD.replace("cat words", "cat words\ntest ! -e ../.build\ntest -z $SERVER_BUILD")
    assert check(project(tmp_path / "project", text), "--build").returncode == 0
    assert_refused(check(project(tmp_path / "project", text)), f"README.md:{line_of(text, 'test !')}", "exit code 1")


@pytest.mark.parametrize(
    "output, expected, same",
    [
        ("id 781157576568995919", "id 779289113848184838", True),
        ("id 7811575765", "id 779289113848184838", False),
        ("id 12", "id 1", False),
        ("01a21829-291b-74e4-a31d-fce2a53a642e", "019e2b7c-5d5c-7ab3-8d5e-3f1c92a4b6d7", True),
        ("01a21829-291b-44e4-a31d-fce2a53a642e", "019e2b7c-5d5c-7ab3-8d5e-3f1c92a4b6d7", False),
        ("01M8C2JA9K99DRHCA6R0HQZKBQ", "01ARZ3NDEKTSV4RRFFQ69G5FAV", True),
        ("6b083bb0932402f76ce79fee", "507f1f77bcf86cd799439011", True),
        ("at 2026-11-26T14:11:19.290Z", "at 2021-01-01T00:00:00Z", True),
        ("held by vm, process 7", "held by …", True),
        ("held by\nvm", "held by …", False),
        ("a.c", "abc", False),
        ("abc", "a.c", False),
        ("one \ntwo\n", "one\ntwo", True),
        ("zero\none\ntwo", "one\ntwo", False),
    ],
)
def test_an_output_is_compared_literally_but_for_ids_times_and_the_rest_of_a_line(output, expected, same):
    assert matches(output, expected) == same


def test_these_readmes_are_refused_once_one_number_in_them_is_wrong(tmp_path):
    folder = tmp_path / "project"
    listed = subprocess.run([*GIT, "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        if os.path.lexists(os.path.join(ROOT, name)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), folder / name, follow_symlinks=False)
    english, chinese = ((folder / name).read_text() for name in ("README.md", "README_CN.md"))
    wrong = english.replace("Segment ID: 1\n", "Segment ID: 2\n")
    assert wrong != english
    project(folder, wrong, chinese.replace("Segment ID: 1\n", "Segment ID: 2\n"))
    result = check(folder)
    if result.returncode == 2:
        pytest.skip(result.stderr)
    assert_refused(result, f"README.md:{line_of(wrong, 'Segment ID: 2', -1)}", "Segment ID: 1\n")
