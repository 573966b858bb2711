import os
from pathlib import Path

from kubelet.volumes.atomic import File, write


def files(**texts: str) -> dict[str, File]:
    return {name.replace("__", "/"): File(text.encode(), 0o644) for name, text in texts.items()}


def visible(directory: Path) -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk(directory, followlinks=True):
        for name in names:
            path = Path(folder, name).relative_to(directory)
            if not str(path).startswith(".."):
                found[str(path)] = (directory / path).read_text()
    return found


def test_files_appear_through_one_link(tmp_path: Path) -> None:
    assert write(tmp_path, files(a="1", d__b="2"))
    assert visible(tmp_path) == {"a": "1", "d/b": "2"}
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert os.readlink(tmp_path / "..data").startswith("..20")


def test_the_same_payload_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, files(a="1"))
    before = os.readlink(tmp_path / "..data")
    assert not write(tmp_path, files(a="1"))
    assert os.readlink(tmp_path / "..data") == before


def test_an_update_replaces_adds_and_removes_at_once(tmp_path: Path) -> None:
    write(tmp_path, files(a="1", b="2", d__x="3"))
    assert write(tmp_path, files(a="one", c="3"))
    assert visible(tmp_path) == {"a": "one", "c": "3"}
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..2")]) == 1


def test_a_new_mode_is_a_change(tmp_path: Path) -> None:
    write(tmp_path, files(a="1"))
    assert write(tmp_path, {"a": File(b"1", 0o400)})
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400


def test_an_interrupted_update_is_finished_by_the_next(tmp_path: Path) -> None:
    write(tmp_path, files(a="1"))
    (tmp_path / "..data_tmp").symlink_to("nowhere")
    assert write(tmp_path, files(a="2"))
    assert visible(tmp_path) == {"a": "2"}


def test_an_empty_payload_is_an_empty_volume(tmp_path: Path) -> None:
    write(tmp_path, files(a="1"))
    assert write(tmp_path, {})
    assert visible(tmp_path) == {}
